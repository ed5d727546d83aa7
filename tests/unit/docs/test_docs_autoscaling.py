"""The loop that starts workers on Slurm is a program that a shell understands."""

from __future__ import annotations

import subprocess

from docs_pages import DOCS, blocks


def test_the_slurm_loop_is_a_shell_program() -> None:
    [loop] = [block for block in blocks(DOCS / "guide" / "autoscaling.md", "sh") if "sbatch" in block]
    checked = subprocess.run(["sh", "-n"], input=loop, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert len(loop.splitlines()) <= 12
    for needed in ("/api/v1/queues", "sbatch", "--idle-timeout"):
        assert needed in loop
