"""Runs from doorbell to final report, on a real worker with a small server."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from itertools import count, pairwise
from pathlib import Path

import pytest
from worker_stand import INSTANCE, Stand, Told, alive, tagged, wait_for

pytestmark = pytest.mark.integration

_ids = count(1)


def do(stand: Stand, seconds: float = 20.0, **fields: object) -> Told:
    return stand.do(next(_ids), seconds, **fields)


def start(stand: Stand, **fields: object) -> int:
    run = next(_ids)
    stand.ring(run, **fields)
    stand.server.started(run)
    return run


def test_run_that_succeeds_is_complete_with_its_output(shared: Stand) -> None:
    told = do(shared, argv=["echo", "two  words", "$HOME"])
    assert told.log == b"two  words $HOME\n"
    assert (told.exit["code"], told.exit["signal"], told.exit["cause"]) == (0, None, "exit")
    assert told.final is not None
    assert (told.final["state"], told.final["log_bytes"], told.final["dropped"]) == ("complete", 17, 0)
    assert told.of("state")[0]["pid"] > 1


def test_run_that_exits_with_a_code_has_failed(shared: Stand) -> None:
    told = do(shared, shell="echo out; echo err >&2; exit 7")
    assert told.log == b"out\nerr\n"
    assert (told.exit["code"], told.exit["cause"]) == (7, "exit")
    assert told.final is not None
    assert told.final["state"] == "failed"


def test_run_that_is_ended_by_a_signal_says_which(shared: Stand) -> None:
    told = do(shared, shell="kill -SEGV $$")
    assert (told.exit["code"], told.exit["signal"], told.exit["cause"]) == (None, signal.SIGSEGV, "signal")
    assert told.final is not None
    assert told.final["state"] == "failed"
    assert "SIGSEGV" in told.final["detail"]


def test_run_finds_its_environment(shared: Stand) -> None:
    run = next(_ids)
    told = shared.do(
        run,
        argv=[sys.executable, "-c", "import os, json; print(json.dumps(dict(os.environ)))"],
        env={"file": None, "set": {"MINE": "ü$(x)"}},
        params={"rate": {"value": 0.1, "text": ".1"}, "who": {"value": "x y", "text": "x y"}},
        param_env={"AUGURY_PARAM_RATE": ".1", "AUGURY_PARAM_WHO": "x y"},
    )
    found = json.loads(told.log)
    assert found["MINE"] == "ü$(x)"
    assert found["AUGURY_RUN_ID"] == str(run)
    assert (found["AUGURY_SEARCH_ID"], found["AUGURY_ATTEMPT"]) == ("7", "1")
    assert json.loads(found["AUGURY_PARAMS"]) == {"rate": 0.1, "who": "x y"}
    assert (found["AUGURY_PARAM_RATE"], found["AUGURY_PARAM_WHO"]) == (".1", "x y")
    assert found["AUGURY_TAG"] == f"{INSTANCE}/{run}/1/{told.nonce}"
    assert found["PYTHONUNBUFFERED"] == "1"
    for name in ("AUGURY_REDIS_URL", "AUGURY_SECRET_FILE", "AUGURY_INSTANCE"):
        assert name not in found
    assert not [name for name in found if name.startswith(("CELERY", "_MP_", "FORKED"))]


def test_run_of_no_search_has_no_search_id(shared: Stand) -> None:
    told = do(shared, search=None, shell='echo "[${AUGURY_SEARCH_ID-none}]"')
    assert told.log == b"[none]\n"


def test_run_of_the_local_instance_has_the_environment_of_its_shell(shared: Stand, tmp_path: Path) -> None:
    file = tmp_path / "env.json"
    file.write_text(
        json.dumps({"PATH": os.environ["PATH"], "ONLY": "this", "AUGURY_PARAM_OLD": "outer run's"})
    )
    told = do(
        shared, shell="env | sort | grep -E '^(ONLY|HOME|AUGURY_PARAM_)'", env={"file": str(file), "set": {}}
    )
    assert told.log == b"ONLY=this\n"


def test_run_starts_with_a_metrics_file_and_an_empty_output_folder(shared: Stand) -> None:
    line = 'stat -c %s "$AUGURY_METRICS"; ls -A "$AUGURY_OUTPUT_DIR" | wc -l; echo x > "$AUGURY_OUTPUT_DIR/x"'
    for _ in range(3):
        told = do(shared, shell=line + '; echo "{}" > "$AUGURY_METRICS.more"')
        assert told.log.split() == [b"0", b"0"]


def test_run_reads_nothing_from_its_input_and_leads_a_session(shared: Stand) -> None:
    told = do(shared, shell="cat; ps -o sid= -p $$ | tr -d ' '; echo $$")
    session, pid = told.log.split()
    assert session == pid


def test_run_that_was_ignored_signals_in_the_worker_hears_them(shared: Stand) -> None:
    code = "import signal; print([s.name for s in signal.Signals if signal.getsignal(s) == signal.SIG_IGN])"
    told = do(shared, argv=[sys.executable, "-c", code])
    # Python ignores these two itself.
    assert told.log == b"['SIGPIPE', 'SIGXFSZ']\n"


def test_points_in_the_metrics_file_arrive_exactly(shared: Stand) -> None:
    code = (
        "import os, json\n"
        "with open(os.environ['AUGURY_METRICS'], 'a') as f:\n"
        "    for i in range(3000):\n"
        "        point = {'name': 'loss', 'value': i / 7, 'index': 2 * i, 'time': 1000.5 + i}\n"
        "        print(json.dumps(point), file=f)\n"
        "        if i % 3 == 0: print(json.dumps({'name': 'acc', 'value': float('nan')}), file=f)\n"
        '    f.write(\'{"name": "last", "value": "-Infinity"}\')\n'
    )
    told = do(shared, argv=[sys.executable, "-c", code])
    assert told.points("loss") == [[2 * i, i / 7, 1000.5 + i] for i in range(3000)]
    assert [point[:2] for point in told.points("acc")] == [[i, "NaN"] for i in range(1000)]
    assert [point[:2] for point in told.points("last")] == [[0, "-Infinity"]]
    assert all(len(body["points"]) <= 500 for body in told.of("metric"))


def test_many_points_arrive_exactly(shared: Stand) -> None:
    code = (
        "import os\n"
        "with open(os.environ['AUGURY_METRICS'], 'a') as f:\n"
        '    for i in range(300000): f.write(\'{"name": "m%d", "value": %d}\\n\' % (i % 3, i))\n'
    )
    told = do(shared, 60, argv=[sys.executable, "-c", code])
    for name in range(3):
        points = told.points(f"m{name}")
        assert [point[:2] for point in points] == [[i, float(3 * i + name)] for i in range(100_000)]


def test_points_wait_in_their_file_while_the_server_is_away(shared: Stand) -> None:
    run = next(_ids)
    shared.server.acking = False
    code = (
        "import os\n"
        "with open(os.environ['AUGURY_METRICS'], 'a') as f:\n"
        '    for i in range(200000): f.write(\'{"name": "a", "value": %d}\\n\' % i)\n'
    )
    try:
        shared.ring(run, argv=[sys.executable, "-c", code])
        wait_for(lambda: int(shared.server.redis.hget(shared.server.keys.attempt(run), "sent") or 0) > 50)
        time.sleep(1.0)
        sent = int(shared.server.redis.hget(shared.server.keys.attempt(run), "sent"))
    finally:
        shared.server.acking = True
    assert sent < 300  # of 400 reports of 500 points; 4 MiB are under way
    shared.server.redis.hset(shared.server.keys.attempt(run), "gen", "g2")
    told = shared.server.final(run, 30)
    assert [point[:2] for point in told.points("a")] == [[i, float(i)] for i in range(200_000)]


def test_point_appears_while_the_run_goes_on(shared: Stand) -> None:
    line = 'echo \'{"name": "a", "value": 1}\' >> "$AUGURY_METRICS"; echo now; sleep 30'
    run = start(shared, shell=line)
    told = shared.server.told[run]
    wait_for(lambda: told.points("a") and told.log == b"now\n", 2.0, "the point and the output")
    shared.server.want(run, "kill")
    shared.server.final(run)


def test_lines_that_are_no_points_are_told_once(shared: Stand) -> None:
    told = do(
        shared, shell='printf "nonsense\\n{}\\n{\\"name\\": \\"a\\", \\"value\\": 2}\\n" >> $AUGURY_METRICS'
    )
    assert [point[:2] for point in told.points("a")] == [[0, 2.0]]
    assert told.log.count(b"[augury]") == 1
    assert b"2 lines are no metric point" in told.log
    assert b"nonsense" in told.log


def test_pattern_reads_metrics_out_of_the_output(shared: Stand) -> None:
    told = do(
        shared,
        shell=r"printf 'epoch 1 loss=0.5\repoch 2 loss=0.25\nacc: 9e-1 loss=nan'; echo; echo loss=x",
        metric_regex=[["loss", r"loss=(\S+)"], ["acc", r"acc: (?P<value>\S+)"]],
    )
    assert [point[:2] for point in told.points("loss")] == [[0, 0.5], [1, 0.25], [2, "NaN"]]
    assert [point[:2] for point in told.points("acc")] == [[0, 0.9]]


def test_binary_output_arrives_exactly(shared: Stand) -> None:
    told = do(shared, argv=[sys.executable, "-c", "import os; os.write(1, bytes(range(256)) * 4000)"])
    assert told.log == bytes(range(256)) * 4000


def test_ten_megabytes_of_output_arrive_exactly_when_the_server_keeps_up(shared: Stand) -> None:
    code = (
        "import os, time\nfor i in range(100):\n    os.write(1, b'%08d' % i * 13107)\n    time.sleep(0.02)\n"
    )
    told = do(shared, argv=[sys.executable, "-c", code])
    assert told.final is not None
    assert told.final["dropped"] == 0
    assert told.log == b"".join(b"%08d" % i * 13107 for i in range(100))
    assert all(len(data) <= 64 * 1024 for _, data in told.reports)


def test_flood_of_output_never_blocks_and_keeps_its_head_and_its_end(shared: Stand) -> None:
    run = next(_ids)
    shared.server.acking = False
    code = (
        "import os, sys, time\n"
        "began = time.monotonic()\n"
        "for i in range(4000): os.write(1, b'%07d\\n' % i * 1024)\n"
        "sys.stderr.write('seconds %f\\n' % (time.monotonic() - began))\n"
        "time.sleep(0.5)\n"
    )
    try:
        shared.ring(run, argv=[sys.executable, "-c", code])
        told_at = time.monotonic()
        wait_for(lambda: tagged(f"/{run}/1/"), 10, "the start")
        wait_for(lambda: not tagged(f"/{run}/1/"), 20, "the end of the process")
    finally:
        shared.server.acking = True
    assert time.monotonic() - told_at < 15
    # Nothing was acknowledged: a new generation makes the worker send again what it has kept.
    shared.server.redis.hset(shared.server.keys.attempt(run), "gen", "g2")
    told = shared.server.final(run)
    assert told.final is not None
    total, dropped = told.final["log_bytes"], told.final["dropped"]
    assert total > 4000 * 8192
    assert dropped > 20_000_000
    assert len(told.log) == total - dropped
    assert told.log.startswith(b"0000000\n" * 1024)
    assert told.log.split(b"\n")[-2].startswith(b"seconds ")
    logs = [(body["o"], data) for body, data in told.reports if body["k"] == "log"]
    gaps = [after[0] - before[0] - len(before[1]) for before, after in pairwise(logs)]
    assert sum(gaps) == dropped
    assert min(gaps) >= 0


def test_stop_lets_the_run_end_politely(shared: Stand) -> None:
    run = start(shared, shell="trap 'echo saved; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    wait_for(lambda: b"ready" in shared.server.told[run].log)
    began = time.monotonic()
    shared.server.want(run, "stop")
    told = shared.server.final(run)
    assert time.monotonic() - began < 2
    assert told.log.startswith(b"ready\n")  # bash tells of its ended sleep in between
    assert told.log.endswith(b"saved\n")
    assert (told.exit["cause"], told.exit["code"]) == ("stopped", 3)
    assert told.final is not None
    assert told.final["state"] == "stopped"


def test_stop_gives_the_grace_to_the_whole_tree(shared: Stand) -> None:
    child = "trap 'sleep 0.7; echo saved; exit' TERM; echo ready; while :; do sleep 0.05; done"
    run = start(shared, shell=f'sh -c "{child}" & wait')
    wait_for(lambda: b"ready" in shared.server.told[run].log)
    shared.server.want(run, "stop")
    told = shared.server.final(run)
    assert b"saved" in told.log
    assert told.final is not None
    assert told.final["state"] == "stopped"


def test_stop_that_is_ignored_kills_after_the_grace(shared: Stand) -> None:
    line = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    run = start(shared, shell=line, grace=1.0)
    wait_for(lambda: b"ready" in shared.server.told[run].log)
    began = time.monotonic()
    shared.server.want(run, "stop")
    told = shared.server.final(run)
    assert 0.9 < time.monotonic() - began < 3
    assert (told.exit["cause"], told.exit["signal"]) == ("stopped", signal.SIGKILL)


def test_kill_ends_at_once_and_overtakes_a_stop(shared: Stand) -> None:
    line = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    run = start(shared, shell=line, grace=60.0)
    wait_for(lambda: b"ready" in shared.server.told[run].log)
    shared.server.want(run, "stop")
    time.sleep(0.3)
    assert tagged(f"/{run}/1/")
    began = time.monotonic()
    shared.server.want(run, "kill")
    told = shared.server.final(run)
    assert time.monotonic() - began < 1.5
    assert told.exit["cause"] == "killed"
    assert told.final is not None
    assert told.final["state"] == "killed"


def test_run_that_exceeds_its_time_is_stopped(shared: Stand) -> None:
    told = do(shared, argv=["sleep", "60"], timeout=0.5)
    assert (told.exit["cause"], told.exit["signal"]) == ("timeout", signal.SIGTERM)
    assert told.final is not None
    assert told.final["state"] == "stopped"


def test_daemon_that_left_the_session_is_gone_after_the_run(shared: Stand) -> None:
    code = (
        "import os, signal, time\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "n = os.open('/dev/null', os.O_RDWR)\n"
        "[os.dup2(n, i) for i in (0, 1, 2)]\n"
        "time.sleep(300)\n"
    )
    run = next(_ids)
    began = time.monotonic()
    told = shared.do(run, shell=f'{sys.executable} -c "{code}"; echo done')
    assert told.log == b"done\n"
    assert told.final is not None
    assert told.final["state"] == "complete"
    assert not tagged(f"/{run}/1/")
    assert time.monotonic() - began < 6


def test_background_child_that_holds_the_output_delays_the_end_by_two_seconds_only(shared: Stand) -> None:
    run = next(_ids)
    began = time.monotonic()
    told = shared.do(run, shell="(sleep 0.5; echo late; exec sleep 300) & echo early")
    assert told.log == b"early\nlate\n"
    assert 1.5 < time.monotonic() - began < 6
    assert not tagged(f"/{run}/1/")


def test_duplicate_doorbell_is_denied_and_changes_nothing(shared: Stand) -> None:
    run = start(shared, shell="echo once; sleep 1")
    shared.doorbell.ring(run)
    wait_for(lambda: (run, 1) in shared.server.denied, what="the denial")
    told = shared.server.final(run)
    assert told.log == b"once\n"
    assert len({claim["nonce"] for claim in shared.server.claims if claim["run"] == str(run)}) == 2


def test_slot_works_on_after_many_short_runs(shared: Stand) -> None:
    first = next(_ids)
    runs = [first] + [next(_ids) for _ in range(29)]
    for run in runs:
        shared.ring(run, argv=["echo", str(run)])
    for run in runs:
        assert shared.server.final(run).log == b"%d\n" % run


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"argv": ["no-such-program-x"]}, "'no-such-program-x' was not found in the PATH"),
        ({"argv": ["/no/such/file"]}, "/no/such/file does not exist"),
        ({"argv": ["/etc/passwd"]}, "/etc/passwd is not executable"),
        ({"argv": ["/etc"]}, "/etc is a directory"),
        ({"argv": ["true"], "cwd": "/no/such/folder"}, "working directory /no/such/folder does not exist"),
        ({"argv": ["true"], "env": {"file": "/no/env.json", "set": {}}}, "/no/env.json"),
        ({"argv": ["true"], "env": {"file": None, "set": {"VIRTUAL_ENV": "/gone/venv"}}}, "/gone/venv"),
        ({"argv": ["echo", "a\0b"]}, "null"),
        ({"argv": ["echo", "x" * 200_000]}, "too long"),
    ],
)
def test_run_that_cannot_start_says_why(shared: Stand, fields: dict[str, object], words: str) -> None:
    told = do(shared, **fields)
    assert (told.exit["cause"], told.exit["code"], told.exit["signal"]) == ("could_not_start", None, None)
    assert told.final is not None
    assert told.final["state"] == "failed"
    assert words in told.final["detail"]
    assert told.of("state") == []


def test_program_without_an_interpreter_line_says_so(shared: Stand, tmp_path: Path) -> None:
    program = tmp_path / "train"
    program.write_text("echo hi\n")
    program.chmod(0o755)
    told = do(shared, argv=["./train"], cwd=str(tmp_path))
    assert told.final is not None
    assert "first line" in told.final["detail"]


def test_python_sdk_can_be_imported_in_a_run(shared: Stand, tmp_path: Path) -> None:
    code = (
        "import os, sys, augury_sdk, spell.metrics\n"
        "augury_sdk.send_metric('a', 0.5)\n"
        "spell.metrics.send_metric('b', 2, 7)\n"
        "print(sorted(os.listdir(os.environ['PYTHONPATH'].split(os.pathsep)[-1])))\n"
    )
    told = do(
        shared,
        argv=["/usr/bin/env", "python3", "-S", "-c", code],
        cwd=str(tmp_path),
        env={"file": None, "set": {"PYTHONPATH": "/first"}},
    )
    assert told.exit["code"] == 0, told.log
    assert [point[:2] for point in told.points("a")] == [[0, 0.5]]
    assert [point[:2] for point in told.points("b")] == [[7, 2.0]]
    assert told.log.startswith(b"['augury_sdk', 'spell'")


def test_flower_sees_the_runs_when_it_asks_for_events(shared: Stand) -> None:
    app = shared.doorbell.app
    seen: list[dict[str, str]] = []
    end = time.monotonic() + 20

    def take(event: dict[str, str]) -> None:
        if event["type"] == "task-succeeded":
            seen.append(event)

    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": take})
        with receiver.consumer_context() as (listening, _, _):
            while not seen and time.monotonic() < end:
                app.control.enable_events()  # nobody answers: as Flower does it, again and again
                shared.ring(next(_ids), argv=["true"])
                for _ in range(10):
                    with suppress(TimeoutError):
                        listening.drain_events(timeout=0.2)
        app.control.disable_events()
    assert seen[0]["hostname"].startswith("k80@")
    assert seen[0]["uuid"].startswith("run-")


def test_worker_shows_what_it_serves_in_its_hello(shared: Stand) -> None:
    hello = shared.server.hellos[0]
    assert (hello["queues"], hello["types"], hello["slots"]) == (["k80"], ["K80"], 2)
    assert hello["worker"] == f"k80@{hello['host']}"


def test_another_server_that_leads_is_greeted_at_once(shared: Stand) -> None:
    shared.server.redis.set(shared.server.keys.leader, 1)
    time.sleep(1.5)
    before = len(shared.server.hellos)
    shared.server.redis.set(shared.server.keys.leader, 2)
    wait_for(lambda: len(shared.server.hellos) > before, 2.0, "the hello")


def test_nothing_is_left_when_all_is_acknowledged(shared: Stand) -> None:
    folder = shared.folder / "state" / INSTANCE / "slots"
    wait_for(lambda: all(file.stat().st_size == 0 for file in folder.glob("*/spool")), 10, "the empty spool")
    assert not tagged(f"AUGURY_TAG={INSTANCE}/")
    for pid in shared.workers[0].supervisors():
        assert alive(pid)
        assert len(list(Path(f"/proc/{pid}/fd").iterdir())) < 20
