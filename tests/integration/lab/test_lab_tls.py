"""A broker behind TLS: everybody checks its certificate, and says so in one sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from kombu import pools
from kombu.exceptions import KombuError

from augury.dispatch.doorbells import Doorbell, Doorbells
from augury.dispatch.health import check
from augury.errors import UsageError
from augury_workers.app import make_app
from augury_workers.link import Link, LinkError, parse_url
from augury_workers.protocol import Keys
from augury_workers.settings import Settings
from tests.support.lab import PASSWORD, Lab, free_port
from tests.support.tls import Authority, Front

pytestmark = pytest.mark.integration
DISTRUST = "CERTIFICATE_VERIFY_FAILED"


@pytest.fixture
def right(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "right")


@pytest.fixture
def wrong(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "wrong")


@pytest.fixture
def front(lab: Lab, right: Authority) -> Iterator[Front]:
    """TLS before the broker of the lab, which has no other address from here on."""
    made = Front(urlsplit(lab.redis_url).port or 0, right)
    lab.redis_url = _url(made.port, right)
    yield made
    lab.end()
    made.close()


def _url(port: int, authority: Authority | None, host: str = "127.0.0.1") -> str:
    options = f"?ssl_ca_certs={authority.file}" if authority else ""
    return f"rediss://:{PASSWORD}@{host}:{port}/0{options}"


def test_a_search_runs_over_tls(lab: Lab, front: Front, right: Authority) -> None:
    lab.serve()
    before = front.connections
    lab.worker("K80", 2)
    # The certificates of the machine do as well as the URL's.
    redis_url = lab.redis_url
    lab.redis_url = _url(front.port, None)
    lab.worker("T4", 1, SSL_CERT_FILE=str(right.file))
    lab.redis_url = redis_url
    lab.wait_for_slots(3)
    assert front.connections > before
    for machine_type in ("K80", "T4"):
        words = ["hyper", "grid", "--param", "a=1,2,3", "-t", machine_type, "-q", "--", "echo", ":a:"]
        lab.ok("hyper", "wait", lab.ok(*words).strip())


def test_another_authority_is_one_sentence_that_names_the_setting(
    lab: Lab, front: Front, wrong: Authority
) -> None:
    lab.serve()
    listen = f"127.0.0.1:{free_port()}"
    for url in (_url(front.port, wrong), _url(front.port, None)):
        ended = lab.try_server("--listen", listen, AUGURY_REDIS_URL=url)
        assert ended.returncode == 2
        assert ended.stderr.startswith(
            "augury server: AUGURY_REDIS_URL: the broker's certificate is not trusted"
        )
        assert ended.stderr.count("\n") == 1
    lab.redis_url = _url(front.port, wrong)
    worker = lab.worker("K80", 1)
    assert worker.wait(20) == 2
    said = (lab.home("worker-k80") / "log").read_text().splitlines()[-1]
    assert said.startswith("augury worker: AUGURY_REDIS_URL: the broker's certificate is not trusted here (")
    assert PASSWORD not in said


def test_a_certificate_for_another_name_is_refused(front: Front, right: Authority) -> None:
    with pytest.raises(UsageError, match=r"not trusted here .*mismatch"):
        check(_url(front.port, right, "localhost"), insecure=False)


def test_each_connection_checks_the_certificate(front: Front, right: Authority, wrong: Authority) -> None:
    def send(url: str) -> None:
        pools.reset()  # they are for the whole process, and look at host and port only
        Doorbells(url, Keys("main")).publish([Doorbell(1, 1, "nowhere")])

    def consume(url: str) -> None:
        settings = Settings(url, "main", "K80", 1, True, "k80@h", "/tmp", "/tmp/none")
        with make_app(settings).connection_for_read() as connection:
            connection.default_channel.client.ping()

    def report(url: str) -> None:
        async def ping() -> None:
            link = Link(parse_url(url))
            try:
                assert await link.call(("PING",)) in (["PONG"], [b"PONG"])
            finally:
                link.close()

        asyncio.run(ping())

    def look(url: str) -> None:
        redis.Redis.from_url(url, retry=None).ping()

    for connect in (send, consume, report, look):
        connect(_url(front.port, right))
        for distrusted in (wrong, None):
            with pytest.raises((redis.RedisError, OSError, KombuError, LinkError), match=DISTRUST):
                connect(_url(front.port, distrusted))
