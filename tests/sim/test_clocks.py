"""Wrong clocks: order is seq, so that they change nothing but the times people read, and are told of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from tests.sim.conftest import MakeWorld
from tests.sim.forging import through
from tests.sim.invariants import check_rest
from tests.sim.world import START, World

from jinbao.model.batch import SealedBatch
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Endpoint, Zone

CITY, EXCHANGE = Endpoint("140100", Zone.PRODUCTION), Endpoint("140100", Zone.EXCHANGE)
STREAM = StreamId(CITY, "pension_macro")


def seal(world: World) -> None:
    """The city has something to submit, and seals it."""
    before = world.zones[CITY].index.head(STREAM).seq
    while world.zones[CITY].index.head(STREAM).seq == before:
        world.business[CITY].edit()
        world.capture_all()


def submit(world: World) -> None:
    """The city submits, and everything comes to rest."""
    seal(world)
    world.settle()


def flagged(world: World, direction: str) -> float:
    """How many batches of the city its exchange zone flagged."""
    labels = {"peer": str(CITY), "direction": direction}
    metrics = world.zones[EXCHANGE].metrics.registry
    return metrics.get_sample_value("jinbao_clocks_odd_total", labels) or 0.0


@pytest.mark.fault_row(30)
def test_a_clock_that_jumps_back_during_a_pull_reorders_nothing(quiet: MakeWorld) -> None:
    """Receiver and origin fall back an hour between the headers and their acceptance: every batch is taken once."""
    with quiet(3) as world:

        def jump(found: list[SealedBatch], _marks: Sequence[Mark]) -> list[SealedBatch]:
            world.skew[EXCHANGE] -= timedelta(hours=1)
            return found

        seal(world)
        world.skew[CITY] = -timedelta(hours=1)
        seal(world)
        with through(world, EXCHANGE, CITY, jump):
            world.follow(EXCHANGE, CITY)

        assert world.zones[EXCHANGE].index.mark(STREAM) == world.zones[CITY].index.head(STREAM)
        assert world.zones[EXCHANGE].index.held() == {}
        world.skew[EXCHANGE] = timedelta()
        submit(world)
        check_rest(world)


@pytest.mark.fault_row(30)
def test_a_clock_that_drifts_tenfold_reorders_nothing(quiet: MakeWorld) -> None:
    """One zone whose seconds are ten times too short, and one whose time stands still, change no outcome."""
    with quiet(4) as world:
        for _ in range(3):
            elapsed = world.now - START
            world.skew[CITY], world.skew[EXCHANGE] = 9 * elapsed, -elapsed
            submit(world)

        check_rest(world)


@pytest.mark.fault_row(31)
def test_a_stamp_within_a_day_is_taken_and_flagged(quiet: MakeWorld) -> None:
    """Batches stamped two hours ahead, and then weeks back, are accepted in order of seq, each with a flag."""
    with quiet(6) as world:
        world.skew[CITY] = timedelta(hours=2)
        submit(world)
        ahead = flagged(world, "ahead")
        world.skew[CITY] = -timedelta(days=20)
        submit(world)

        back = flagged(world, "back")
        world.skew[CITY] = timedelta()  # till now the city itself held what seemed weeks ahead to it
        world.settle()

        assert (ahead > 0, back) == (True, 1)
        check_rest(world)


@pytest.mark.fault_row(31)
def test_a_stamp_of_tomorrow_waits_for_its_day(quiet: MakeWorld) -> None:
    """A batch stamped more than a day ahead is held once, for the clock, and goes on by itself when time has come."""
    with quiet(7) as world:
        world.skew[CITY] = timedelta(hours=26)
        submit(world)
        zone = world.zones[EXCHANGE]
        held = zone.index.held()
        for _ in range(5):
            world.settle()
        recorded = [a for a in zone.ledger.acts(kind="held") if a.act.body["stream"] == str(STREAM)]
        world.now += timedelta(hours=3)
        world.settle()

        assert held[STREAM][2].startswith("clock: ")
        assert len(recorded) == 1
        check_rest(world)
