"""`augury workers`, against a fake server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from client_fake import WORKERS, FakeServer

Augury = Callable[..., Any]


def test_workers_are_a_table_with_their_queues_below(augury: Augury) -> None:
    lines = augury("workers").out.splitlines()
    assert lines[0].split() == ["WORKER", "HOST", "TYPES", "BUSY", "RUNS", "LAST", "SEEN", "STATE"]
    assert "k80@box  box   K80    2/4   401, 402  1.0s ago   draining (new disk)" in lines
    assert "gone (it has ended)" in lines[2]
    assert lines[4].split() == ["QUEUE", "TYPES", "QUEUED", "RUNNING", "BUSY"]
    assert lines[5].split() == ["k80", "K80", "1,200", "2", "0/0"]


def test_workers_for_programs_and_shells(augury: Augury) -> None:
    assert augury("workers", "--json").json == WORKERS
    assert augury("workers", "-q").out == "k80@box\n"
    assert augury("workers", "--json", "-q").code == 2


def test_a_worker_is_drained_with_a_reason(augury: Augury, server: FakeServer) -> None:
    said = augury("workers", "drain", "k80@box", "--reason", "new disk")
    assert (said.code, said.out) == (0, "k80@box takes nothing new; it finishes run 401, run 402.\n")
    assert server.requests[-1][1:] == ("/workers/drain", {}, {"names": ["k80@box"], "reason": "new disk"})
    assert augury("workers", "drain", "k80@box", "-q").out == "k80@box\n"
    assert augury("workers", "drain", "k80@box", "--json").json["workers"][0]["name"] == "k80@box"


def test_a_worker_is_undrained(augury: Augury, server: FakeServer) -> None:
    assert augury("workers", "undrain", "k80@box").out == "k80@box takes runs again.\n"
    assert server.requests[-1][1:] == ("/workers/undrain", {}, {"names": ["k80@box"]})


def test_an_unknown_worker_is_refused_with_the_names_there_are(augury: Augury) -> None:
    said = augury("workers", "drain", "nobody@box")
    assert (said.code, said.err) == (1, "Error: there is no worker 'nobody@box': use one of k80@box\n")
    assert augury("workers", "drain").code == 2
