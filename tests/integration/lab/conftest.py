"""A lab with a broker, and on request a network."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab import Lab, Network
from tests.support.postgres import Postgres


@pytest.fixture
def lab(postgres: Postgres) -> Iterator[Lab]:
    """A lab on loopback, with a broker and a database, and no server yet."""
    with tempfile.TemporaryDirectory(prefix="augury-lab-") as name:
        made = Lab(Path(name), postgres.url(postgres.create_database()))
        try:
            made.start_broker()
            yield made
        finally:
            made.end()


@pytest.fixture
def network() -> Iterator[Network]:
    """Network namespaces; only root can make them."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        text = "network namespaces need root and iproute2"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    made = Network()
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def wide_lab(postgres: Postgres, network: Network) -> Iterator[Lab]:
    """A lab on a network, with a broker and a database, and no server yet."""
    with tempfile.TemporaryDirectory(prefix="augury-lab-") as name:
        made = Lab(Path(name), postgres.url(postgres.create_database()), host=network.host)
        try:
            made.start_broker()
            yield made
        finally:
            made.end()
