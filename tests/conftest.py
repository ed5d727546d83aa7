"""For all tests: one BLAS thread, as many fight over two cores; PostgreSQL where it is needed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.postgres import NoPostgresError, Postgres

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; without one the test is skipped, and fails where it must not be missed."""
    try:
        server = Postgres()
    except NoPostgresError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    yield server
    server.stop()
