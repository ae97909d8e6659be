"""Who contradicts itself is held at the right tier with both heads, told of it, and stops nobody else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from tests.sim.conftest import MakeWorld
from tests.sim.forging import hiding, keep_copy, restore, swapping, through
from tests.sim.invariants import check_rest
from tests.sim.world import World

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.serve import held_reasons
from jinbao.model.batch import SealedBatch, Shortfall
from jinbao.model.errors import UsageError
from jinbao.model.stream import RECEIPTS, Mark, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.encoding import decode_header, short_of

CITY, EXCHANGE = Endpoint("140100", Zone.PRODUCTION), Endpoint("140100", Zone.EXCHANGE)
PROVINCE, MINISTRY = Endpoint("140000", Zone.EXCHANGE), Endpoint("100000", Zone.EXCHANGE)
STREAM, OTHER = StreamId(CITY, "pension_macro"), StreamId(CITY, "unemployment_monitor")


@pytest.fixture
def world(quiet: MakeWorld) -> Iterator[World]:
    """A settled network of one city."""
    with quiet(5) as made:
        yield made


def submit(world: World, *streams: StreamId) -> None:
    """Business goes on until the city has something to submit in each stream; then everything comes to rest."""
    home = world.zones[CITY].index
    before = {stream: home.head(stream).seq for stream in streams or (STREAM,)}
    while any(home.head(stream).seq == seq for stream, seq in before.items()):
        world.business[CITY].edit()
        world.capture_all()
    world.settle()


def held(zone: OpenZone) -> dict[StreamId, str]:
    """Codes of what a zone holds."""
    return {stream: code for stream, (_, code, _) in zone.index.held().items()}


def alarms(zone: OpenZone, kind: str) -> float:
    """How often a zone raised this alarm since it was opened."""
    found = zone.metrics.registry.get_sample_value("jinbao_equivocations_total", {"kind": kind})
    return found or 0.0


def reasons(zone: OpenZone) -> str:
    """Why the zone says it is not ready."""
    return "\n".join(held_reasons(zone.index))


def ask(zone: OpenZone, question: str, **arguments: object) -> dict[str, Any]:
    """One question of the admin contract."""
    return dispatch(Asked(zone), question, {"stream": str(STREAM)} | arguments).body


def heads(zone: OpenZone) -> tuple[str, list[tuple[str, int]]]:
    """What the evidence of the newest hold proves, and the place of each side."""
    found = ask(zone, "line.proof")
    return found["ground"], [(side["side"], side["seq"]) for side in found["heads"]]


@pytest.mark.fault_row(48)
def test_a_restored_origin_has_rolled_back(world: World) -> None:
    """An origin that shows less than before is held with both heads, itself learns of it, and a person ends it."""
    old = keep_copy(world, CITY, "old")
    submit(world)
    newest, last = keep_copy(world, CITY, "newest"), world.zones[CITY].index.head(STREAM).seq
    restore(world, CITY, old)
    before = world.zones[CITY].index.head(STREAM).seq

    world.settle()

    receiver, origin = world.zones[EXCHANGE], world.zones[CITY]
    assert held(receiver)[STREAM] == held(origin)[STREAM] == "rollback"
    assert heads(receiver) == ("earlier", [("held", last), ("shown", before)])
    assert heads(origin)[0] == "receipt"
    assert (alarms(receiver, "rollback"), alarms(origin, "told")) == (1, 1)
    assert f"stream {STREAM} held at" in reasons(receiver)
    assert f"stream {STREAM} held by {EXCHANGE}" in reasons(origin)

    restore(world, CITY, newest)
    world.restart(EXCHANGE)
    world.settle()

    assert held(world.zones[EXCHANGE])[STREAM] == "rollback"

    for stream in held(world.zones[EXCHANGE]):
        ask(world.zones[EXCHANGE], "line.release", stream=str(stream), reason="the old copy is switched off")
    submit(world, STREAM, OTHER)

    assert [held(zone) for zone in world.zones.values() if held(zone)] == []
    assert str(STREAM) not in reasons(world.zones[CITY])
    check_rest(world)


@pytest.mark.fault_row(47)
def test_a_restored_origin_that_seals_on_equivocates(world: World) -> None:
    """Another batch under a seq that was used is held with both heads at the first receiver, and goes no further."""
    old = keep_copy(world, CITY, "old")
    submit(world)
    last = world.zones[PROVINCE].index.mark(STREAM)
    restore(world, CITY, old)
    seq = world.zones[CITY].index.head(STREAM).seq + 1

    submit(world, STREAM)

    receiver, origin = world.zones[EXCHANGE], world.zones[CITY]
    ground, [(_, ours), (_, shown)] = heads(receiver)
    assert (held(receiver)[STREAM], ground) == ("equivocation", "two_heads")
    assert ours == shown >= seq
    assert held(origin)[STREAM] == "split_view"
    assert alarms(receiver, "equivocation") >= 1
    assert alarms(origin, "told") >= 1
    assert f"held by {EXCHANGE}" in reasons(origin)
    assert world.zones[PROVINCE].index.mark(STREAM) == last
    assert STREAM not in held(world.zones[PROVINCE])
    with pytest.raises(UsageError, match="a contradiction of one that is"):
        ask(receiver, "line.rebase", reason="take the fork", apply=True)


@pytest.mark.fault_row(47)
def test_a_split_view_is_seen_below_and_above(world: World) -> None:
    """A relay that shows the ministry another batch than the province has is found by both, and by the city."""
    first = world.zones[CITY].index.head(STREAM).seq + 1
    with through(world, MINISTRY, PROVINCE, swapping(world, STREAM, first)):
        submit(world, STREAM)
    submit(world, STREAM, OTHER)

    top, middle, origin = (world.zones[e] for e in (MINISTRY, PROVINCE, CITY))
    assert heads(top) == ("two_pasts", [("held", first), ("shown", first + 1)])
    assert held(top) == {STREAM: "equivocation"}
    assert (held(middle), held(origin)) == ({}, {STREAM: "split_view"})
    assert heads(origin)[0] == "receipt"
    assert all(alarms(zone, "split_view") and alarms(zone, "told") for zone in (middle, origin))
    assert all(f"held by {MINISTRY}" in reasons(zone) for zone in (middle, origin))
    assert top.index.mark(OTHER) == origin.index.head(OTHER)
    assert middle.index.mark(STREAM) == origin.index.head(STREAM)


@pytest.mark.fault_row(47)
def test_a_split_view_at_the_end_of_a_submission_is_seen_at_once(world: World) -> None:
    """The receipt for a swapped manifest is enough: the city knows before its next batch contradicts it."""
    last = world.zones[CITY].index.head(STREAM).seq
    with through(world, MINISTRY, PROVINCE, swapping(world, STREAM, None)):
        submit(world, STREAM)

    assert held(world.zones[MINISTRY]) == {}
    assert held(world.zones[CITY]) == {STREAM: "split_view"}
    assert heads(world.zones[CITY])[1][0] == ("held", world.zones[CITY].index.head(STREAM).seq)
    assert alarms(world.zones[PROVINCE], "split_view") > 0
    assert world.zones[CITY].index.head(STREAM).seq > last


@pytest.mark.fault_row(48)
def test_a_restored_relay_is_behind_and_catches_up(world: World) -> None:
    """A relay that lost its newest batches accuses nobody's origin; only what it seals itself is held."""
    old = keep_copy(world, EXCHANGE, "old")
    submit(world, STREAM, OTHER)
    restore(world, EXCHANGE, old)

    world.follow(PROVINCE, EXCHANGE)
    world.settle()

    above = world.zones[PROVINCE]
    behind = above.metrics.registry.get_sample_value("jinbao_peers_behind_total", {"peer": str(EXCHANGE)})
    assert behind == len({STREAM, OTHER})
    assert held(above) == {}
    for stream in (STREAM, OTHER):
        assert world.zones[EXCHANGE].index.mark(stream) == world.zones[CITY].index.head(stream)
    assert {stream.origin for stream in held(world.zones[CITY])} == {EXCHANGE}
    assert alarms(world.zones[EXCHANGE], "told") > 0


