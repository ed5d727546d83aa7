"""The local instance seen from its users: it is there when a command needs it, whatever was killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import local_standin
import pytest
from local_processes import end_everything, processes_of

from augury.errors import RefusedError, UnavailableError
from augury.local import broker, diagnosis, endpoint, launch, locks
from augury.local.endpoint import connect, current, down, read
from augury.local.home import Home, own_version

pytestmark = pytest.mark.integration

PARTS = ("valkey", "server", "worker")


def wait_for(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Return the first truthy answer; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"did not happen within {seconds} s")


def pid_of(home: Home, part: str) -> int:
    return int(wait_for(lambda: locks.holder(home.lock(part))))


def pids_of(home: Home) -> dict[str, int]:
    return {part: pid_of(home, part) for part in PARTS}


def valkey_answers(home: Home) -> bool:
    try:
        return broker.ping(home.socket())
    except OSError:
        return False


def redis(home: Home, *words: str) -> bytes:
    """Send one command to the broker as an inline request."""
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(home.socket()))
        connection.sendall(" ".join(words).encode() + b"\r\n")
        return connection.recv(1000)


def test_the_first_command_starts_the_instance_and_later_ones_share_it(home: Home) -> None:
    first = connect()
    again = connect()
    verified = connect(verify=True)
    assert first == again == verified
    assert endpoint.answers(first)
    assert first.version == own_version()
    assert valkey_answers(home)


def test_everything_the_instance_keeps_is_private(home: Home) -> None:
    connect()
    pids_of(home)
    for path in (home.path, *home.path.rglob("*")):
        mode = path.stat().st_mode & 0o777
        assert mode & 0o077 == 0, f"{path} has mode {mode:o}"
    assert oct(home.secret_file.stat().st_mode & 0o777) == "0o600"


def test_six_commands_at_once_start_one_instance(home: Home) -> None:
    command = [*local_standin.COMMAND, "connect"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in started]
    assert [process.returncode for process in started] == [0] * 6
    assert len({answer["pid"] for answer in answers}) == 1
    pids_of(home)
    assert len(processes_of(home.path)) == 4  # keeper, broker, server, worker


def test_six_threads_of_one_program_start_one_instance(home: Home) -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(connect())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(found)) == 1


@pytest.mark.parametrize("part", PARTS)
def test_a_killed_part_is_back_within_three_seconds_and_the_others_keep_their_process(
    home: Home, part: str
) -> None:
    connect()
    before = pids_of(home)
    os.kill(before[part], signal.SIGKILL)
    killed = time.monotonic()
    wait_for(lambda: locks.holder(home.lock(part)) not in (None, before[part]), 3)
    if part == "valkey":
        wait_for(lambda: valkey_answers(home), 3)
    answer = connect(verify=True)
    assert time.monotonic() - killed < 3
    assert endpoint.answers(answer)
    after = pids_of(home)
    assert {name for name in PARTS if before[name] != after[name]} == {part}


def test_the_broker_keeps_its_data_when_it_is_killed(home: Home) -> None:
    connect()
    pid = pid_of(home, "valkey")
    assert redis(home, "SET", "doorbell", "401") == b"+OK\r\n"
    time.sleep(1.2)  # appendfsync everysec
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: valkey_answers(home), 3)
    assert redis(home, "GET", "doorbell").endswith(b"401\r\n")


def test_a_new_keeper_adopts_server_and_worker_and_starts_the_broker_again(home: Home) -> None:
    connect()
    before = pids_of(home)
    keeper = pid_of(home, "keeper")
    redis(home, "SET", "doorbell", "401")
    os.kill(keeper, signal.SIGKILL)
    wait_for(lambda: locks.holder(home.lock("keeper")) not in (None, keeper), 3)  # started by the server
    wait_for(lambda: locks.holder(home.lock("valkey")) not in (None, before["valkey"]), 3)
    wait_for(lambda: valkey_answers(home), 3)
    after = pids_of(home)
    assert (after["server"], after["worker"]) == (before["server"], before["worker"])
    assert redis(home, "GET", "doorbell").endswith(b"401\r\n")
    wait_for(lambda: endpoint.parts_report(home)["worker"]["state"] == "adopted")


def test_the_broker_does_not_outlive_the_keeper(home: Home) -> None:
    connect()
    pids = pids_of(home)
    keeper = pid_of(home, "keeper")
    # The kernel ends the broker with the thread that started it: there must be no other.
    assert "Threads:\t1\n" in Path(f"/proc/{keeper}/status").read_text()
    for pid in (pids["server"], keeper):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not locks.is_held(home.lock("valkey")), 3)
    assert locks.holder(home.lock("worker")) == pids["worker"]
    connect()
    assert pids_of(home)["worker"] == pids["worker"]


def test_a_lid_closed_for_a_while_changes_nothing(home: Home) -> None:
    connect()
    before = {"keeper": pid_of(home, "keeper"), **pids_of(home)}
    for pid in before.values():
        os.kill(pid, signal.SIGSTOP)
    time.sleep(2.5)
    for pid in before.values():
        os.kill(pid, signal.SIGCONT)
    assert endpoint.answers(connect(verify=True))
    time.sleep(1.5)
    assert {"keeper": pid_of(home, "keeper"), **pids_of(home)} == before


def test_an_adopted_part_that_dies_is_started_again(home: Home) -> None:
    connect()
    before = pids_of(home)
    os.kill(pid_of(home, "keeper"), signal.SIGKILL)
    wait_for(lambda: endpoint.parts_report(home).get("server", {}).get("state") == "adopted")
    for part in ("server", "worker"):
        os.kill(before[part], signal.SIGKILL)
        wait_for(lambda part=part: locks.holder(home.lock(part)) not in (None, before[part]), 3)
    assert endpoint.answers(connect(verify=True))


def test_an_adopted_server_that_is_asked_to_end_ends_the_instance(home: Home) -> None:
    connect()
    os.kill(pid_of(home, "keeper"), signal.SIGKILL)
    wait_for(lambda: endpoint.parts_report(home).get("server", {}).get("state") == "adopted")
    assert down()
    assert not processes_of(home.path)


def test_everything_killed_at_once_is_back_with_the_next_command(home: Home) -> None:
    first = connect()
    for pid in (pid_of(home, "keeper"), *pids_of(home).values()):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not processes_of(home.path))
    assert read(home.path) == first  # stale
    assert current(home.path) is None
    again = connect()
    assert again.token != first.token
    assert endpoint.answers(again)


def test_a_server_killed_just_before_a_command_is_found_again(home: Home) -> None:
    first = connect()
    os.kill(first.pid, signal.SIGKILL)
    again = connect(verify=True)
    assert again.pid != first.pid
    assert endpoint.answers(again)


def test_a_command_that_starts_nothing_waits_for_a_server_that_comes_back(home: Home) -> None:
    first = connect()
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: current(home.path) is None)
    assert connect(start=False).pid != first.pid


def test_stale_files_of_a_crashed_machine_do_not_matter(home: Home) -> None:
    home.prepare()
    stranger = {
        "url": "http://127.0.0.1:1",
        "token": "t",
        "version": own_version(),
        "pid": 1,
        "started_at": "",
    }
    home.instance_file.write_text(json.dumps(stranger))
    for name in (*PARTS, "keeper", "start"):
        home.lock(name).write_text("1 1\n")
    home.socket().write_text("not a socket")
    home.keeper_file.write_text("{broken")
    assert endpoint.answers(connect())


def test_damaged_broker_files_are_set_aside(home: Home) -> None:
    home.prepare()
    files = home.broker_data / "appendonlydir"
    files.mkdir()
    (files / "appendonly.aof.manifest").write_text("nonsense\n")
    assert endpoint.answers(connect())
    assert list(home.broker_data.glob("damaged-*"))


def test_a_broker_whose_socket_was_cleaned_away_is_started_again(home: Home) -> None:
    connect()
    before = pids_of(home)
    home.socket().unlink()
    wait_for(lambda: valkey_answers(home), 8)
    after = pids_of(home)
    assert before["valkey"] != after["valkey"]
    assert before["server"] == after["server"]


def test_down_leaves_nothing_behind_and_says_when_nothing_runs(home: Home) -> None:
    said: list[str] = []
    connect()
    pids_of(home)
    assert down(notify=said.append)
    assert not processes_of(home.path)
    assert not home.instance_file.exists()
    assert not said
    assert not down(notify=said.append)
    assert said == ["no local instance is running"]
    with pytest.raises(UnavailableError, match="augury up"):
        connect(start=False)


def test_down_refuses_while_runs_are_in_flight_unless_forced(home: Home) -> None:
    connect()
    (home.path / "busy").touch()
    with pytest.raises(RefusedError, match="run 7"):
        down()
    assert endpoint.answers(connect())
    assert down(force=True)
    assert not processes_of(home.path)


def test_down_by_force_ends_a_server_that_does_not_answer(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect()
    pids_of(home)
    os.kill(pid_of(home, "server"), signal.SIGSTOP)
    monkeypatch.setattr(endpoint, "SHUTDOWN_SECONDS", 0.3)
    with pytest.raises(UnavailableError, match="--force"):
        down()
    assert down(force=True)
    assert not processes_of(home.path)


def test_a_keeper_asked_to_end_ends_its_parts(home: Home) -> None:
    connect()
    pids_of(home)
    os.kill(pid_of(home, "keeper"), signal.SIGTERM)
    wait_for(lambda: not processes_of(home.path), 5)


def test_a_keeper_whose_home_is_removed_ends(home: Home) -> None:
    connect()
    pids_of(home)
    shutil.rmtree(home.path)
    wait_for(lambda: not processes_of(home.path), 8)


def test_an_idle_instance_of_another_version_is_replaced(home: Home) -> None:
    home.prepare()
    (home.path / "version").write_text("0.0.9")
    launch.ensure_keeper(home.path)
    old = wait_for(lambda: current(home.path))
    (home.path / "version").unlink()
    with pytest.raises(RefusedError, match=r"0\.0\.9"):
        connect(start=False)
    new = connect()
    assert new.pid != old.pid
    assert new.version == own_version()


def test_a_busy_instance_of_another_version_says_so(home: Home) -> None:
    home.prepare()
    (home.path / "version").write_text("0.0.9")
    (home.path / "busy").touch()
    launch.ensure_keeper(home.path)
    wait_for(lambda: current(home.path))
    with pytest.raises(RefusedError, match=r"0\.0\.9.*run 7 is in flight.*down --force"):
        connect()


def test_a_server_that_cannot_start_is_told_with_the_end_of_its_log(home: Home) -> None:
    home.prepare()
    (home.path / "crash").touch()
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=r"server does not start.*\n.*store is of a newer version"):
        connect()
    assert time.monotonic() - began < 10
    found = {check.name: check for check in diagnosis.doctor()}
    assert not found["server"].ok
    assert "newer version" in found["server"].text


def test_a_missing_broker_program_is_told_at_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGURY_VALKEY_BINARY", "/nowhere/valkey-server")
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="/nowhere/valkey-server is not a program"):
        connect()
    assert time.monotonic() - began < 5


def test_a_broker_that_never_starts_is_told_and_leaves_no_keeper(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUGURY_VALKEY_BINARY", shutil.which("false") or "/bin/false")
    with pytest.raises(UnavailableError, match="exit code 1"):
        connect()
    wait_for(lambda: not processes_of(home.path), 8)


def test_a_server_that_never_answers_is_told_when_the_time_is_over(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.prepare()
    (home.path / "deaf").touch()
    monkeypatch.setattr(endpoint, "START_SECONDS", 1.0)
    said: list[str] = []
    with pytest.raises(UnavailableError, match="does not answer"):
        connect(verify=True, notify=said.append)
    assert said == ["starting the local instance..."]


def test_the_environment_of_the_first_command_does_not_leak_into_the_instance(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AUGURY_RUN_ID", "7")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "json.py").write_text("raise SystemExit('a module of the user')")
    monkeypatch.chdir(tmp_path)
    answer = endpoint.request(connect(), "GET", "/api/v1/status")
    assert answer is not None
    seen = answer.body["environment"]
    assert not {"CUDA_VISIBLE_DEVICES", "AWS_SECRET_ACCESS_KEY", "AUGURY_RUN_ID", "PYTHONPATH"} & set(seen)
    assert seen["AUGURY_HOME"] == str(home.path)
    assert seen["AUGURY_INSTANCE"] == "local"
    assert seen["AUGURY_REDIS_URL"].startswith("unix:///")
    assert seen["AUGURY_SECRET_FILE"] == str(home.secret_file)


def test_the_instance_outlives_the_shell_that_started_it(home: Home) -> None:
    # An ssh session: its leader ends, its process group is hung up and its pipes are closed.
    shell = subprocess.Popen(
        [*local_standin.COMMAND, "connect"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    out, _ = shell.communicate(timeout=60)  # returns only when nobody else holds the pipes
    with pytest.raises(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGHUP)
    assert endpoint.answers(connect(start=False))
    assert current(home.path).pid == json.loads(out)["pid"]
    keeper = pid_of(home, "keeper")
    assert os.getsid(keeper) != shell.pid
    assert str(Path(f"/proc/{keeper}/cwd").readlink()) == "/"
    assert str(Path(f"/proc/{keeper}/fd/0").readlink()) == "/dev/null"


def test_signals_that_the_first_command_ignores_are_not_ignored_in_the_instance(home: Home) -> None:
    # `nohup augury ...` ignores SIGHUP, the shell in the middle SIGINT and SIGQUIT.
    subprocess.run(["nohup", *local_standin.COMMAND, "connect"], check=True, capture_output=True, timeout=60)
    for pid in (pid_of(home, "worker"), pid_of(home, "server")):
        status = Path(f"/proc/{pid}/status").read_text()
        ignored = int(next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            assert not ignored & 1 << (number - 1), f"{number!r} is ignored"


def test_a_folder_that_was_deleted_under_the_command_does_not_matter(home: Home, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"cd {gone} && rmdir {gone} && exec {sys.executable} -P {local_standin.__file__} connect"
    subprocess.run(["bash", "-c", command], check=True, capture_output=True, timeout=60)
    assert endpoint.answers(connect(start=False))


@pytest.mark.parametrize(
    "name", ["a home with spaces", "ünïcode %41 #1", "long-" + "x" * 150, "quote'\"$HOME"]
)
def test_any_path_of_the_home_will_do(tmp_path: Path, home: Home, name: str, monkeypatch: Any) -> None:
    folder = tmp_path / name / "deeper"
    monkeypatch.setenv("AUGURY_HOME", str(folder))
    place = Home(folder)
    try:
        assert endpoint.answers(connect())
        assert valkey_answers(place)
        assert len(os.fsencode(place.socket())) <= 100
        assert all(check.ok for check in diagnosis.doctor()), diagnosis.doctor()
        assert down()
    finally:
        end_everything(folder)


def test_doctor_finds_all_well_with_and_without_an_instance(home: Home) -> None:
    before = diagnosis.doctor()
    assert all(check.ok for check in before), before
    connect()
    pids_of(home)
    running = {check.name: check for check in diagnosis.doctor()}
    assert all(check.ok for check in running.values()), running
    assert "2 slots" in running["worker"].text
    assert "answers" in running["valkey"].text


def test_doctor_names_what_is_wrong_and_the_fix(home: Home) -> None:
    connect()
    pids_of(home)
    home.secret_file.chmod(0o644)
    os.kill(pid_of(home, "valkey"), signal.SIGSTOP)
    found = {check.name: check for check in diagnosis.doctor()}
    assert not found["secret"].ok
    assert "chmod 600" in found["secret"].fix
    assert not found["valkey"].ok


def test_a_command_on_a_warm_instance_only_reads_files(home: Home) -> None:
    connect()
    code = (
        "import sys; from augury.local import connect; connect(start=False); "
        "print([m for m in ('http.client', 'ssl', 'httpx', 'redis', 'asyncio') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
