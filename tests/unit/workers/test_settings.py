"""Settings of a worker, URLs and the secret file."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from augury_workers import settings
from augury_workers.link import parse_url
from augury_workers.protocol import celery_url
from augury_workers.secret import SecretFile, SettingError

KEY = base64.b64encode(b"k" * 32).decode()


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The least that a worker must be told, on a host without cards."""
    monkeypatch.setattr(settings.nvml, "load", lambda _: None)
    secret = tmp_path / "secret"
    secret.write_text(f"k1 {KEY}\n")
    secret.chmod(0o600)
    return {
        "AUGURY_REDIS_URL": "redis://h",
        "AUGURY_URL": "https://h:8800/augury",
        "AUGURY_SECRET_FILE": str(secret),
        "HOME": str(tmp_path),
    }


def test_defaults_are_half_of_the_cores_and_the_queue_as_name(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings.platform, "cores", lambda: 9)
    found = settings.parse(["--machine-type", "RTX 4090"], environment)
    assert (found.slots, found.queue, found.instance) == (4, "rtx-4090", "main")
    assert found.name == f"rtx-4090@{found.host}"
    assert "4 slots on queue 'rtx-4090'" in found.describe()
    assert "--slots" in found.describe()


def test_everything_can_be_said(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = ["--machine-type", "K80", "--slots", "3", "--name", "x@y", "--state-dir", str(tmp_path)]
    found = settings.parse(arguments, {**environment, "AUGURY_INSTANCE": "lab"})
    assert (found.slots, found.name, found.host, found.state_dir, found.instance) == (
        *(3, "x@y", "y"),
        *(str(tmp_path), "lab"),
    )


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AUGURY_REDIS_URL", "", "AUGURY_REDIS_URL is not set"),
        ("AUGURY_REDIS_URL", "http://h", "AUGURY_REDIS_URL.*redis://"),
        ("AUGURY_REDIS_URL", "redis://h/x", "AUGURY_REDIS_URL.*'x' is not a number"),
        ("AUGURY_REDIS_URL", "redis://h:port/0", "AUGURY_REDIS_URL"),
        ("AUGURY_REDIS_URL", "unix://", "AUGURY_REDIS_URL.*path"),
        ("AUGURY_URL", "", "AUGURY_URL is not set"),
        ("AUGURY_URL", "server:8800", "AUGURY_URL.*http://"),
        ("AUGURY_URL", "http://h:port", "AUGURY_URL.*http://"),
        ("AUGURY_SECRET_FILE", "", "AUGURY_SECRET_FILE is not set"),
        ("AUGURY_SECRET_FILE", "/no/such", "AUGURY_SECRET_FILE.*/no/such"),
        ("AUGURY_SECRET_FILE", "/etc", "AUGURY_SECRET_FILE.*/etc"),
        ("AUGURY_INSTANCE", "a b", "AUGURY_INSTANCE"),
    ],
)
def test_wrong_setting_is_named(environment: dict[str, str], name: str, value: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        settings.parse(["--machine-type", "K80"], {**environment, name: value})


@pytest.mark.parametrize(
    "arguments",
    [
        ["--machine-type", " "],
        ["--machine-type", "K80", "--slots", "0"],
        ["--machine-type", "K80", "--slots", "-1"],
        ["--machine-type", "K80", "--slots", "many"],
    ],
)
def test_wrong_command_line_ends_with_2(environment: dict[str, str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        settings.parse(arguments, environment)
    assert error.value.code == 2


def test_only_the_local_worker_needs_no_url_of_the_server(environment: dict[str, str]) -> None:
    del environment["AUGURY_URL"]
    assert settings.parse(["--machine-type", "local"], {**environment, "AUGURY_INSTANCE": "local"})
    with pytest.raises(SettingError, match="AUGURY_URL is not set"):
        settings.parse(["--machine-type", "K80"], environment)


def test_name_cannot_leave_the_state_folder(environment: dict[str, str]) -> None:
    for name in ("../x", "a/b", "a b", ""):
        arguments = ["--machine-type", "K80", "--name", name or " "]
        with pytest.raises(SettingError, match="--name"):
            settings.parse(arguments, environment)


@pytest.mark.parametrize(
    ("url", "path", "host", "port", "login", "database", "tls"),
    [
        ("redis://h:7000/2", None, "h", 7000, (None, None), 2, False),
        ("redis://:p%40s@[::1]/", None, "::1", 6379, (None, "p@s"), 0, False),
        ("rediss://u:p@h?db=3", None, "h", 6379, ("u", "p"), 3, True),
        ("unix:///run/r.sock?db=4", "/run/r.sock", "", 0, (None, None), 4, False),
        ("unix://u:p@/a%20b.sock", "/a b.sock", "", 0, ("u", "p"), 0, False),
        ("unix:///r?password=x", "/r", "", 0, (None, "x"), 0, False),
    ],
)
def test_redis_url_is_understood(
    url: str,
    path: str | None,
    host: str,
    port: int,
    login: tuple[str | None, str | None],
    database: int,
    tls: bool,
) -> None:
    found = parse_url(url)
    assert (found.path, found.host, found.port, found.database, found.tls) == (
        path,
        host,
        port,
        database,
        tls,
    )
    assert (found.username, found.password) == login


def test_celery_gets_the_same_redis() -> None:
    assert celery_url("redis://u:p@h:1/2") == "redis://u:p@h:1/2"
    # Kombu trusts any certificate unless it is told otherwise.
    assert celery_url("rediss://h/0") == "rediss://h/0?ssl_cert_reqs=required"
    asked = celery_url("rediss://h/0?ssl_ca_certs=/ca.pem")
    assert asked == "rediss://h/0?ssl_ca_certs=/ca.pem&ssl_cert_reqs=required"
    assert celery_url("rediss://h/0?ssl_cert_reqs=none") == "rediss://h/0?ssl_cert_reqs=none"
    assert celery_url("unix:///run/r.sock?db=3") == "redis+socket:///run/r.sock?virtual_host=3"
    assert celery_url("unix:///run/r.sock") == "redis+socket:///run/r.sock?virtual_host=0"
    assert celery_url("unix://u:p%40s@/r.sock?db=3") == "redis+socket://u:p%40s@/r.sock?virtual_host=3"


def test_secret_file_is_read_again_when_it_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secret"
    path.write_text(f"k1 {KEY}\n")
    path.chmod(0o600)
    file = SecretFile(str(path))
    assert set(file.keys()) == {"k1"}
    path.write_text(f"k2 {KEY}\nk1 {KEY}\n")
    assert set(file.keys()) == {"k1", "k2"}
    path.write_text("nonsense")
    assert set(file.keys()) == {"k1", "k2"}
    path.unlink()
    assert set(file.keys()) == {"k1", "k2"}
    assert "stay in force" in capsys.readouterr().err


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_secret_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_text(f"k1 {KEY}\n")
    path.chmod(mode)
    with pytest.raises(SettingError, match="chmod 600"):
        SecretFile(str(path))


@pytest.mark.parametrize("text", ["", "k1\n", "k1 AAAA\n", "k1 ***\n", "ü x\n"])
def test_secret_file_without_a_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SettingError, match="AUGURY_SECRET_FILE"):
        SecretFile(str(path))
