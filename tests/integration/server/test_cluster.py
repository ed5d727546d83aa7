"""Server and typed workers on one broker: the same on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest

from augury.errors import RefusedError, UsageError
from augury.store import runs, searches
from tests.integration.server.conftest import Cluster, grid, search_state, states, wait_until

pytestmark = pytest.mark.integration


def test_machine_types_are_known_once_a_worker_was_seen(cluster: Cluster) -> None:
    service = cluster.serve()
    with pytest.raises(RefusedError, match="no worker was ever seen"):
        service.submit(grid(2, machine_type="K80"), "ada", dry_run=False)
    worker = cluster.worker("K80", 1)
    wait_until(lambda: service.roster.slots("k80") == 1)
    wait_until(lambda: service.submit(grid(1), "ada", dry_run=True).plan.spec.machine_type == "K80")
    with pytest.raises(UsageError, match="unknown machine type 'Z9': use one of K80"):
        service.submit(grid(2, machine_type="Z9"), "ada", dry_run=False)
    cluster.worker("T4", 1)
    wait_until(lambda: service.roster.slots("t4") == 1)
    with pytest.raises(UsageError, match="name a machine type with -t: one of K80, T4"):
        service.submit(grid(2), "ada", dry_run=False)
    worker.terminate()
    wait_until(lambda: service.roster.slots("k80") == 0)
    assert (
        "no worker of type K80 is up now"
        in service.submit(grid(1, machine_type="k80"), "ada", dry_run=True).notices[0]
    )


def test_runs_go_to_their_own_queue(cluster: Cluster) -> None:
    service = cluster.serve()
    cluster.worker("K80", 2)
    cluster.worker("T4", 1)
    wait_until(lambda: service.roster.slots("k80") == 2 and service.roster.slots("t4") == 1)
    wait_until(lambda: len(service.open_searches()) == 0)
    wanted = {}
    for machine_type in ("K80", "T4"):
        submitted = service.submit(grid(10, machine_type=machine_type), "ada", dry_run=False)
        assert submitted.search_id is not None
        wanted[submitted.search_id] = machine_type.lower()
    for search_id, queue in wanted.items():
        wait_until(lambda search_id=search_id: search_state(service, search_id) == "finished")
        assert states(service, search_id) == ["complete"] * 10
        with service.store.read() as connection:
            workers = {run.worker for run in runs.of_search(connection, search_id)}
        assert {str(worker).partition("@")[0] for worker in workers} == {queue}


def test_a_second_server_goes_on_where_the_first_stopped(cluster: Cluster) -> None:
    first = cluster.serve()
    cluster.worker("K80", 2)
    wait_until(lambda: first.roster.slots("k80") == 2)
    search_id = first.submit(grid(30, "sleep 0.05; : :a:"), "ada", dry_run=False).search_id
    assert search_id is not None
    wait_until(lambda: states(first, search_id).count("complete") > 5)
    cluster.services.remove(first)
    first.stop()
    second = cluster.serve()
    wait_until(lambda: search_state(second, search_id) == "finished")
    assert states(second, search_id) == ["complete"] * 30
    with second.store.read() as connection:
        assert {run.attempts for run in runs.of_search(connection, search_id)} == {1}
        assert searches.get(connection, search_id).created_runs == 30


def test_a_flushed_broker_loses_nothing(cluster: Cluster) -> None:
    service = cluster.serve()
    cluster.worker("K80", 2)
    wait_until(lambda: service.roster.slots("k80") == 2)
    search_id = service.submit(grid(20, "sleep 0.2; : :a:"), "ada", dry_run=False).search_id
    assert search_id is not None
    wait_until(lambda: states(service, search_id).count("running") == 2)
    service.broker._redis.flushall()
    wait_until(lambda: search_state(service, search_id) == "finished", 60)
    assert states(service, search_id) == ["complete"] * 20
    with service.store.read() as connection:
        assert {run.attempts for run in runs.of_search(connection, search_id)} == {1}


def test_labels_find_the_runs_of_their_searches(cluster: Cluster) -> None:
    service = cluster.serve()
    cluster.worker("K80", 2)
    wait_until(lambda: service.roster.slots("k80") == 2)
    odd = 'a "quoted" 50% \\ é'
    wanted = service.submit(grid(2, labels=(odd, "paper")), "ada", dry_run=False).search_id
    service.submit(grid(3, labels=("papers",), description="paper"), "ada", dry_run=False)
    with service.store.read() as connection:
        for label in (odd, "paper"):
            ids = searches.with_label(connection, label)
            assert ids == [wanted]
            found = runs.listing(connection, before=None, limit=10, owner="ada", search_ids=ids)
            assert [run.search_id for run in found] == [wanted] * 2
        assert searches.with_label(connection, "none") == []
