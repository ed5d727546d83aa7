"""Workers that are drained, idle, refused, or cannot reach their broker; with a real worker and broker."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from worker_stand import QUEUE, Stand, Worker, stand, wait_for

from augury_workers import protocol

pytestmark = pytest.mark.integration


def name_of(own: Stand) -> str:
    return str(wait_for(lambda: own.server.hellos, what="the first hello")[-1]["worker"])


def said(worker: Worker, text: str, seconds: float = 15.0) -> None:
    wait_for(lambda: text in worker.log.read_text(), seconds, f"the words '{text}'")


def waiting(own: Stand) -> int:
    return int(own.server.redis.llen(own.server.keys.prefix + QUEUE))


def test_a_drained_worker_finishes_its_run_and_goes_on_when_undrained(own: Stand, worker: Worker) -> None:
    redis, keys = own.server.redis, own.server.keys
    own.ring(1, shell="sleep 3; echo end")
    own.server.started(1)
    redis.sadd(keys.drained, name_of(own))
    said(worker, "takes nothing new")
    own.ring(2, argv=["true"])
    assert own.server.final(1).log == b"end\n"
    time.sleep(2.0)
    assert (waiting(own), 2 in own.server.told) == (1, False)
    redis.srem(keys.drained, name_of(own))
    assert own.server.final(2).final == {"k": "final", "state": "complete"} | own.server.final(2).final


def test_a_drained_worker_takes_nothing_after_its_restart_or_that_of_its_connection(own: Stand) -> None:
    first = own.start_worker()
    own.server.redis.sadd(own.server.keys.drained, name_of(own))
    said(first, "takes nothing new")
    own.server.redis.client_kill_filter(_type="normal", skipme=True)
    own.ring(1, argv=["true"])
    time.sleep(3.0)
    assert waiting(own) == 1
    assert first.stop() == 0
    own.server.hellos.clear()
    second = own.start_worker()
    said(second, "takes nothing new")
    time.sleep(3.0)
    assert (waiting(own), own.server.claims) == (1, [])
    own.server.redis.delete(own.server.keys.drained)
    own.server.final(1)


def test_an_idle_worker_ends_cleanly_and_says_goodbye(own: Stand) -> None:
    worker = own.start_worker("--idle-timeout", "0.05")
    own.do(1, argv=["true"])
    ended = time.monotonic()
    assert worker.process.wait(20) == 0
    assert 2.0 < time.monotonic() - ended < 12.0
    assert own.server.hellos[-1]["slots"] == 0
    said(worker, "--idle-timeout")


def test_an_idle_worker_loses_no_doorbell_that_rings_while_it_ends(own: Stand) -> None:
    for run in range(1, 7):
        own.order(run, argv=["true"])
    worker = own.start_worker("--idle-timeout", "0.02")
    name_of(own)
    run = 0
    while worker.process.poll() is None and run < 6:
        run += 1
        own.ring(run)
        time.sleep(1.4 if run % 2 else 1.9)
    worker.process.wait(30)
    # Run, or on the queue for the next worker: never gone.
    assert len([one for one in own.server.told.values() if one.final]) + waiting(own) == run


def test_a_worker_with_another_key_is_told_at_its_start_and_ends(own: Stand) -> None:
    (own.folder / "secret").write_text(f"k9 {base64.b64encode(os.urandom(32)).decode()}\n")
    found: list[bytes] = []
    original = own.server._take

    def refuse(fields: dict[str, bytes]) -> None:
        original(fields)
        if fields.get("k") == b"hello" and not found:
            found.append(fields["mac"])
            text = {name: value.decode() for name, value in fields.items()}
            known = {own.server.secret.kid: own.server.secret}
            assert not protocol.is_signed(protocol.signed_text(text), text["kid"], text["mac"], known)
            name = own.server.hellos[-1]["worker"]
            own.server.redis.hset(own.server.keys.refused, name, protocol.refusal("key", text["mac"]))

    own.server._take = refuse  # type: ignore[method-assign]
    worker = own.start_worker()
    assert worker.process.wait(15) == 2
    said(worker, "AUGURY_SECRET_FILE")
    # With the right key it is not meant by what still stands there.
    (own.folder / "secret").write_text(own.server.secret_line())
    own.start_worker()
    own.do(1, argv=["true"])


def test_a_worker_whose_claim_is_refused_for_its_key_swallows_no_more_runs(
    own: Stand, worker: Worker
) -> None:
    own.server.granting = False
    own.ring(1, argv=["true"])
    claim = wait_for(lambda: own.server.claims)[0]
    own.server.redis.rpush(own.server.keys.box(claim["nonce"]), protocol.deny_entry("key"))
    said(worker, "takes no more runs")
    own.ring(2, argv=["true"])
    assert worker.process.wait(15) == 2
    assert waiting(own) == 1


def start(variables: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    secret = folder / "secret"
    secret.write_text(f"k1 {base64.b64encode(os.urandom(32)).decode()}\n")
    secret.chmod(0o600)
    words = [
        sys.executable,
        "-m",
        "augury_workers",
        "--machine-type",
        "K80",
        "--state-dir",
        str(folder / "s"),
    ]
    where = {"AUGURY_SECRET_FILE": str(secret), "AUGURY_URL": "http://127.0.0.1:9"}
    environment = {**os.environ, **where, **variables}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=40, check=False)


def test_a_broker_that_does_not_answer_is_named_at_start(tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    begun = time.monotonic()
    ended = start({"AUGURY_REDIS_URL": f"redis://:hidden@127.0.0.1:{port}/0"}, tmp_path)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
    assert f"AUGURY_REDIS_URL: no answer from the broker at 127.0.0.1:{port} within 10 s" in ended.stderr
    assert "hidden" not in ended.stderr
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("login", ["", ":wrong@", "who:wrong@"])
def test_a_wrong_password_of_the_broker_is_named_at_start(tmp_path: Path, login: str) -> None:
    with stand(tmp_path, password="right") as own:
        url = f"unix://{login}{own.valkey.folder}/v.sock?db=0"
        begun = time.monotonic()
        ended = start({"AUGURY_REDIS_URL": url}, tmp_path)
        assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
        assert "AUGURY_REDIS_URL: the broker refuses the login" in ended.stderr
        assert time.monotonic() - begun < 5
        (tmp_path / "secret").write_text(own.server.secret_line())
