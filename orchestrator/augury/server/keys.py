"""The key file of a server: read again whenever it changes, so that keys are rotated while searches run."""

from __future__ import annotations

import logging
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from augury.errors import UsageError
from augury_workers.protocol import Secret, parse_secrets

SETTING = "AUGURY_SECRET_FILE"
_log = logging.getLogger(__name__)


class KeyFile(Sequence[Secret]):
    """The keys of a file, as it is now: the first signs, all verify. Any thread may look.

    Raises:
        UsageError: the file is missing, malformed or open to others, when it is read first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen = self._look()
        self._keys = _read(path)

    def __iter__(self) -> Iterator[Secret]:
        return iter(self.now())

    @overload
    def __getitem__(self, index: int) -> Secret: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Secret, ...]: ...

    def __getitem__(self, index: int | slice) -> Secret | tuple[Secret, ...]:
        return self.now()[index]

    def __len__(self) -> int:
        return len(self.now())

    def now(self) -> tuple[Secret, ...]:
        """Return the keys; a changed file that cannot be used leaves those read before in force."""
        with self._lock:
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                try:
                    self._keys = _read(self._path)
                    _log.info("read %s anew: %s signs", self._path, self._keys[0].kid)
                except UsageError as error:
                    _log.error("%s; the keys read before stay in force", error)
            return self._keys

    def _look(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except OSError:
            return ()
        return (status.st_mtime_ns, status.st_ino, status.st_size, status.st_mode)


def _read(path: Path) -> tuple[Secret, ...]:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        keys = tuple(parse_secrets(path.read_text("ascii")))
    except OSError as error:
        fix = "make one with `augury secret new FILE`"
        raise UsageError(f"{SETTING}={path}: {error.strerror}; {fix}") from error
    except ValueError as error:
        raise UsageError(f"{SETTING}={path}: {error}") from error
    if mode & 0o077:
        raise UsageError(f"{SETTING}={path}: others may read it; run: chmod 600 {path}")
    return keys
