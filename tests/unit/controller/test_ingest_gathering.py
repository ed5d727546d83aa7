"""Reports wait a moment for the claims that follow them, where any will."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from augury.ingest.loop import Ingest

REPORT = (b"1-0", {b"a": b"1/1/aa", b"s": b"3", b"j": b"{}"})
CLAIM = (b"2-0", {b"k": b"claim", b"run": b"2"})


@pytest.mark.parametrize(
    ("entries", "rung", "waits"),
    [
        ([REPORT], {"k80": 1}, True),
        ([REPORT, REPORT], {"k80": 1}, True),
        ([REPORT], {}, False),
        ([REPORT, CLAIM], {"k80": 1}, False),
        ([CLAIM], {"k80": 1}, False),
        ([], {"k80": 1}, False),
    ],
)
def test_reports_alone_wait_while_a_doorbell_rings(
    entries: list[Any], rung: dict[str, int], waits: bool
) -> None:
    controller: Any = SimpleNamespace(rung=lambda: rung)
    nothing: Any = None
    ingest = Ingest(
        nothing,
        nothing,
        controller,
        nothing,
        instance="main",
        environments=None,
        lost_after=None,
        admit=nothing,
        on_hello=nothing,
        on_told=nothing,
    )
    assert ingest._claims_follow(entries) is waits
