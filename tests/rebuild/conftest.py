"""One busy network for all tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.rebuild.busy import live
from tests.sim.conftest import guarded_plan, silence  # noqa: F401  # fixtures of the simulator
from tests.sim.world import Plan, World, world


@pytest.fixture(scope="session")
def busy(guarded_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:  # noqa: F811
    """A network of three tiers to which everything happened that a journal can hold."""
    with world(guarded_plan, tmp_path_factory.mktemp("busy") / "network", seed=3) as made:
        live(made)
        yield made
