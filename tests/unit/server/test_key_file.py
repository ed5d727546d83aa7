"""The server's key file while it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from augury.errors import UsageError
from augury.server.keys import KeyFile
from augury_workers.protocol import new_secret_line


def _write(path: Path, text: str) -> None:
    fresh = path.with_name("fresh")
    fresh.write_text(text)
    fresh.chmod(0o600)
    fresh.replace(path)


def test_a_changed_file_is_in_force_at_the_next_look(tmp_path: Path) -> None:
    path, old, new = tmp_path / "secret", new_secret_line(), new_secret_line()
    _write(path, old)
    keys = KeyFile(path)
    assert [key.kid for key in keys] == [old.split()[0]]
    _write(path, new + old)
    assert [key.kid for key in keys] == [new.split()[0], old.split()[0]]
    assert (keys[0].kid, len(keys)) == (new.split()[0], 2)
    _write(path, new)
    assert [key.kid for key in keys] == [new.split()[0]]


def test_a_change_that_cannot_be_used_leaves_the_keys_in_force_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, line = tmp_path / "secret", new_secret_line()
    _write(path, line)
    keys = KeyFile(path)
    for break_it in (
        lambda: _write(path, "half a"),
        lambda: _write(path, ""),
        lambda: path.chmod(0o644),
        path.unlink,
    ):
        caplog.clear()
        break_it()
        for _ in range(3):
            assert [key.kid for key in keys] == [line.split()[0]]
        assert [
            record.getMessage().count("the keys read before stay in force") for record in caplog.records
        ] == [1]
        assert line.split()[1] not in caplog.text
    _write(path, line)
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [
        (None, 0o600, "No such file or directory; make one with `augury secret new FILE`"),
        ("nonsense", 0o600, "line 1 of the secret file is not 'kid base64-key'"),
        (new_secret_line(), 0o640, "others may read it; run: chmod 600"),
    ],
    ids=["none", "nonsense", "open to others"],
)
def test_a_file_that_cannot_be_used_is_named_at_the_start(
    tmp_path: Path, text: str | None, mode: int, sentence: str
) -> None:
    path = tmp_path / "secret"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(UsageError) as raised:
        KeyFile(path)
    assert str(raised.value).startswith(f"AUGURY_SECRET_FILE={path}: ")
    assert sentence in str(raised.value)
