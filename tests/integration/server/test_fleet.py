"""Workers that are drained, come late, or have another key, with a real server: on both databases."""

from __future__ import annotations

import base64
import os
import time
from typing import Any

import pytest

from augury.errors import RefusedError
from augury.server.service import Service
from augury.store import runs
from augury_workers import protocol
from tests.integration.server.conftest import Cluster, grid, search_state, states, wait_until

pytestmark = pytest.mark.integration


def worker(service: Service, name: str) -> dict[str, Any]:
    [found] = [one for one in service.workers.listing() if one["name"].partition("@")[0] == name]
    return found


def by_worker(service: Service, search_id: int) -> dict[str, int]:
    with service.store.read() as connection:
        names = [str(run.worker).partition("@")[0] for run in runs.of_search(connection, search_id)]
    return {name: names.count(name) for name in names}


def submit(service: Service, count: int, command: str = "true :a:") -> int:
    search_id = service.submit(grid(count, command, machine_type="K80"), "ada", dry_run=False).search_id
    assert search_id is not None
    return search_id


def queue(service: Service) -> dict[str, Any]:
    [found] = service.workers.queues()
    return found


def test_a_drained_worker_takes_nothing_new_whatever_is_started_again(cluster: Cluster) -> None:
    service = cluster.serve()
    process = cluster.worker("K80", 1)
    wait_until(lambda: service.roster.slots("k80") == 1)
    name = worker(service, "k80")["name"]
    with pytest.raises(RefusedError, match=f"there is no worker 'nobody@h': use one of {name}"):
        service.workers.drain([name, "nobody@h"], "", "ada")
    assert worker(service, "k80")["state"] == "up"
    search_id = submit(service, 3, "sleep 2; : :a:")
    wait_until(lambda: states(service, search_id).count("running") == 1)
    assert service.workers.drain([name], "new disk", "ada")[0]["state"] == "draining"
    assert queue(service) == {
        **{"queue": "k80", "types": ["K80"], "queued": 2, "running": 1, "slots": 0, "busy": 0}
    }
    assert (
        "all workers of type K80 are drained"
        in service.submit(grid(1, machine_type="K80"), "ada", dry_run=True).notices[0]
    )
    wait_until(lambda: worker(service, "k80")["state"] == "drained")
    assert sorted(states(service, search_id)) == ["complete", "queued", "queued"]
    # The store remembers: server, worker and broker may all come back.
    cluster.services.remove(service)
    service.stop()
    process.terminate()
    process.wait(15)
    second = cluster.serve()
    second.broker._redis.flushall()
    cluster.worker("K80", 1)
    wait_until(lambda: bool(second.roster.workers()))
    assert second.broker._redis.smembers("augury:main:drained") in (set(), {name.encode()})
    time.sleep(3)
    assert (worker(second, "k80")["state"], worker(second, "k80")["reason"]) == ("drained", "new disk")
    assert sorted(states(second, search_id)) == ["complete", "queued", "queued"]
    second.workers.undrain([name])
    wait_until(lambda: search_state(second, search_id) == "finished")
    assert worker(second, "k80")["state"] == "up"


def test_a_claim_of_a_worker_that_does_not_know_yet_that_it_is_drained_is_refused(cluster: Cluster) -> None:
    service = cluster.serve()
    cluster.worker("K80", 2)
    wait_until(lambda: service.roster.slots("k80") == 2)
    search_id = submit(service, 40, "sleep 0.05; : :a:")
    wait_until(lambda: states(service, search_id).count("complete") > 4)
    service.workers.drain([worker(service, "k80")["name"]], "", "ada")
    wait_until(lambda: not worker(service, "k80")["runs"])
    ended = states(service, search_id).count("complete")
    time.sleep(3)
    assert (states(service, search_id).count("complete"), ended < 40) == (ended, True)
    service.workers.undrain([worker(service, "k80")["name"]])
    wait_until(lambda: search_state(service, search_id) == "finished", 60)


def test_a_worker_that_starts_late_takes_its_share(cluster: Cluster) -> None:
    service = cluster.serve()
    cluster.worker("K80", 1)
    wait_until(lambda: service.roster.slots("k80") == 1)
    search_id = submit(service, 20, "sleep 0.5; : :a:")
    wait_until(lambda: states(service, search_id).count("complete") >= 4)
    cluster.worker("K80", 1, name="late")
    wait_until(lambda: by_worker(service, search_id).get("late", 0) > 0)
    begun = states(service, search_id).count("complete")
    wait_until(lambda: search_state(service, search_id) == "finished", 60)
    shares = by_worker(service, search_id)
    assert sum(shares.values()) == 20
    assert abs(shares["late"] - (20 - begun) / 2) <= 2, (shares, begun)


def test_a_worker_with_another_key_ends_and_its_queue_loses_nothing(cluster: Cluster) -> None:
    service = cluster.serve()
    good = cluster.worker("K80", 1)
    wait_until(lambda: service.roster.slots("k80") == 1)
    first = submit(service, 1)
    wait_until(lambda: search_state(service, first) == "finished")
    good.terminate()
    good.wait(15)
    wait_until(lambda: service.roster.slots("k80") == 0)
    search_id = submit(service, 4)
    key = base64.b64encode(os.urandom(32)).decode()
    (cluster.folder / "other").write_text(f"k1 {key}\n")
    (cluster.folder / "other").chmod(0o600)
    bad = cluster.worker("K80", 1, name="bad", secret="other")
    assert bad.wait(20) == 2
    assert set(states(service, search_id)) == {"queued"}
    assert service.roster.slots("k80") == 0
    assert worker(service, "bad")["state"] == "gone"
    cluster.worker("K80", 1)
    wait_until(lambda: search_state(service, search_id) == "finished")
    assert states(service, search_id) == ["complete"] * 4
    with service.store.read() as connection:
        assert {run.attempts for run in runs.of_search(connection, search_id)} == {1}


def test_a_worker_with_an_older_key_of_the_server_works(cluster: Cluster) -> None:
    older = (cluster.folder / "secret").read_text()
    (cluster.folder / "older").write_text(older)
    (cluster.folder / "older").chmod(0o600)
    key = base64.b64encode(os.urandom(32)).decode()
    cluster.use_key(f"k2 {key}\n{older}")
    service = cluster.serve()
    cluster.worker("K80", 1, secret="older")
    wait_until(lambda: service.roster.slots("k80") == 1)
    search_id = submit(service, 2)
    wait_until(lambda: search_state(service, search_id) == "finished")
    assert states(service, search_id) == ["complete"] * 2


def test_a_worker_of_another_version_ends_with_one_sentence(cluster: Cluster) -> None:
    service = cluster.serve()
    log = cluster.folder / "log"
    process = cluster.worker("K80", 1, version=protocol.VERSION + 1, log=log)
    wait_until(lambda: [one for one in service.workers.listing() if one["state"] == "refused"])
    assert "another version of the wire" in worker(service, "k80")["reason"]
    assert service.roster.slots("k80") == 0
    assert process.wait(20) == 1
    [said] = [line for line in log.read_text().splitlines() if "takes no more runs" in line]
    assert "install the server's version of augury" in said
    with pytest.raises(RefusedError, match="no worker was ever seen"):
        service.submit(grid(1, machine_type="K80"), "ada", dry_run=False)
