"""`make bench`: every figure that the project promises, beside its floor."""

from __future__ import annotations

import sys

from benchmarks import dispatch, startup, submit
from benchmarks.timing import machine

PARTS = {"startup": startup.run, "submit": submit.run, "dispatch": dispatch.run}


def main() -> None:
    """Run the parts named on the command line, or all."""
    print(machine())
    for name in sys.argv[1:] or PARTS:
        print()
        PARTS[name]()


if __name__ == "__main__":
    main()
