"""Fixtures: a stand with one worker shared by a module, or one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from worker_stand import Stand, Worker, stand, wait_for


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A stand whose worker with two slots is up."""
    with stand(tmp_path_factory.mktemp("stand")) as built:
        built.start_worker(slots=2)
        wait_for(lambda: built.server.hellos, what="the first hello")
        yield built


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stand]:
    """A stand of its own, without a worker."""
    with stand(tmp_path) as built:
        yield built


@pytest.fixture
def worker(own: Stand) -> Worker:
    """A worker with one slot on the stand of its own, its supervisor up."""
    started = own.start_worker()
    wait_for(lambda: own.server.hellos, what="the first hello")
    wait_for(lambda: any(started.supervisors()), what="the supervisor")
    return started
