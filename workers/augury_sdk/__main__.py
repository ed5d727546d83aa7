"""`python -m augury_sdk NAME VALUE [INDEX]`: report one point from a shell."""

import sys

from augury_sdk.cli import main

sys.exit(main(sys.argv[1:]))
