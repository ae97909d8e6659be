"""`jinbao standby plan` and `promote`: what would come back is shown, comes back, and what is in the way is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Say
from tests.cli.harness import spawn
from tests.sim.world import Plan
from tests.standby.following import CITY
from tests.standby.lost import Lost, ahead, lost


@pytest.fixture(scope="module")
def ahead_plan(guarded_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A network whose province has batches of the city that its backup has not."""
    return ahead(guarded_plan, tmp_path_factory.mktemp("ahead") / "network")


@pytest.fixture
def city(ahead_plan: Plan, tmp_path: Path, say: Say) -> Lost:
    """The same, of the test's own."""
    return lost(ahead_plan, tmp_path / "net", say)


@pytest.mark.processes
def test_a_city_is_promoted_by_one_command(city: Lost) -> None:
    """With a token of the authority's listener the city is built, certified and healed, and JSON is all that is said."""
    grant = city.granted()
    city.know(grant)
    place = city.place()

    with city.enrolling() as token, city.serving():
        said = spawn(*city.arguments(grant, place, "--token", str(token), "--json"))

    assert said.code == 0, said.err
    body = json.loads(said.out)
    assert (body["node"], body["epoch"], body["without"]) == (CITY, 2, [])
