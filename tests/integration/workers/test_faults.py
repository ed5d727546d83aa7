"""What a worker owes when something dies: nothing runs on, nothing is lost, the slot works again."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from worker_stand import INSTANCE, Stand, Worker, alive, children, descendants, stand, tagged, wait_for

from augury_workers import protocol
from augury_workers.confirm import FRESH_SECONDS

pytestmark = pytest.mark.integration

STUBBORN = (
    "import os, signal, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork(): os._exit(0)\n"
    "print('ready', flush=True)\n"
    "time.sleep(300)\n"
)
"""A main process and a daemon of another session, both deaf to SIGTERM."""


def start_stubborn(stand: Stand, run: int, **fields: object) -> list[int]:
    stand.ring(run, argv=[sys.executable, "-c", STUBBORN], **fields)
    wait_for(
        lambda: run in stand.server.told and stand.server.told[run].log.count(b"ready") == 2, 15, "ready"
    )
    pids = tagged(f"AUGURY_TAG={INSTANCE}/{run}/")
    assert len(pids) == 2
    return pids


def all_gone(pids: list[int], seconds: float) -> None:
    wait_for(lambda: not any(alive(pid) for pid in pids), seconds, "the end of the processes")


def slot_works(stand: Stand, run: int) -> None:
    assert stand.do(run, argv=["echo", "again"]).log == b"again\n"


def test_death_of_the_pool_child_ends_the_tree_within_two_seconds(own: Stand, worker: Worker) -> None:
    pids = start_stubborn(own, 1)
    supervisor = worker.supervisor()
    os.kill(worker.pool_child(), signal.SIGKILL)
    all_gone(pids, 2.0)
    wait_for(lambda: own.server.died, 5, "the report")
    assert (own.server.died[0]["run"], own.server.died[0]["token"]) == ("1", "1")
    all_gone([supervisor], 5.0)
    assert own.server.told[1].final is None
    slot_works(own, 2)
    assert len(worker.supervisors()) == 1


def test_death_of_the_supervisor_ends_the_tree_and_a_new_one_reports_it(own: Stand, worker: Worker) -> None:
    pids = start_stubborn(own, 1)
    os.kill(worker.supervisor(), signal.SIGKILL)
    all_gone(pids, 2.0)
    wait_for(lambda: own.server.died, 5, "the report")
    assert own.server.died[0]["reason"]
    slot_works(own, 2)


def test_death_of_the_pool_child_while_it_claims_is_told_too(own: Stand, worker: Worker) -> None:
    own.server.granting = False
    own.ring(1, argv=["true"])
    claim = wait_for(lambda: own.server.claims, what="the claim")[0]
    supervisor = worker.supervisor()
    os.kill(worker.pool_child(), signal.SIGKILL)
    all_gone([supervisor], 5.0)
    died = wait_for(lambda: own.server.died, 5, "the report")[0]
    assert died["nonce"] == claim["nonce"]
    own.server.granting = True
    slot_works(own, 2)


def test_death_of_an_idle_supervisor_costs_no_run(own: Stand, worker: Worker) -> None:
    os.kill(worker.supervisor(), signal.SIGKILL)
    slot_works(own, 1)


def test_death_of_the_worker_ends_its_runs(own: Stand, worker: Worker) -> None:
    pids = start_stubborn(own, 1)
    worker.process.kill()
    all_gone(pids, 3.0)
    wait_for(lambda: own.server.died, 5, "the report")


def test_death_of_all_processes_at_once_is_cleared_by_the_next_start(own: Stand, worker: Worker) -> None:
    pids = start_stubborn(own, 1)
    victims = [worker.process.pid, *worker.children(), *worker.supervisors()]
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    worker.process.wait()
    all_gone(victims, 3.0)
    assert all(alive(pid) for pid in pids)
    assert not own.server.died
    claims = len(own.server.claims)
    own.ring(2, argv=["echo", "again"])
    own.start_worker()
    all_gone(pids, 5.0)
    assert len(own.server.claims) == claims, "killed before the first claim"
    wait_for(lambda: own.server.died, 5, "the report")
    assert own.server.final(2).log == b"again\n"


def test_leftovers_of_a_worker_of_another_name_are_cleared_too(own: Stand) -> None:
    other = own.start_worker("--name", "other")
    pids = start_stubborn(own, 1)
    victims = [other.process.pid, *descendants(other.process.pid)]
    for pid in victims:
        if pid not in pids:
            os.kill(pid, signal.SIGKILL)
    other.process.wait()
    own.start_worker()
    all_gone(pids, 5.0)
    wait_for(lambda: own.server.died, 5, "the report")


def test_workers_on_one_host_leave_each_other_alone(own: Stand, worker: Worker) -> None:
    pids = start_stubborn(own, 1)
    own.start_worker("--name", "second")
    slot_works(own, 2)
    assert all(alive(pid) for pid in pids)
    assert not own.server.died


def test_unsent_result_is_delivered_by_the_next_worker(own: Stand, worker: Worker) -> None:
    own.server.acking = False
    own.ring(1, argv=["echo", "result"])
    wait_for(lambda: own.server.redis.hget(own.server.keys.attempt(1), "sent") == b"4", what="the reports")
    victims = [worker.process.pid, *descendants(worker.process.pid)]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    worker.process.wait()
    own.server.redis.hset(own.server.keys.attempt(1), "gen", "g2")
    own.server.acking = True
    own.start_worker()
    # The new supervisor cannot know that the reports were lost, the server tells it by a new gen.
    wait_for(lambda: len(own.server.hellos) >= 2)
    time.sleep(0.5)
    own.server.redis.hset(own.server.keys.attempt(1), "gen", "g3")
    told = own.server.final(1)
    assert told.log == b"result\n"
    assert not own.server.died


def test_superseded_attempt_is_killed_and_says_nothing_more(own: Stand, worker: Worker) -> None:
    pids = start_stubborn(own, 1)
    said = len(own.server.told[1].reports)
    own.server.redis.hset(own.server.keys.attempt(1), mapping={"token": 2, "nonce": ""})
    own.server.redis.rpush(own.server.keys.box(own.server.told[1].nonce), protocol.wake_entry())
    all_gone(pids, 2.0)
    slot_works(own, 2)
    assert len(own.server.told[1].reports) == said
    assert not own.server.died
    wait_for(lambda: (own.slot_folder() / "spool").stat().st_size == 0, 10, "the empty spool")


def test_run_outlives_a_broker_that_lost_everything(own: Stand, worker: Worker) -> None:
    code = (
        "import json, os, time\n"
        "for i in range(40):\n"
        "    print(i, flush=True)\n"
        "    with open(os.environ['AUGURY_METRICS'], 'a') as f:\n"
        "        print(json.dumps({'name': 'a', 'value': i}), file=f)\n"
        "    time.sleep(0.1)\n"
    )
    own.ring(1, argv=[sys.executable, "-c", code])
    told = own.server.started(1)
    wait_for(lambda: len(told.points("a")) > 5)
    own.valkey.stop()
    time.sleep(1.0)
    own.valkey.start()
    acked = len(told.reports)
    own.server._last = "0"
    time.sleep(0.5)  # the attempt is `gone` for a while
    own.server.redis.hset(
        own.server.keys.attempt(1),
        mapping={"token": 1, "nonce": told.nonce, "want": "", "ack": acked, "gen": "g2"},
    )
    own.server.final(1, 20)
    assert told.log == b"".join(b"%d\n" % i for i in range(40))
    assert [point[:2] for point in told.points("a")] == [[i, float(i)] for i in range(40)]
    assert told.exit["code"] == 0
    slot_works(own, 2)


def test_cut_connections_lose_no_claim_and_no_report(own: Stand, worker: Worker) -> None:
    own.server.granting = False
    own.ring(1, shell="for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.2; done")
    wait_for(lambda: own.server.claims, what="the claim")
    own.server.redis.client_kill_filter(skipme=True)
    own.server.granting = True
    told = own.server.started(1)
    for _ in range(5):
        own.server.redis.client_kill_filter(skipme=True)
        time.sleep(0.3)
    assert own.server.final(1).log == b"1\n2\n3\n4\n5\n6\n7\n8\n"
    assert told.exit["code"] == 0
    assert len({claim["nonce"] for claim in own.server.claims}) == 1


def test_silent_broker_blocks_no_training_and_fences_it_in_time(own: Stand, worker: Worker) -> None:
    own.ring(
        1,
        shell="trap 'echo bye; exit' TERM; while :; do echo tick; sleep 0.1; done",
        lost_after=4.0,
        grace=0.5,
    )
    wait_for(lambda: 1 in own.server.told and b"tick" in own.server.told[1].log)
    pids = tagged(f"AUGURY_TAG={INSTANCE}/1/")
    assert own.valkey.process is not None
    own.valkey.process.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    time.sleep(1.0)
    assert alive(pids[0])
    # Given up by the server after 4 s: ended before, but not at once.
    all_gone(pids, 5.0)
    assert time.monotonic() - stopped < 4.5
    own.valkey.process.send_signal(signal.SIGCONT)
    wait_for(lambda: own.server.died, 20, "the report")
    assert own.server.told[1].final is None


def test_forged_orders_are_refused(own: Stand, worker: Worker) -> None:
    other = protocol.Secret("k1", os.urandom(32))
    marks = own.folder / "marks"

    def forge(nonce: str) -> None:
        good = {**own.server.orders[1], "run": 1, "token": 1, "nonce": nonce, "attempt": 1}
        evil = {**good, "shell": f"echo evil >> {marks}"}
        box = own.server.keys.box(nonce)
        replayed = {**evil, "nonce": "0" * 32}
        own.server.redis.rpush(box, protocol.seal_order(evil, other))
        own.server.redis.rpush(box, protocol.seal_order(replayed, own.server.secret))

    own.server.before_grant = forge
    told = own.do(1, shell="echo good")
    assert told.log == b"good\n"
    assert not marks.exists()
    log = worker.log.read_text()
    assert "wrong signature" in log
    assert "answers another claim" in log


def test_claim_answered_only_by_forgers_is_given_up_and_told(own: Stand, worker: Worker) -> None:
    wrong = protocol.Secret("k9", os.urandom(32))
    own.server.secret = wrong
    own.ring(1, argv=["true"])
    wait_for(lambda: own.server.died, 15, "the report")
    assert "unknown key 'k9'" in own.server.died[0]["reason"]
    # The secret file is read again: the next run works.
    (own.folder / "secret").write_text(f"k9 {base64.b64encode(wrong.key).decode()}\n")
    slot_works(own, 2)


def test_server_of_another_version_stops_the_consumption(own: Stand, worker: Worker) -> None:
    own.ring(1, argv=["true"])
    wait_for(lambda: own.server.denied or 1 in own.server.told)
    own.server.granting = False
    own.ring(2, argv=["true"])
    claim = wait_for(lambda: [c for c in own.server.claims if c["run"] == "2"])[0]
    own.server.redis.rpush(own.server.keys.box(claim["nonce"]), protocol.deny_entry("version"))
    wait_for(lambda: "another version" in worker.log.read_text(), 5, "the message")
    time.sleep(1.0)
    own.ring(3, argv=["true"])
    time.sleep(1.0)
    assert not [c for c in own.server.claims if c["run"] == "3"]


def test_worker_told_to_end_finishes_its_run_first(own: Stand, worker: Worker) -> None:
    own.ring(1, shell="sleep 1.5; echo end")
    own.server.started(1)
    assert worker.stop() == 0
    assert own.server.final(1).log == b"end\n"
    assert own.server.hellos[-1]["slots"] == 0


def test_worker_told_to_end_now_leaves_nothing_behind(own: Stand, worker: Worker) -> None:
    pids = start_stubborn(own, 1)
    below = descendants(worker.process.pid)
    worker.stop(signal.SIGQUIT)
    assert not any(alive(pid) for pid in pids + below)
    wait_for(lambda: own.server.died, 5, "the report")


def test_interrupt_at_the_terminal_does_not_reach_the_run(own: Stand, worker: Worker) -> None:
    own.ring(1, shell="sleep 1; echo end")
    own.server.started(1)
    for pid in [worker.process.pid, *worker.children()]:
        os.kill(pid, signal.SIGINT)
    assert own.server.final(1).log == b"end\n"
    assert worker.process.wait(20) == 0
    said = worker.log.read_text()
    assert ": waits for run 1 to end and takes nothing new; a second ^C ends what still runs, and" in said
    assert "Ctrl+C" not in said
    assert "shutdown" not in said


def test_a_second_interrupt_ends_the_runs(own: Stand, worker: Worker) -> None:
    pids = start_stubborn(own, 1)
    worker.process.send_signal(signal.SIGINT)
    wait_for(lambda: "a second ^C" in worker.log.read_text(), 5, "the sentence")
    time.sleep(1)
    worker.process.send_signal(signal.SIGINT)
    assert worker.process.wait(60) == 130
    assert not any(alive(pid) for pid in pids)
    assert "Ctrl+C" not in worker.log.read_text()


def test_worker_of_the_same_name_is_refused(own: Stand, worker: Worker) -> None:
    second = own.start_worker()
    assert second.process.wait(30) == 1
    assert "give this one a --name" in second.log.read_text()
    slot_works(own, 1)


def test_secret_open_to_others_is_refused_with_one_sentence(own: Stand) -> None:
    (own.folder / "secret").chmod(0o644)
    worker = own.start_worker()
    assert worker.process.wait(10) == 2
    text = worker.log.read_text()
    assert "AUGURY_SECRET_FILE" in text
    assert "chmod 600" in text
    assert len(text.splitlines()) == 1


def test_broker_with_a_password_and_another_database_works(tmp_path: Path) -> None:
    with stand(tmp_path, password="s3cret", database=3) as own:
        own.start_worker()
        slot_works(own, 1)
        assert own.server.redis.connection_pool.connection_kwargs["db"] == 3
        # The password is on no command line.
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(own.workers[0].process.pid)]
        assert not any(b"s3cret" in line for line in lines)


def test_portable_path_ends_trees_too(own: Stand) -> None:
    own.variables["AUGURY_PORTABLE"] = "1"
    worker = own.start_worker()
    pids = start_stubborn(own, 1, grace=0.5)
    own.server.want(1, "stop")
    assert own.server.final(1).exit["cause"] == "stopped"
    assert not any(alive(pid) for pid in pids)
    pids = start_stubborn(own, 2)
    os.kill(worker.supervisor(), signal.SIGKILL)
    all_gone(pids, 5.0)
    wait_for(lambda: own.server.died, 5, "the report")
    slot_works(own, 3)


def test_supervisor_alone_ends_when_its_input_ends(own: Stand) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "augury_workers.supervisor", "--instance", INSTANCE, "--worker", "w@h"),
            *("--index", "0", "--folder", str(own.folder / "slot")),
        ],
        env=own.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    own.order(1, argv=["echo", "hi"])
    process.stdin.write(b'{"run": 1, "token": 1}\n')
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == {"run": 1, "state": "complete", "exit": 0}
    own.order(2, argv=["sleep", "60"])
    process.stdin.write(b'{"run": 2, "token": 1}\n')
    process.stdin.flush()
    own.server.started(2)
    [child] = children(process.pid)
    process.stdin.close()
    assert process.wait(5) == 0
    assert not alive(child)
    wait_for(lambda: own.server.died, what="the report")
    process.stdout.close()


def claim_without_answer(own: Stand, run: int) -> str:
    """Let a run be claimed and left without an answer until an order is late for it; return the nonce."""
    own.server.granting = False
    own.ring(run, shell=f"echo {run} >> {own.folder}/ran; echo ran")
    claim = wait_for(lambda: [c for c in own.server.claims if c["run"] == str(run)], what="the claim")[0]
    time.sleep(FRESH_SECONDS + 0.2)
    return claim["nonce"]


def test_order_that_came_too_late_starts_nothing_beside_its_successor(own: Stand, worker: Worker) -> None:
    nonce = claim_without_answer(own, 1)
    order = {**own.server.orders[1], "run": 1, "token": 1, "nonce": nonce, "attempt": 1}
    own.server.redis.hset(own.server.keys.attempt(1), mapping={"token": 2, "nonce": "", "gen": "g1"})
    own.server.redis.rpush(own.server.keys.box(nonce), protocol.seal_order(order, own.server.secret))
    own.server.granting = True
    slot_works(own, 2)
    assert not (own.folder / "ran").exists()
    assert not own.server.died
    assert 1 not in own.server.told


def test_late_order_that_is_still_good_is_executed(own: Stand, worker: Worker) -> None:
    claim_without_answer(own, 1)
    own.server.granting = True
    assert own.server.final(1).log == b"ran\n"


def test_run_that_was_stopped_before_its_late_order_came_is_not_started(own: Stand, worker: Worker) -> None:
    claim_without_answer(own, 1)
    own.server.wants[1] = "stop"
    own.server.granting = True
    told = own.server.final(1)
    assert (told.exit["cause"], told.final and told.final["state"]) == ("killed", "killed")
    assert not (own.folder / "ran").exists()
    slot_works(own, 2)


def test_what_slept_past_its_lease_is_killed_at_once_when_its_worker_is_gone(
    own: Stand, worker: Worker
) -> None:
    pids = start_stubborn(own, 1, lost_after=6.0)
    frozen = [worker.supervisor(), *pids]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    os.kill(worker.pool_child(), signal.SIGKILL)
    time.sleep(3.0)
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)
    # No second of grace: by now the run may be another worker's.
    all_gone(pids, 0.7)
