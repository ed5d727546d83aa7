"""One BLAS thread, as in the server: on small matrices threads cost several times more than they save."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
