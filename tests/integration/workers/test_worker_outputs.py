"""Files that a run leaves, on a worker with real processes and a folder as its store of files."""

from __future__ import annotations

import os
import signal
import time
import zipfile
from pathlib import Path

import pytest
from worker_stand import Stand, Told, Worker, tagged, wait_for

pytestmark = pytest.mark.integration

WRITE = "cd $AUGURY_OUTPUT_DIR && mkdir -p ckpt && echo 1 > ckpt/a && printf xy > b"
SLOW = "head -c 1200000000 /dev/zero > $AUGURY_OUTPUT_DIR/big"


def blobs(stand: Stand) -> Path:
    return stand.folder / "blobs"


def files(stand: Stand, run: int, token: int = 1) -> dict[str, bytes]:
    with zipfile.ZipFile(blobs(stand) / f"outputs/{run}.{token}.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def do(stand: Stand, run: int, shell: str, **fields: object) -> Told:
    return stand.do(run, shell=shell, outputs=True, blobs=str(blobs(stand)), **fields)


def saving(told: Told) -> list[dict[str, object]]:
    return [body for body in told.of("state") if body["state"] == "saving"]


def test_files_come_back_whole_before_the_end_is_reported(shared: Stand) -> None:
    told = do(shared, 1, f"{WRITE}; ln -s /etc/passwd link; mkfifo pipe; mkdir empty")
    assert told.final is not None
    assert told.final["state"] == "complete"
    assert "cause" not in told.final
    assert told.final["detail"] == "left out of its outputs: 1 link, 1 special file"
    assert [(body["files"], body["bytes"]) for body in saving(told)] == [(2, 4)]
    assert [body["k"] for body, _ in told.reports] == ["state", "exit", "state", "final"]
    assert files(shared, 1) == {"ckpt/a": b"1\n", "b": b"xy"}
    assert [path.name for path in (blobs(shared) / "outputs").iterdir()] == ["1.1.zip"]


def test_a_failed_run_keeps_its_files(shared: Stand) -> None:
    told = do(shared, 2, f"{WRITE}; exit 3")
    assert told.final is not None
    assert told.final["state"] == "failed"
    assert files(shared, 2) == {"ckpt/a": b"1\n", "b": b"xy"}


@pytest.mark.parametrize("shell", ["true", "mkdir $AUGURY_OUTPUT_DIR/empty", "rm -r $AUGURY_OUTPUT_DIR"])
def test_a_run_without_files_saves_nothing(shared: Stand, shell: str) -> None:
    run = 10 + len(shell)
    told = do(shared, run, shell)
    assert told.final is not None
    assert (told.final["state"], told.final["detail"]) == ("complete", "")
    assert saving(told) == []
    assert not (blobs(shared) / f"outputs/{run}.1.zip").exists()


def test_an_output_folder_that_became_a_link_is_not_followed(shared: Stand) -> None:
    told = do(shared, 20, "rmdir $AUGURY_OUTPUT_DIR; ln -s /etc $AUGURY_OUTPUT_DIR")
    assert told.final is not None
    assert (told.final["state"], told.final["detail"]) == ("complete", "left out of its outputs: 1 link")
    assert not (blobs(shared) / "outputs/20.1.zip").exists()


def test_what_a_stopped_run_writes_on_sigterm_comes_back(shared: Stand) -> None:
    shell = "trap 'echo last > $AUGURY_OUTPUT_DIR/checkpoint; exit 0' TERM; echo up; sleep 60 & wait"
    shared.ring(3, shell=shell, outputs=True, blobs=str(blobs(shared)))
    wait_for(lambda: b"up" in shared.server.started(3).log)
    shared.server.want(3, "stop")
    told = shared.server.final(3)
    assert told.final is not None
    assert told.final["state"] == "stopped"
    assert files(shared, 3) == {"checkpoint": b"last\n"}


def test_a_run_past_its_limit_keeps_its_files(shared: Stand) -> None:
    told = do(shared, 4, f"{WRITE}; sleep 60", timeout=0.3)
    assert told.final is not None
    assert told.final["state"] == "stopped"
    assert files(shared, 4) == {"ckpt/a": b"1\n", "b": b"xy"}


def test_a_killed_run_leaves_nothing(shared: Stand) -> None:
    shared.ring(5, shell=f"{WRITE}; echo up; sleep 60", outputs=True, blobs=str(blobs(shared)))
    wait_for(lambda: b"up" in shared.server.started(5).log)
    shared.server.want(5, "kill")
    told = shared.server.final(5)
    assert told.final is not None
    assert told.final["state"] == "killed"
    assert saving(told) == []
    assert not (blobs(shared) / "outputs/5.1.zip").exists()


def test_a_kill_while_saving_aborts_it_and_a_stop_does_not(shared: Stand) -> None:
    for run, want in ((6, "kill"), (7, "stop")):
        shared.ring(run, shell=SLOW, outputs=True, blobs=str(blobs(shared)))
        wait_for(lambda run=run: saving(shared.server.started(run)), what="the saving")
        assert shared.server.told[run].final is None
        begun = time.monotonic()
        shared.server.want(run, want)
        told = shared.server.final(run)
        assert told.final is not None
        if want == "kill":
            assert time.monotonic() - begun < 2.0
            assert (told.final["state"], told.final["cause"]) == ("killed", "killed")
        else:
            assert told.final["state"] == "complete"
    assert not (blobs(shared) / "outputs/6.1.zip").exists()
    assert (blobs(shared) / "outputs/7.1.zip").stat().st_size > 1_200_000_000
    assert list((blobs(shared) / "outputs").glob("*.part")) == []
    (blobs(shared) / "outputs/7.1.zip").unlink()


def test_files_that_cannot_be_stored_are_said_to_be_lost(shared: Stand) -> None:
    blocked = shared.folder / "blocked"
    blocked.write_text("a file where a folder should be")
    told = shared.do(8, shell=WRITE, outputs=True, blobs=str(blocked))
    assert told.final is not None
    assert (told.final["state"], told.final["cause"]) == ("complete", "outputs_lost")
    assert told.final["detail"].startswith("the 2 files it wrote (4 bytes) did not come back: ")
    assert "Not a directory" in told.final["detail"]


def test_a_supervisor_killed_while_saving_is_reported_and_leaves_no_half_file(
    own: Stand, worker: Worker
) -> None:

    own.ring(1, shell=SLOW, outputs=True, blobs=str(blobs(own)))
    wait_for(lambda: saving(own.server.started(1)), what="the saving")
    os.kill(worker.supervisor(), signal.SIGKILL)
    wait_for(lambda: own.server.died, what="the report of its death")
    assert own.server.died[0]["run"] == "1"
    assert tagged("AUGURY_TAG=test/1/") == []
    assert not (blobs(own) / "outputs/1.1.zip").exists()


def test_the_slot_without_its_pool_child_gives_up_saving(own: Stand, worker: Worker) -> None:

    own.ring(1, shell=SLOW, outputs=True, blobs=str(blobs(own)))
    wait_for(lambda: saving(own.server.started(1)), what="the saving")
    os.kill(worker.pool_child(), signal.SIGKILL)
    told = own.server.final(1)
    assert told.final is not None
    assert (told.final["state"], told.final["cause"]) == ("complete", "outputs_lost")
    assert told.final["detail"].endswith("the worker process of its slot was gone")
    assert list((blobs(own) / "outputs").iterdir()) == []
