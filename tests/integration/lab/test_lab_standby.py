"""Several servers on one database: one leads, the others stand by and take over."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from tests.integration.lab.lab_search import assert_each_ran_once, refusal, start_search
from tests.support.lab import Lab, free_port, wait_until
from tests.support.postgres import Postgres

pytestmark = pytest.mark.integration

TAKE_OVER_SECONDS = 5.0
STANDS_BY = "another server leads; standing by"
LEADS = "A token for each user"


def stand_by(lab: Lab) -> tuple[subprocess.Popen[bytes], int]:
    """Start a second server that shares the first one's folder; return it and its port."""
    port = free_port(lab.host)
    process = lab.start_server("second", port, "--state-dir", str(lab.state))
    wait_until(lambda: STANDS_BY in lab.said("second"), "the second server stands by")
    return process, port


def worked(lab: Lab) -> int:
    """Start a worker and a search, and return its id when two of its runs are under way."""
    lab.worker("CPU", 2)
    lab.wait_for_slots(2)
    return start_search(lab)


def cut_lead(postgres: Postgres, lab: Lab) -> None:
    """Terminate the session that holds the lock of the lab's database."""
    name = lab.database_url.partition("?")[0].rpartition("/")[2]
    [[cut]] = postgres.execute(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_stat_activity USING (pid) "
        f"WHERE locktype = 'advisory' AND granted AND datname = '{name}'"
    )
    assert cut == 1


def test_the_second_server_stands_by_and_takes_over_when_the_first_is_killed(lab: Lab) -> None:
    first = lab.serve()
    second, port = stand_by(lab)
    search = worked(lab)
    refused = lab.laptop("ps", AUGURY_URL=f"http://{lab.host}:{port}")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "cannot reach" in refused.stderr

    killed = time.monotonic()
    first.kill()
    lab.port = port
    wait_until(lambda: LEADS in lab.said("second"), "the second server leads")
    taken = time.monotonic() - killed
    print(f"taken over after {taken:.2f} s")
    assert taken < TAKE_OVER_SECONDS
    assert second.poll() is None
    assert_each_ran_once(lab, search)


def test_of_two_servers_started_at_once_one_leads(lab: Lab) -> None:
    lab.serve().terminate()
    wait_until(lambda: lab.processes[-1].poll() is not None, "the first server has ended")
    names = ["left", "right"]
    servers = [lab.start_server(name, free_port(lab.host), "--state-dir", str(lab.state)) for name in names]
    wait_until(lambda: any(LEADS in lab.said(name) for name in names), "one leads")
    wait_until(lambda: any(STANDS_BY in lab.said(name) for name in names), "the other stands by")
    assert sorted(LEADS in lab.said(name) for name in names) == [False, True]
    leader, other = sorted(range(2), key=lambda one: STANDS_BY in lab.said(names[one]))
    # Asked to end, either does so: the one that stands by without having led.
    servers[other].terminate()
    assert servers[other].wait(10) == 0
    servers[leader].terminate()
    assert servers[leader].wait(10) == 0


def test_a_leader_whose_session_is_cut_leads_again_or_ends(lab: Lab, postgres: Postgres) -> None:
    """Alone it takes the lock again. Another one may be quicker: then it says so and ends."""
    first = lab.serve()
    search = worked(lab)
    cut_lead(postgres, lab)
    wait_until(lambda: "this server leads again" in lab.said(), "it leads again")
    assert first.poll() is None

    second, port = stand_by(lab)
    first.send_signal(signal.SIGSTOP)
    cut_lead(postgres, lab)
    wait_until(lambda: LEADS in lab.said("second"), "the second server leads", TAKE_OVER_SECONDS)
    first.send_signal(signal.SIGCONT)
    assert first.wait(10) == 1
    assert "another server leads now: start this one again to stand by" in lab.said()
    assert second.poll() is None
    lab.port = port
    assert_each_ran_once(lab, search)


def test_a_leader_that_is_frozen_is_replaced_and_writes_no_more(lab: Lab) -> None:
    first = lab.serve()
    second, port = stand_by(lab)
    search = worked(lab)
    frozen = time.monotonic()
    first.send_signal(signal.SIGSTOP)
    wait_until(lambda: LEADS in lab.said("second"), "the second server leads")
    print(f"taken over {time.monotonic() - frozen:.1f} s after the freeze")
    first.send_signal(signal.SIGCONT)
    # Until it has noticed, it refuses what it is asked for.
    refusal(lab)
    assert first.wait(10) == 1
    lab.port = port
    assert second.poll() is None
    assert_each_ran_once(lab, search)
    assert [one["id"] for one in lab.json("hyper", "list")] == [search]


def test_on_sqlite_a_second_server_stands_by_too(lab: Lab) -> None:
    lab.database_url = f"sqlite:///{lab.folder / 'store.db'}"
    first = lab.serve()
    second, port = stand_by(lab)
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: LEADS in lab.said("second"), "the second server leads", TAKE_OVER_SECONDS)
    lab.port = port
    assert lab.json("status")["instance"] == "main"
    assert second.poll() is None
