"""Ask whether a package of uv.lock has a known vulnerability: `python tools/audit.py [options of uv audit]`.

It is `uv audit`: one question to osv.dev about all of them. Without a way there nothing is
known. That is said, and is no failure: who has no network could not do anything about it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NO_WAY = "error sending request"
"""How uv says that nothing came back."""


def main(arguments: Sequence[str]) -> int:
    """Audit; return 1 when something was found, and uv's own code when it could not work."""
    uv = Path(sys.executable).parent / "uv"
    words = [str(uv), "audit", "--preview-features", "audit-command", "--frozen", *arguments]
    environment = {"UV_HTTP_RETRIES": "1", "UV_HTTP_TIMEOUT": "15", **os.environ}
    done = subprocess.run(words, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    sys.stdout.flush()
    if done.returncode != 0 and NO_WAY in done.stderr:
        print("NOT AUDITED: osv.dev does not answer from here. Run `make audit` where it does.")
        return 0
    sys.stderr.write(done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
