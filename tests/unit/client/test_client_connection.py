"""Which instance a command talks to."""

from __future__ import annotations

from pathlib import Path

import pytest

from augury import Client, UsageError
from augury.client.connection import Address, read_settings, remote_address, settings_path


def test_without_settings_it_is_the_local_instance(tmp_path: Path) -> None:
    assert remote_address({"HOME": str(tmp_path)}) is None


def test_the_environment_points_at_a_remote_instance(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "AUGURY_URL": "https://box:8000/", "AUGURY_TOKEN": "t"}
    assert remote_address(environ) == Address("https://box:8000", "t")


def test_the_settings_file_points_at_a_remote_instance(tmp_path: Path) -> None:
    file = tmp_path / ".config" / "augury" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('\ufeffurl = "http://box"\ntoken = "t"\n', encoding="utf-8")
    assert remote_address({"HOME": str(tmp_path)}) == Address("http://box", "t")
    assert remote_address({"HOME": str(tmp_path), "AUGURY_URL": "http://other"}) == Address(
        "http://other", "t"
    )


def test_the_place_of_the_settings_file_can_be_named() -> None:
    assert settings_path({"AUGURY_CONFIG": "/etc/augury.toml"}) == Path("/etc/augury.toml")
    assert settings_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/augury/config.toml")


def test_without_a_home_folder_there_is_no_settings_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert read_settings({}) == {}
    assert remote_address({}) is None


@pytest.mark.parametrize(
    ("environ", "piece"),
    [
        ({"AUGURY_URL": "box:8000"}, "http://"),
        ({"AUGURY_URL": "http://box"}, "AUGURY_TOKEN"),
        ({"AUGURY_CONFIG": "/nowhere/augury.toml"}, "/nowhere/augury.toml"),
        ({"AUGURY_URL": "http://", "AUGURY_TOKEN": "t"}, "AUGURY_URL 'http://' is no address"),
        ({"AUGURY_URL": "http://[::1", "AUGURY_TOKEN": "t"}, "no address"),
        ({"AUGURY_URL": "http://box:99999", "AUGURY_TOKEN": "t"}, "https://host:8000"),
        ({"AUGURY_URL": "http://box:x", "AUGURY_TOKEN": "t"}, "no address"),
        ({"AUGURY_URL": "http://b ox", "AUGURY_TOKEN": "t"}, "no address"),
        ({"AUGURY_URL": "http://box", "AUGURY_TOKEN": "ä"}, "AUGURY_TOKEN holds characters"),
        ({"AUGURY_URL": "http://box", "AUGURY_TOKEN": "a\nb"}, "copy the token anew"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], piece: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=piece):
        remote_address({"HOME": str(tmp_path), **environ})


def test_a_settings_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "augury.toml"
    file.write_text("url = http://box")
    with pytest.raises(UsageError, match=str(file)):
        read_settings({"AUGURY_CONFIG": str(file)})


@pytest.mark.parametrize(
    ("content", "piece"),
    [
        (b'urll = "http://box"', "unknown key 'urll'; did you mean 'url'"),
        (b"url = 5", "'url' in .*augury.toml is 5, but must be a text"),
        (b'url = "http://box"\ntoken = ["x"]', "'token' in .*augury.toml is"),
        (b'url = "box:1"', "'url' in .*augury.toml 'box:1' must start with"),
        (b'url = "http://a"\nurl = "http://b"', "cannot read the settings file .*augury.toml"),
        (b'url = "\xff"', "cannot read the settings file .*augury.toml"),
    ],
)
def test_what_is_wrong_in_a_settings_file_is_named(content: bytes, piece: str, tmp_path: Path) -> None:
    file = tmp_path / "augury.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=piece):
        remote_address({"AUGURY_CONFIG": str(file)})


def test_a_settings_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"cannot read the settings file {tmp_path}"):
        remote_address({"AUGURY_CONFIG": str(tmp_path)})


@pytest.mark.parametrize("url", ["http://[::1]:8000", "https://user@box/prefix", "http://127.0.0.1:1"])
def test_addresses_of_all_kinds_are_taken(url: str) -> None:
    assert remote_address({"AUGURY_URL": url, "AUGURY_TOKEN": "t", "HOME": "/nowhere"}) == Address(url, "t")


def test_a_url_needs_its_token() -> None:
    with pytest.raises(UsageError, match="both"):
        Client("http://box")
