"""`python -m augury_workers`: start a worker."""

import sys

from augury_workers.main import main

if __name__ == "__main__":
    sys.exit(main())
