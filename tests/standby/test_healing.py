"""What a neighbour gives back is one's own, or the neighbour did not understand what it was asked."""

from __future__ import annotations

import pytest
from tests.sim.conftest import MakeWorld
from tests.sim.invariants import check_rest
from tests.sim.promotion import Promotion
from tests.sim.world import World
from tests.standby.following import CITY, PROVINCE
from tests.standby.test_promotion import submit, travel

from jinbao.model.errors import LinkError
from jinbao.model.zone import Endpoint, Zone

ABOVE = Endpoint(PROVINCE, Zone.EXCHANGE)


def forget_the_field(world: World, endpoint: Endpoint) -> None:
    """A zone answers as release 0.1 does, which does not know that it may be asked for what it was sent."""
    counter = world.zones[endpoint].counter
    counter.returned = counter.headers  # type: ignore[method-assign]


def test_a_neighbour_of_an_older_release_is_no_neighbour_with_nothing(guarded: MakeWorld) -> None:
    """Whoever answers with what is for the caller, as release 0.1 does, is named and stops the promotion until upgraded."""
    with guarded(11) as world:
        submit(world)
        travel(world)
        forget_the_field(world, ABOVE)
        promotion = Promotion(world, CITY)
        promotion.declare()

        with pytest.raises(LinkError, match=f"batches that came from {CITY}, got 100000/exchange") as caught:
            promotion.promote()
        assert f"what {CITY} had sent to {ABOVE}" in str(caught.value)
        assert "upgrade it; try again when it answers, or declare again --without it" in str(caught.value)

        world.restart(ABOVE)
        found = {zone.zone: zone for zone in promotion.promote()}
        assert found[f"{CITY}/production"].batches > 0
        submit(world)
        world.settle()
        check_rest(world)
        promotion.end()
