"""What a shared server prints at start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from augury.server.settings import Settings
from augury.server.shared import announce


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("first", ["fresh", None])
def test_the_admin_gets_a_line_to_paste_before_users_are_made(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, first: str | None
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    config = Settings("redis://:pw@gpu0/0", (), "postgresql://db", Path("/var/lib/a b"), "main", "blobs")
    said = announce(config, "http://gpu0:8800", first, ())
    token = "fresh" if first and terminal else "$(cat '/var/lib/a b/token')"
    lines = said.splitlines()
    line = lines.index(f"  export AUGURY_URL=http://gpu0:8800 AUGURY_TOKEN={token}")
    assert "as the admin" in lines[line - 1]
    assert lines[line + 1 : line + 3] == ["", "A token for each user: augury token create NAME"]
