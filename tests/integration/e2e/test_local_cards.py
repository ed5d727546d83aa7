"""The local instance on a machine with cards."""

from __future__ import annotations

import pytest

from tests.integration.e2e.conftest import Shell
from tests.support import fake_nvml

pytestmark = pytest.mark.integration


def test_each_run_of_the_local_instance_sees_one_card_whatever_the_shell_says(shell: Shell) -> None:
    shell.variables |= {"AUGURY_NVML": fake_nvml.__file__, "AUGURY_SLOTS": "", "CUDA_VISIBLE_DEVICES": "0,1"}
    shell.ok(
        *("hyper", "grid", "--param", "a=1,2,3,4,5,6,7,8,9,10", "--"),
        'echo ":a: start $CUDA_VISIBLE_DEVICES" >> trace; sleep 0.5; '
        'echo ":a: end $CUDA_VISIBLE_DEVICES" >> trace',
    )
    assert shell.run("hyper", "wait", "1", "--timeout", "60").returncode == 0
    lines = [line.split() for line in (shell.folder / "trace").read_text().splitlines()]
    cards = {card for _, _, card in lines}
    # Four K80 and a T4 are free; `local` serves any.
    assert len(cards) == 5
    for card in cards:
        mine = [(run, what) for run, what, used in lines if used == card]
        assert [what for _, what in mine] == ["start", "end"] * (len(mine) // 2)
    [worker] = shell.json("status")["workers"]
    assert (worker["types"], worker["slots"]) == (["local"], 5)
    log = (shell.home / "logs" / "worker.log").read_text()
    assert "GPU 4 is left out" in log
