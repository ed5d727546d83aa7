"""`augury`: the entry point of the command line."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from io import StringIO, TextIOWrapper
from types import FrameType

from augury.cli import lazy


def run(arguments: Sequence[str]) -> int:
    """Execute one command line and return its exit code."""
    if arguments[:1] == ["metric"] and not {"-h", "--help"} & set(arguments):
        # Shell scripts call it in loops, and it needs none of the rest: a fifth of the time.
        return lazy.sdk_cli.main(arguments[1:])
    return lazy.app.execute(arguments)


def main() -> None:
    """Execute the command line of this process."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt_once)
    _prepare_streams()
    if "_AUGURY_COMPLETE" in os.environ:
        lazy.completing.take_texts_as_they_are()
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # While a module was being imported: `execute` does not see that.
        code = 130
    try:
        sys.stdout.flush()
    except OSError as error:
        # The interpreter flushes stdout once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            code = code or lazy.app.cannot_write(error)
    sys.exit(code)


def _interrupt_once(_number: int, _frame: FrameType | None) -> None:
    """Let the first ^C be seen by the command; a second one, while it ends, ends it without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt


def _prepare_streams() -> None:
    """See to it that printing never fails for what it prints: neither closed streams nor poor encodings."""
    # Python has None for a stream that the shell closed (`>&-`).
    sys.stdout = sys.stdout or StringIO()
    sys.stderr = sys.stderr or StringIO()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


if __name__ == "__main__":
    main()