@pytest.mark.fault_row(48)
def test_a_restored_parent_is_told_by_its_children(world: World) -> None:
    """A parent that shows fewer receipts than before is held by its children, and learns of it from them."""
    old = keep_copy(world, PROVINCE, "old")
    submit(world, STREAM)
    restore(world, PROVINCE, old)

    world.settle()

    below, parent = held(world.zones[EXCHANGE]), world.zones[PROVINCE]
    [stream] = [stream for stream in below if stream.origin == PROVINCE and stream.topic == RECEIPTS]
    assert below[stream] in {"rollback", "equivocation"}
    assert alarms(parent, "told") > 0
    assert not [code for code in held(parent).values() if code == "unacceptable"]


def understating(found: list[SealedBatch], marks: Sequence[Mark]) -> list[SealedBatch]:
    """A relay that says of every mark that it has no more than the first batch it ever saw."""
    first = {decode_header(sealed.payload).stream: sealed for sealed in reversed(found)}
    return [*found, *(short_of(first[m.stream], m) for m in marks if m.stream in first)]


@pytest.mark.fault_row(48)
@pytest.mark.parametrize("change", ["hiding", "understating"])
def test_a_relay_that_hides_a_tail_accuses_nobody(world: World, change: str) -> None:
    """What a relay keeps back or belittles delays its stream alone; nobody is held for it, and it catches up."""
    known = world.zones[PROVINCE].index.mark(STREAM)
    lying = hiding(STREAM, known.seq) if change == "hiding" else understating
    with through(world, PROVINCE, EXCHANGE, lying):
        submit(world, STREAM, OTHER)

        assert [held(zone) for zone in world.zones.values() if held(zone)] == []
        assert world.zones[PROVINCE].index.mark(OTHER) == world.zones[CITY].index.head(OTHER)
        assert (world.zones[PROVINCE].index.mark(STREAM) == known) is (change == "hiding")

    world.settle()
    check_rest(world)


@pytest.mark.fault_row(48)
def test_a_late_answer_is_no_rollback(world: World) -> None:
    """An origin's word on a mark this zone has moved past was true when it was said, and accuses nobody."""
    first = world.zones[EXCHANGE].index.batch(STREAM, 1)
    assert first is not None
    earlier = Mark(STREAM, world.zones[CITY].index.incarnation(), 1, 2, "0f" * 32)

    def late(found: list[SealedBatch], _marks: Sequence[Mark]) -> list[SealedBatch]:
        return [short_of(first, earlier), *found]

    with through(world, EXCHANGE, CITY, late):
        submit(world, STREAM)

    assert isinstance(short_of(first, earlier), Shortfall)
    check_rest(world)
