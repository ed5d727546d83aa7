"""Look for keys, tokens and passwords in this repository: `python tools/secrets_check.py [FILE...]`.

Without files it takes those that git tracks or would track. It knows shapes, not entropy: checksums and test
data are no noise, so what it says is worth a look. A line that only looks so ends with `not-a-secret`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ALLOWED = "not-a-secret"

SHAPES = {
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "a key file of Augury": r"^\s*[\w.-]{1,64} [A-Za-z0-9+/]{43}=\s*$",
    "a token or key that is assigned": r"(?i)(?:token|secret|password|passwd|api_?key)[\"']?\s*[:=]\s*[\"']?"
    r"(?=[\w+/-]*\d)(?=[\w+/-]*[A-Za-z])[\w+/-]{24,}={0,2}(?![\w(.+/-])",
    "a password in a URL": r"\b[a-z][a-z0-9+]{2,}://[^\s:/@\"'<>]*:(?=[^\s/@]*\d)[^\s/@\"'<>{}$…]{8,}@",
    "a key of AWS": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a token of GitHub": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,})",
    "a token of GitLab": r"\bglpat-[\w-]{20,}",
    "a token of Slack": r"\bxox[abprs]-[\w-]{10,}",
    "a key of Google": r"\bAIza[\w-]{35}\b",
    "a token of PyPI": r"\bpypi-[\w-]{50,}",
    "a token of Hugging Face": r"\bhf_[A-Za-z0-9]{30,}\b",
    "an API key": r"\bsk-[\w-]{20,}",
}
_SHAPES = {what: re.compile(shape) for what, shape in SHAPES.items()}


def tracked() -> list[Path]:
    """Return the files that git tracks, and the new ones that it does not ignore."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split("\0")
    return [Path(name) for name in names if name and Path(name).is_file()]


def look(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number of each line that holds what looks like a secret, and what it looks like."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.rstrip().endswith(ALLOWED):
            for what, shape in _SHAPES.items():
                if shape.search(line):
                    yield number, what
                    break


def main(arguments: Sequence[str]) -> int:
    """Look; return 1 when something was found. What was found is not shown: output lands in logs."""
    files = [Path(name) for name in arguments] or tracked()
    found = 0
    for file in files:
        for number, what in look(file.read_bytes().decode(errors="replace")):
            print(f"{file}:{number}: {what}")
            found += 1
    if found:
        print(f"Take it out; was it real, make a new one. A line that only looks so ends with {ALLOWED}.")
    else:
        print(f"No secrets in {len(files)} files")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
