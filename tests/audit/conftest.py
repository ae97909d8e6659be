"""One zone per test that needs its own, in SQLite and in PostgreSQL, and one with its roles apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.audit.parts import opened
from tests.postgres import fresh_database
from tests.sim.conftest import silence  # noqa: F401  # a fixture of the simulator

from jinbao.appliance.assembly import OpenZone


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[OpenZone]:
    """A zone whose own account has all roles."""
    with opened(tmp_path) as made:
        yield made


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.database)])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenZone]:
    """The same zone over each of the databases."""
    with opened(tmp_path, database=fresh_database() if request.param == "postgresql" else "") as made:
        yield made


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenZone]:
    """A zone with its three roles apart."""
    with opened(
        tmp_path_factory.mktemp("apart"), apart=True, audit={"refusals_per_minute_max": 10_000}
    ) as made:
        yield made
