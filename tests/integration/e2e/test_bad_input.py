"""What users type and report by mistake: no traceback, nothing lost that was right."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import time
from io import StringIO

import pytest

from tests.integration.e2e.conftest import Shell

pytestmark = pytest.mark.integration

STRANGE = r"""
import os
from augury_sdk import send_metric

for name in ["a/b.c", "sp ace", "c:d", '"q"', "<x>", "\N{GRINNING FACE}", "new\nline", "\x1b[31mred", ""]:
    send_metric(name, 1)
for value in [True, 2**70, float("nan"), float("-inf"), None, "1.5", [1], {}, 1j]:
    send_metric("value", value)
for index in [5, 3, 3, -1, 2.0, "7", 2**70]:
    send_metric("index", 1, index)
with open(os.environ["AUGURY_METRICS"], "ab") as file:
    for line in [b"no json", b"\xff", b"[]", b'{"name": "raw"}', b'{"name": "raw", "value": "x"}', b"", b"{"]:
        file.write(line + b"\n")
    file.write(b'{"name": "raw", "value": 42, "index": 900}')
"""


def points(shell: Shell, search: int) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(shell.ok("hyper", "download-metrics", str(search), "-d", "-"))))


def test_strange_metrics_cost_warnings_and_nothing_else(shell: Shell) -> None:
    (shell.folder / "strange.py").write_text(STRANGE)
    words = ("--param", "x=1", "--metric", "value", "--", "python", "strange.py", ":x:")
    assert shell.run("hyper", "grid", "-w", *words).returncode == 0
    found = points(shell, 1)
    names = {row["metric_name"] for row in found}
    assert names == {
        "a/b.c", "sp ace", "c:d", '"q"', "<x>", "\N{GRINNING FACE}", "new\nline", "\x1b[31mred",
        "value", "index", "raw",
    }  # fmt: skip
    assert [row["value"] for row in found if row["metric_name"] == "value"] == [
        "1.0", repr(2.0**70), "NaN", "-Infinity",
    ]  # fmt: skip
    assert [row["index"] for row in found if row["metric_name"] == "index"] == [
        "5",
        "3",
        "3",
        "-1",
        "2",
        "3",
        "4",
    ]
    assert [(row["index"], row["value"]) for row in found if row["metric_name"] == "raw"] == [("900", "42.0")]
    (run,) = shell.search(1)["runs"]
    assert (run["objective"], run["cause"]) == (None, "diverged")
    log = shell.ok("logs", str(run["id"]))
    assert "6 lines are no metric point" in log
    assert "\x1b" not in shell.ok("info", str(run["id"]))


def _hear_interrupts() -> None:
    """Undo what a shell does to what it starts in the background, and all that comes after: no ^C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupting_twice_shows_no_traceback(shell: Shell) -> None:
    shell.ok("up")
    for words in (("run", "--", "sleep", "30"), ("hyper", "list")):
        for wait in (0.1, 0.5, 1.0):
            process = subprocess.Popen(
                ["augury", *words], cwd=shell.folder, env=shell.environment(), stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, text=True, preexec_fn=_hear_interrupts,  # noqa: PLW1509 - no threads
            )  # fmt: skip
            time.sleep(wait)
            for _ in range(2):
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                time.sleep(0.02)
            said = process.communicate(timeout=20)[1]
            assert process.returncode in (0, 130, -signal.SIGINT)
            # Python's own start-up is nothing that we could make quiet.
            assert "Traceback" not in said or "augury/" not in said, said


def test_a_mask_of_zero_opens_nothing_of_the_instance(shell: Shell) -> None:
    old = os.umask(0)
    try:
        shell.ok("run", "--", "touch made")
    finally:
        os.umask(old)
    assert (shell.folder / "made").stat().st_mode & 0o777 == 0o666
    assert shell.home.stat().st_mode & 0o077 == 0
    for path in shell.home.rglob("*"):
        assert path.stat().st_mode & 0o022 == 0, path
