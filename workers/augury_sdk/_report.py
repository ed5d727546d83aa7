"""`send_metric`: one point, one line, one write.

Every line is appended by a single `write` to a file opened with O_APPEND, so lines of threads, forked
children and other processes never mix, and what was sent survives a kill of the training. There is no
buffer, no thread and no lock: nothing to flush, nothing that a fork could copy in a bad state.
"""

from __future__ import annotations

import errno
import os
import time

from augury_sdk._notice import hint_outside, warn_once
from augury_sdk._point import Rejected, index_number, line, name_text, value_text

METRICS_VARIABLE = "AUGURY_METRICS"

NAMES_REMEMBERED = 10_000
"""Encoded names kept, so that a name made anew for every point does not fill the memory."""


class MetricsFile:
    """A file of points, opened at the first one.

    The descriptor is looked at before each use: a training that closes all descriptors (to become a daemon,
    say) may get the same number again for a checkpoint of its own, and no metric must ever land there.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._descriptor = -1
        self._identity = (-1, -1)
        self._torn = False

    def append(self, data: bytes) -> None:
        """Append one whole line.

        Raises:
            OSError: the file cannot be opened or written.
        """
        if not self._is_open():
            self._open()
        if self._torn:
            data = b"\n" + data
        written = os.write(self._descriptor, data)
        # A disk that fills up takes the head of a line only: end it there, lest it spoil the next one too.
        self._torn = written != len(data)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)

    def _is_open(self) -> bool:
        try:
            status = os.fstat(self._descriptor)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def _open(self) -> None:
        # O_NONBLOCK: should the path be a pipe that nobody reads, fail instead of waiting for a reader.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
        self._descriptor = os.open(self._path, flags, 0o600)
        status = os.fstat(self._descriptor)
        self._identity = (status.st_dev, status.st_ino)


_file: MetricsFile | None = None
_names: dict[str, str] = {}


def metrics_file() -> MetricsFile | None:
    """Return the file that $AUGURY_METRICS named when it was first needed, None outside a run."""
    global _file
    if _file is None:
        path = os.environ.get(METRICS_VARIABLE)
        if path:
            _file = MetricsFile(path)
    return _file


def send_metric(name: str, value: object, index: object = None) -> None:
    """Report one point of the metric `name`; without `index` it gets the previous index of that name + 1.

    `value` is a number: int, float, bool, a NumPy scalar, an array or tensor of one element; NaN and
    infinities are recorded as such. What cannot be a point is dropped with one warning per name. Outside a
    run nothing is recorded, with one hint. Nothing is ever raised.
    """
    file = _file or metrics_file()
    if file is None:
        hint_outside()
        return
    try:
        encoded = _names[name] if type(name) is str and name in _names else _remembered(name)
    except Rejected as problem:
        warn_once("name", f"{problem}; points of this name are dropped")
        return
    try:
        text = value_text(value)
    except Rejected as problem:
        warn_once(("value", name), f"metric '{name}': {problem}; the point is dropped")
        return
    position = None
    if index is not None:
        try:
            position = index_number(index)
        except Rejected as problem:
            warn_once(("index", name), f"metric '{name}': {problem}; the point gets the next index")
    try:
        file.append(line(encoded, text, position, time.time()))
    except OSError as problem:
        warn_once("file", f"metric points are lost, the training goes on: {problem}")


def _remembered(name: str) -> str:
    encoded = name_text(name)
    if len(_names) < NAMES_REMEMBERED:
        _names[str.__str__(name)] = encoded
    return encoded
