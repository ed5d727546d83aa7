"""The one tree of errors: every message names the offending piece and the fix."""

from __future__ import annotations

#: What whoever comes with a token that opens nothing is told.
UNKNOWN_TOKEN = "the token is unknown or revoked: set AUGURY_TOKEN"


class AuguryError(Exception):
    """Root of all errors that Augury raises on purpose; its text is meant for the user."""

    exit_code = 1


class UsageError(AuguryError):
    """A command line, parameter, template or request is wrong: nothing has been started."""

    exit_code = 2


class NotFoundError(AuguryError):
    """No search or run has this id."""


class RefusedError(AuguryError):
    """The server understood the request and will not do it in its present state."""


class UnauthorizedError(AuguryError):
    """The token is missing, wrong or revoked."""


class UnavailableError(AuguryError):
    """The server (or what it depends on) cannot be reached."""


class WaitError(AuguryError):
    """A wait can no longer succeed: what it waits for has become impossible."""
