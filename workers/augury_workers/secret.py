"""The secret file: checked at start, read again whenever it changes."""

from __future__ import annotations

import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from augury_workers import protocol

SETTING = "AUGURY_SECRET_FILE"


class SettingError(Exception):
    """A setting is missing or wrong; the text is one sentence that names it and the fix."""


class SecretFile:
    """The keys that verify orders and mark claims.

    Raises:
        SettingError: the file is missing, unreadable, malformed or open to others.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._keys: dict[str, protocol.Secret] = {}
        self._seen: tuple[int, int, int] | None = None
        self._load()

    def keys(self) -> Mapping[str, protocol.Secret]:
        """Return the keys by id; a changed file that cannot be used leaves the known ones in force."""
        try:
            self._load()
        except SettingError as error:
            print(f"augury worker: {error}; the keys read before stay in force", file=sys.stderr, flush=True)
        return self._keys

    def signer(self) -> protocol.Secret:
        """Return the key by which this worker marks its claims and hellos: the first."""
        return next(iter(self.keys().values()))

    def _load(self) -> None:
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen == self._seen:
                return
            self._seen = seen
            text = self._path.read_text("ascii")
        except FileNotFoundError as error:
            raise SettingError(
                f"{SETTING}: there is no file {self._path}; copy the server's file there, mode 0600"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"{SETTING}: {self._path} cannot be read: {error}") from error
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise SettingError(f"{SETTING}: others may read {self._path}; run: chmod 600 {self._path}")
        try:
            self._keys = {secret.kid: secret for secret in protocol.parse_secrets(text)}
        except ValueError as error:
            raise SettingError(f"{SETTING}: {self._path}: {error}") from error
