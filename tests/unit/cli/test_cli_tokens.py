"""`augury token`: users of a shared server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from augury.cli import lazy

Augury = Callable[..., Any]


@pytest.mark.parametrize("words", [("create", "ada"), ("list",), ("revoke", "ada")])
def test_tokens_are_not_asked_of_the_local_instance_and_start_none(
    augury: Augury, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    def fail(**_: object) -> None:
        raise AssertionError("a client was made")

    monkeypatch.setattr(lazy, "Client", fail, raising=False)
    monkeypatch.delenv("AUGURY_URL")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    said = augury("token", *words)
    assert said.code == 2
    assert said.err == (
        "Error: no shared server is named: export AUGURY_URL and the admin's AUGURY_TOKEN "
        "(the server printed both; the token lies in its --state-dir as `token`)\n"
    )
