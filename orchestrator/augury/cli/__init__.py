"""The command line: words in, requests to the server out, answers rendered as table, JSON or ids."""
