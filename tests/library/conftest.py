"""A library on each kind of database, and a province's exchange zone without cities."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.library.parts import Applied, open_library
from tests.postgres import fresh_database
from tests.sim.conftest import silence  # noqa: F401  # fixture of the simulator
from tests.sim.world import START, lay_down

from jinbao.appliance.assembly import OpenZone, Ports, open_zone
from jinbao.model.zone import Zone


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def applied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applied]:
    """One library per module and database; every test uses origins of its own."""
    directory = tmp_path_factory.mktemp("library")
    url = f"sqlite:///{directory / 'zone.db'}" if request.param == "sqlite" else fresh_database()
    opened = open_library(url, directory)
    yield opened
    opened.store.close()


@pytest.fixture(scope="session")
def province(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenZone]:
    """A province's exchange zone, whole, in a network that has no city yet."""
    plan = lay_down(tmp_path_factory.mktemp("plan") / "network", 0)
    zone = open_zone(plan.settings["140000"], Zone.EXCHANGE, Ports(now=lambda: START))
    yield zone
    zone.close()
