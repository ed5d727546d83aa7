"""A planted key fails the gate; what the repository holds does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from augury_workers.protocol import new_secret_line

ROOT = Path(__file__).parents[3]
TOOL = ROOT / "tools" / "secrets_check.py"

# Taken apart, so that this file itself holds none.
PLANTED = [
    new_secret_line(),
    "-----BEGIN RSA " + "PRIVATE KEY-----",
    "key = 'AKIA" + "ABCDEFGHIJKLMNOP'",
    "url: redis://:" + "correct7horse8battery@10.0.0.1:6379/0",
    "export AUGURY_TOKEN" + "=dGhpcyBpcyBhIHRva2VuIG9mIHNvbWVib2R5ISE1Nzc",
    "ghp_" + "a1B2" * 10,
    'password: "' + 'Tr0ub4dor3Tr0ub4dor3Tr0ub4dor3"',
]


def _check(*files: Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(TOOL), *map(str, files)]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("line", PLANTED, ids=range(len(PLANTED)))
def test_a_planted_key_is_found_and_not_repeated(line: str, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(f"harmless\n{line}\n")
    said = _check(file)
    assert said.returncode == 1
    assert said.stdout.startswith(f"{file}:2: a")
    assert line.strip() not in said.stdout
    file.write_text(f"{line.rstrip()}  # not-a-secret\n")
    assert _check(file).returncode == 0


def test_a_new_file_that_git_does_not_know_yet_is_looked_at_an_ignored_one_is_not(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text(".env\n")
    (tmp_path / ".env").write_text(PLANTED[1])
    assert _check(cwd=tmp_path).returncode == 0
    (tmp_path / "key").write_text(PLANTED[1])
    assert _check(cwd=tmp_path).returncode == 1


def test_placeholders_and_checksums_are_no_secrets(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text(
        "redis://:PASSWORD@host:6379/0 redis://:$PASSWORD@host redis://:…@h postgresql://augury:{p}@h/x\n"
        f"sha256:{'ab12' * 16}\n"
        "token = secrets.token_urlsafe(32)\npassword=${POSTGRES_PASSWORD:?see lab.env.example}\n"
    )
    assert _check(file).returncode == 0


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_this_repository_holds_none() -> None:
    said = _check()
    assert said.returncode == 0, said.stdout
