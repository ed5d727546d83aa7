"""What the server says to Redis, on a real one: scripts that let the newer stay, doorbells, reports."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from augury.dispatch.answers import AttemptState
from augury.dispatch.broker import Broker
from augury.dispatch.doorbells import Doorbell, Doorbells
from augury.local.broker import find_binary
from augury_workers import protocol
from augury_workers.protocol import Keys, Secret

pytestmark = pytest.mark.integration
KEYS = Keys("main")
RUN = 7


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="augury-") as folder:
        socket = Path(folder) / "s"
        words = [
            str(find_binary(os.environ)),
            "--port",
            "0",
            "--unixsocket",
            str(socket),
            "--save",
            "",
            "--dir",
            folder,
        ]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while not socket.exists() and time.monotonic() < until:
            time.sleep(0.01)
        yield f"unix://{socket}?db=0"
        process.terminate()
        process.wait(10)


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as connection:
        connection.flushall()
        yield connection


@pytest.fixture
def broker(url: str, client: redis.Redis) -> Iterator[Broker]:
    server = Broker(url, KEYS, [Secret("k1", b"0" * 32)], epoch=3)
    server.lead(insist=False)
    yield server
    server.close()


def write(broker: Broker, token: int, nonce: str) -> None:
    answers = broker.answers()
    answers.write_attempts([AttemptState(RUN, token, nonce, "", 4, "3.1")])
    answers.send()


def grant(broker: Broker, token: int, nonce: str) -> None:
    answers = broker.answers()
    answers.grant(AttemptState(RUN, token, nonce, "", 0, "3.1"), {"run": RUN}, "k1")
    answers.send()


def say(client: redis.Redis, token: int, nonce: str) -> str:
    keys = [KEYS.attempt(RUN), KEYS.reports, KEYS.box(nonce)]
    reply: Any = client.eval(protocol.SAY, 3, *keys, token, nonce, "origin")
    return str(reply[0].decode())


def test_an_attempt_that_was_granted_is_answered(broker: Broker, client: redis.Redis) -> None:
    assert say(client, 1, "aa") == "gone"
    grant(broker, 1, "aa")
    assert say(client, 1, "aa") == "yours"
    assert say(client, 1, "bb") == "superseded"


def test_a_lost_hash_is_written_anew(broker: Broker, client: redis.Redis) -> None:
    grant(broker, 2, "aa")
    client.delete(KEYS.attempt(RUN))
    write(broker, 2, "aa")
    assert say(client, 2, "aa") == "yours"
    assert client.hget(KEYS.attempt(RUN), "ack") == b"4"
    assert client.ttl(KEYS.attempt(RUN)) == -1


def test_what_was_read_before_a_run_was_granted_again_does_not_replace_the_new_attempt(
    broker: Broker, client: redis.Redis
) -> None:
    grant(broker, 10, "bb")
    write(broker, 9, "aa")
    assert say(client, 10, "bb") == "yours"
    assert say(client, 9, "aa") == "superseded"


def test_a_silent_attempt_is_reaped_and_superseded(broker: Broker, client: redis.Redis) -> None:
    grant(broker, 1, "aa")
    say(client, 1, "aa")
    assert broker.reap(RUN, beat=1, token=1)
    assert say(client, 1, "aa") == "superseded"


def test_an_attempt_whose_loss_could_not_be_stored_is_reaped_again(
    broker: Broker, client: redis.Redis
) -> None:
    grant(broker, 1, "aa")
    say(client, 1, "aa")
    assert broker.reap(RUN, beat=1, token=1)
    assert broker.reap(RUN, beat=1, token=1)
    grant(broker, 2, "bb")
    assert not broker.reap(RUN, beat=1, token=1)


def test_an_attempt_that_has_spoken_meanwhile_is_not_reaped(broker: Broker, client: redis.Redis) -> None:
    grant(broker, 1, "aa")
    say(client, 1, "aa")
    say(client, 1, "aa")
    assert not broker.reap(RUN, beat=1, token=1)
    assert say(client, 1, "aa") == "yours"


def test_an_attempt_that_has_been_replaced_meanwhile_is_not_reaped(
    broker: Broker, client: redis.Redis
) -> None:
    grant(broker, 1, "aa")
    say(client, 1, "aa")
    grant(broker, 2, "bb")
    assert not broker.reap(RUN, beat=1, token=1)
    assert say(client, 2, "bb") == "yours"


def test_nothing_is_reaped_without_its_hash_or_by_a_former_server(
    broker: Broker, client: redis.Redis
) -> None:
    assert not broker.reap(RUN, beat=0, token=1)
    grant(broker, 1, "aa")
    client.set(KEYS.leader, 4)
    assert not broker.reap(RUN, beat=0, token=1)


def test_a_former_server_neither_leads_again_nor_writes_attempts(broker: Broker, client: redis.Redis) -> None:
    grant(broker, 1, "aa")
    client.set(KEYS.leader, 4)
    broker.lead(insist=False)
    assert client.get(KEYS.leader) == b"4"
    write(broker, 1, "bb")
    assert say(client, 1, "aa") == "yours"


def test_a_server_that_starts_on_a_new_database_leads_whatever_was_there(
    broker: Broker, client: redis.Redis
) -> None:
    client.set(KEYS.leader, 4)
    broker.lead(insist=True)
    assert client.get(KEYS.leader) == b"3"


def test_workers_are_told_who_is_drained_or_refused_and_when_it_is_over(
    broker: Broker, client: redis.Redis
) -> None:
    broker.tell_workers(frozenset({"a@h", "b@h"}), {"c@h": protocol.refusal("key", "ff")})
    assert client.smembers(KEYS.drained) == {b"a@h", b"b@h"}
    assert client.hgetall(KEYS.refused) == {b"c@h": b"key ff"}
    before = client.info("commandstats")["cmdstat_sadd"]["calls"]
    broker.tell_workers(frozenset({"a@h", "b@h"}), {"c@h": protocol.refusal("key", "ff")})
    assert client.info("commandstats")["cmdstat_sadd"]["calls"] == before, "written only if it differs"
    client.flushall()
    broker.tell_workers(frozenset({"a@h"}), {})
    assert (client.smembers(KEYS.drained), client.exists(KEYS.refused)) == ({b"a@h"}, 0)
    broker.tell_workers(frozenset(), {})
    assert client.exists(KEYS.drained) == 0


def test_a_doorbell_is_the_message_that_celery_would_send(url: str, client: redis.Redis) -> None:
    app = Celery("augury", broker=protocol.celery_url(url), set_as_current=False)
    app.conf.broker_transport_options = {"global_keyprefix": KEYS.prefix}
    app.send_task(
        protocol.TASK_NAME,
        task_id="run-401.2",
        kwargs={"run": 401, "token": 2},
        queue="k80",
        argsrepr="()",
        kwargsrepr="run 401, token 2",
    )
    Doorbells(url, KEYS).publish([Doorbell(401, 2, "k80")])
    key = KEYS.prefix + "k80"
    # The oldest stands last, where workers take from.
    ours, theirs = (json.loads(text) for text in client.lrange(key, 0, -1))
    for message in (ours, theirs):
        assert message["properties"].pop("delivery_tag")
        assert message["properties"].pop("reply_to")
        assert message["headers"].pop("origin")
    assert ours == theirs


def test_scripts_that_redis_has_forgotten_are_sent_again(broker: Broker, client: redis.Redis) -> None:
    grant(broker, 1, "aa")
    client.script_flush()
    grant(broker, 2, "bb")
    assert say(client, 2, "bb") == "yours"


def test_a_connection_that_was_cut_is_opened_again(broker: Broker, client: redis.Redis) -> None:
    grant(broker, 1, "aa")
    client.client_kill_filter(_type="normal", skipme=True)
    grant(broker, 2, "bb")
    assert say(client, 2, "bb") == "yours"


def test_reports_are_read_oldest_first_and_dropped_when_taken_in(broker: Broker, client: redis.Redis) -> None:
    assert broker.read_reports(10, 1) == []
    for number in (b"1", b"2", b"3"):
        client.xadd(KEYS.reports, {"k": "x", "d": b"\xff" + number})
    [(first, fields), (second, _)] = broker.read_reports(2, 1)
    assert fields == {b"k": b"x", b"d": b"\xff1"}
    answers = broker.answers()
    answers.drop_reports([first, second])
    answers.send()
    [(_, fields)] = broker.read_reports(10, 1)
    assert fields[b"d"] == b"\xff3"
