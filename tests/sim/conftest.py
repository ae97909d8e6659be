"""Networks laid down once per test process, copied for every run; logs are silent meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import structlog
from tests.sim.world import Plan, World, lay_down, settled, world

MakeWorld = Callable[..., AbstractContextManager[World]]


@pytest.fixture(autouse=True, scope="session")
def silence() -> Iterator[None]:
    """Keep the zones' logs out of the report of a failed run; its trace says more."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Plan]:
    """A network with so many cities, nothing captured yet."""
    made: dict[int, Plan] = {}

    def plan(cities: int) -> Plan:
        if cities not in made:
            made[cities] = lay_down(tmp_path_factory.mktemp("plan") / "network", cities)
        return made[cities]

    return plan


@pytest.fixture(scope="session")
def settled_plan(plans: Callable[[int], Plan], tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A network with one city, its first submission everywhere and at rest."""
    return settled(plans(1), tmp_path_factory.mktemp("plan") / "settled")


@pytest.fixture(scope="session")
def guarded_plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A network with one city and a backup site, its first submission everywhere and at rest."""
    directory = tmp_path_factory.mktemp("plan")
    return settled(lay_down(directory / "network", 1, guarded=True), directory / "settled")


@pytest.fixture
def guarded(guarded_plan: Plan, tmp_path: Path) -> MakeWorld:
    """A world by seed with a backup site, which has everything of the first submission."""
    return lambda seed: world(guarded_plan, tmp_path / f"world-{seed}", seed)


@pytest.fixture
def fresh(plans: Callable[[int], Plan], tmp_path: Path) -> MakeWorld:
    """A world by seed in which nothing was captured yet."""
    return lambda seed, cities=1: world(plans(cities), tmp_path / f"world-{seed}", seed)


@pytest.fixture
def quiet(settled_plan: Plan, tmp_path: Path) -> MakeWorld:
    """A world by seed whose first submission is everywhere; what comes next are changes."""
    return lambda seed: world(settled_plan, tmp_path / f"world-{seed}", seed)
