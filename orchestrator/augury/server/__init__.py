"""The server process: HTTP API and event stream around controller, ingest and reaper."""
