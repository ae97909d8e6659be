"""A batch on which a zone ends again and again stops itself, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sim.conftest import MakeWorld
from tests.sim.invariants import check_rest
from tests.sim.world import World

from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.serve import held_reasons
from jinbao.journal.attempts import AttemptsFile
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint, Zone

CITY, PROVINCE = Endpoint("140100", Zone.PRODUCTION), Endpoint("140000", Zone.EXCHANGE)
POISON, OTHER = StreamId(CITY, "pension_macro"), StreamId(CITY, "unemployment_monitor")
ENDS_MAX = 5


@pytest.fixture
def world(quiet: MakeWorld) -> Iterator[World]:
    """A settled network of one city."""
    with quiet(6) as made:
        yield made


def submitted(world: World, *streams: StreamId) -> None:
    """The city seals something new in each stream, and the province accepts it."""
    home = world.zones[CITY].index
    before = {stream: home.head(stream).seq for stream in streams}
    while any(home.head(stream).seq == seq for stream, seq in before.items()):
        world.business[CITY].edit()
        world.capture_all()
    for _ in range(4):
        world.follow(Endpoint(CITY.node, Zone.EXCHANGE), CITY)
        world.follow(PROVINCE, Endpoint(CITY.node, Zone.EXCHANGE))


def held(world: World) -> dict[StreamId, str]:
    """Codes of what the province holds."""
    return {stream: code for stream, (_, code, _) in world.zones[PROVINCE].index.held().items()}


@pytest.mark.fault_row(6)
def test_a_batch_that_ends_its_process_is_read_no_more(world: World) -> None:
    """After five processes that ended of it its stream is held aloud, others are applied, and a person lets it go on."""
    submitted(world, POISON, OTHER)
    first = min(stream for stream in world.zones[PROVINCE].index.waiting() if stream.origin == CITY)

    endings = []
    while not held(world):
        world.arm("apply.before_record", zone=PROVINCE)
        world.step("apply", PROVINCE, lambda zone: zone.applier.step())
        endings.append(world.armed is None)
        assert len(endings) < 20, "the process ends without end"
    world.armed = None
    world.settle()

    assert endings[:ENDS_MAX] == [True] * ENDS_MAX
    assert len(endings) == ENDS_MAX + 1
    assert held(world) == {first: "poison"}
    assert set(world.zones[PROVINCE].index.waiting()) == {first}
    assert f"stream {first} held at" in "\n".join(held_reasons(world.zones[PROVINCE].index))

    submitted(world, first)
    world.settle()
    assert held(world) == {first: "poison"}

    because = {"stream": str(first), "reason": "the new release reads it"}
    dispatch(Asked(world.zones[PROVINCE]), "line.release", because)
    world.settle()
    assert held(world) == {}
    check_rest(world)


@pytest.mark.fault_row(6)
def test_a_process_that_ends_of_other_things_poisons_nothing(world: World) -> None:
    """A zone that is ended again and again while it applies, and got on in between, holds no stream."""
    for _ in range(ENDS_MAX + 1):
        submitted(world, POISON)
        world.arm("apply.before_record", zone=PROVINCE)
        world.step("apply", PROVINCE, lambda zone: zone.applier.step())
        assert world.armed is None
        world.settle()

    assert held(world) == {}
    check_rest(world)


@pytest.mark.parametrize("left", ["", "{", "[]", '{"stream": 1}', "null"])
def test_a_note_nobody_finished_counts_nothing(tmp_path: Path, left: str) -> None:
    """Whatever lies in the place of the note, counting begins at none and goes on from there."""
    place = tmp_path / "applying.json"
    place.write_text(left)

    counted = [AttemptsFile(place).begin(POISON, 7) for _ in range(3)]
    other = AttemptsFile(place).begin(POISON, 8)

    assert (counted, other) == ([0, 1, 2], 0)
