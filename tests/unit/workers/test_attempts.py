"""Orders, environments, slots and folders: the parts of an attempt without its processes."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from augury_workers import environment
from augury_workers.attempt import LAST_CALL_SECONDS, fence_grace, fence_seconds
from augury_workers.claim import check_order
from augury_workers.environment import CouldNotStartError, SubmitterEnvironments
from augury_workers.slot import Slot, SlotBusyError, busy_slots, slot_folder, sweep
from augury_workers.spool import Identity, Report
from augury_workers.workspace import Workspace

IDENTITY = Identity(401, 2, "ab12")


def order(**fields: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "instance": "lab",
        "run": 401,
        "search": 59,
        "token": 2,
        "nonce": "ab12",
        "attempt": 2,
        "argv": ["true"],
        "env": {"file": None, "set": {}},
        "grace": 30,
        **fields,
    }


def build(base: dict[str, str] | None = None, **fields: Any) -> dict[str, str]:
    return environment.build(order(**fields), base or {}, IDENTITY, "/f", "/sdk")


def test_environment_says_what_the_run_is() -> None:
    found = build(params={"rate": {"value": 0.1, "text": ".1"}}, param_env={"AUGURY_PARAM_RATE": ".1"})
    assert found == {
        "AUGURY_RUN_ID": "401",
        "AUGURY_SEARCH_ID": "59",
        "AUGURY_ATTEMPT": "2",
        "AUGURY_METRICS": "/f/metrics.jsonl",
        "AUGURY_OUTPUT_DIR": "/f/output",
        "AUGURY_PARAMS": '{"rate": 0.1}',
        "AUGURY_PARAM_RATE": ".1",
        "AUGURY_TAG": "lab/401/2/ab12",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": "/sdk",
    }


def test_sdk_folder_is_the_last_of_the_python_path() -> None:
    assert build({"PYTHONPATH": "/a:/b"})["PYTHONPATH"] == "/a:/b:/sdk"
    assert build({"PYTHONPATH": ""})["PYTHONPATH"] == "/sdk"
    assert build(env={"file": None, "set": {"PYTHONPATH": "/c"}})["PYTHONPATH"] == "/c:/sdk"


def test_what_the_user_sets_wins_over_the_shell_but_not_over_the_run() -> None:
    found = build({"A": "1", "B": "1"}, env={"file": None, "set": {"A": "2", "AUGURY_RUN_ID": "9"}})
    assert (found["A"], found["B"], found["AUGURY_RUN_ID"]) == ("2", "1", "401")


def test_variables_of_an_outer_run_do_not_leak_in() -> None:
    outer = {"AUGURY_SEARCH_ID": "1", "AUGURY_PARAM_OLD": "x", "AUGURY_URL": "http://h", "AUGURY_TAG": "old"}
    found = build(outer, search=None)
    assert "AUGURY_SEARCH_ID" not in found
    assert "AUGURY_PARAM_OLD" not in found
    assert found["AUGURY_URL"] == "http://h"
    assert found["AUGURY_TAG"] == "lab/401/2/ab12"


def test_worker_environment_is_scrubbed_of_settings_and_secrets() -> None:
    own = {
        "PATH": "/bin",
        "AUGURY_REDIS_URL": "x",
        "AUGURY_DATABASE_URL": "x",
        "AUGURY_TOKEN": "x",
        "CELERY_X": "x",
    }
    assert environment.scrub({**own, "HOME": "/h", "_MP_FORK_": "1"}) == {"PATH": "/bin", "HOME": "/h"}


def test_shell_line_goes_to_bash_or_else_to_sh(tmp_path: Path) -> None:
    bash = tmp_path / "bash"
    bash.write_text("#!/bin/sh\n")
    bash.chmod(0o755)
    line = order(shell="a | b")
    assert environment.command(line, {"PATH": str(tmp_path)}) == [str(bash), "-c", "a | b"]
    assert environment.command(line, {"PATH": "/nowhere"}) == ["/bin/sh", "-c", "a | b"]
    assert environment.command(order(argv=["x", "y z"]), {}) == ["x", "y z"]


def test_submitter_environment_that_is_gone_is_named(tmp_path: Path) -> None:
    file = tmp_path / "env.json"
    reader = SubmitterEnvironments()
    for content in (None, "[]", "{"):
        if content is not None:
            file.write_text(content)
        with pytest.raises(CouldNotStartError, match=r"env\.json"):
            reader.read(str(file))
    file.write_text(json.dumps({"A": "\udcff"}))
    assert os.fsencode(reader.read(str(file))["A"]) == b"\xff"


@pytest.mark.parametrize(
    ("name", "value"),
    [("v", 2), ("instance", "main"), ("run", 402), ("token", 1), ("nonce", "cd34"), ("run", "401")],
)
def test_order_of_another_claim_is_refused(name: str, value: object) -> None:
    check_order(order(), "lab", IDENTITY)
    with pytest.raises(ValueError, match=f"its {name} is"):
        check_order(order(**{name: value}), "lab", IDENTITY)


@pytest.mark.parametrize("fields", [{"argv": []}, {"argv": None}, {"env": None}, {"grace": None}])
def test_incomplete_order_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the order has no"):
        check_order(order(**fields), "lab", IDENTITY)


def test_fence_comes_before_the_server_gives_up() -> None:
    assert fence_seconds(None, 30) is None
    assert fence_seconds(1800, 30) == 1500
    assert fence_seconds(1800, 3600) == 1500
    for lost_after in (6, 8, 33, 40, 100, 1000, 86400):
        for grace in (0, 5, 30, 1000):
            fence = fence_seconds(lost_after, grace)
            assert fence is not None
            assert fence >= 1.999
            assert fence + LAST_CALL_SECONDS + fence_grace(lost_after, grace) < lost_after
    assert fence_grace(1800, 30) == 30


def test_slot_is_held_by_one_supervisor_only(tmp_path: Path) -> None:
    first = Slot(str(tmp_path / "s"))
    with pytest.raises(SlotBusyError):
        Slot(str(tmp_path / "s"))
    first.release()
    Slot(str(tmp_path / "s")).release()


def test_slot_remembers_what_it_runs(tmp_path: Path) -> None:
    slot = Slot(str(tmp_path / "s"))
    assert slot.read() is None
    slot.write(Identity(2**40, 1, "f" * 32))
    slot.write(IDENTITY)
    slot.release()
    again = Slot(str(tmp_path / "s"))
    assert again.read() == IDENTITY
    again.write(None)
    assert again.read() is None
    again.release()


def test_recovered_slot_has_died_unless_it_had_ended(tmp_path: Path) -> None:
    slot = Slot(str(tmp_path / "s"))
    ended = Identity(1, 1, "aa")
    slot.spool.keep(ended).reports.append(Report(1, '{"k": "final"}'))
    slot.write(IDENTITY)
    slot.recover("test-no-such-instance", "why")
    assert slot.spool.kept[ended].died is None
    assert slot.spool.kept[IDENTITY].died == "why"
    assert slot.read() is None
    slot.release()


def test_sweep_gives_the_attempts_of_absent_slots_to_the_first_slot(tmp_path: Path) -> None:
    state = str(tmp_path)
    foreign = Slot(slot_folder(state, "i", "gone@h", 3))
    foreign.write(IDENTITY)
    foreign.release()
    busy = Slot(slot_folder(state, "i", "busy@h", 0))
    other = Identity(7, 1, "cc")
    busy.write(other)
    sweep(state, "i", "me@h", 1)
    sweep(state, "i", "me@h", 1)
    heir = Slot(slot_folder(state, "i", "me@h", 0))
    assert {identity: kept.died for identity, kept in heir.spool.kept.items()} == {
        IDENTITY: "its worker was gone"
    }
    assert busy.read() == other
    assert busy_slots(state, "i", "me@h", 2) == [0]
    heir.release()
    busy.release()
    assert busy_slots(state, "i", "me@h", 2) == []


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_clean_folder_is_used_again_under_a_new_name(tmp_path: Path) -> None:
    space = Workspace(str(tmp_path))
    first = space.make("1")
    inode = Path(first, "metrics.jsonl").stat().st_ino
    Path(first, "metrics.jsonl").write_text("points")
    assert not space.has_output(first)
    space.give_back(first, has_output=False)
    second = space.make("2")
    assert second.endswith("/2")
    assert not Path(first).exists()
    assert Path(second, "metrics.jsonl").stat().st_ino == inode
    assert Path(second, "metrics.jsonl").read_bytes() == b""
    assert names(second) == ["metrics.jsonl", "output"]
    assert names(f"{second}/output") == []


@pytest.mark.parametrize(
    "mess", ["output", "beside", "elsewhere", "no output", "link", "symlink", "mode", "gone"]
)
def test_folder_that_a_run_changed_is_not_used_again(tmp_path: Path, mess: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    slot = tmp_path / "slot"
    slot.mkdir()
    space = Workspace(str(slot))
    folder = Path(space.make("1"))
    metrics = folder / "metrics.jsonl"
    if mess == "output":
        (folder / "output" / "model").write_text("x")
    elif mess == "beside":
        (folder / "more").write_text("x")
    elif mess in ("elsewhere", "no output"):
        (folder / "output").rmdir()
        if mess == "elsewhere":
            (tmp_path / "other").mkdir()
            (folder / "output").symlink_to(tmp_path / "other")
    elif mess == "mode":
        metrics.chmod(0o644)
    else:
        metrics.unlink()
        if mess == "link":
            metrics.hardlink_to(precious)
        elif mess == "symlink":
            metrics.symlink_to(precious)

    async def give_back() -> str:
        space.give_back(str(folder), has_output=space.has_output(str(folder)))
        made = space.make("2")
        while folder.exists():
            await asyncio.sleep(0.001)
        return made

    second = asyncio.run(give_back())
    assert names(second) == ["metrics.jsonl", "output"]
    assert names(f"{second}/output") == []
    assert precious.read_text() == "keep me"
