"""Servers that tests of several packages need."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.postgres import Postgres, binaries, postgres

# A busy machine is no failure, and a user who can't write here has no database of examples.
settings.register_profile("anywhere", deadline=None, database=None)
settings.load_profile("anywhere")


# Every platform that a test starts; the default would be downloaded.
os.environ.setdefault("FLIGHTLOOP_MODEL", "edge")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-crash", action="store_true", help="All crashes instead of a sample: some 30 minutes.")
    parser.addoption("--examples", type=int, default=4, help="Requests of a kind that the API is tried with.")


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """PostgreSQL, one for all tests."""
    if (programs := binaries()) is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres(programs) as running:
        yield running
