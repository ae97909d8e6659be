"""Classic mistakes of a promotion, put back into the code one by one: the simulator must see each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from tests.sim.conftest import MakeWorld
from tests.sim.course import Course
from tests.sim.invariants import BrokenError, check_zone
from tests.sim.peers import SimPeer
from tests.sim.promotion import Former
from tests.sim.succession import check_one_history
from tests.sim.test_faults import no_epoch_check
from tests.sim.world import World
from tests.standby.following import CITY, PROVINCE

from jinbao.appliance import promoting
from jinbao.appliance.succession import Succession
from jinbao.flow.healing import Healing, Returned
from jinbao.flow.ports import Peer
from jinbao.model.batch import SealedBatch, SegmentRef
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.source.state import StateProjection

PRODUCTION, EXCHANGE = Endpoint(CITY, Zone.PRODUCTION), Endpoint(CITY, Zone.EXCHANGE)
ABOVE, MINISTRY = Endpoint(PROVINCE, Zone.EXCHANGE), Endpoint("100000", Zone.EXCHANGE)
STREAM = StreamId(PRODUCTION, "pension_macro")
SEED = 3
Patch = pytest.MonkeyPatch


# Mistakes.


def no_healing(patch: Patch) -> None:
    """A zone that was built asks nobody and seals."""
    patch.setattr(Healing, "take", lambda _self, peer: Returned(peer.endpoint, 0, 0, 0))


def healing_from_the_parent_alone(patch: Patch) -> None:
    """Only the node above is asked what it has."""
    whole = promoting._others
    patch.setattr(
        promoting,
        "_others",
        lambda exchange, grant: [
            e for e in whole(exchange, grant) if e == exchange.topology.parent(exchange.me)
        ],
    )


def no_void(patch: Patch) -> None:
    """A submission of which a part came back stays open."""
    patch.setattr(Healing, "_is_open", lambda _self, _mark: False)


def sealed_state_stays(patch: Patch) -> None:
    """What is compared with is what the copy says was sealed last, though more came back."""
    patch.setattr(StateProjection, "_healed", lambda _self, _tx, _recorded: None)


def not_superseded(patch: Patch) -> None:
    """An old holder that learned of the new one goes on."""
    patch.setattr(Succession, "is_superseded", False)


# Scenes.


class Insistent:
    """The old holder as a peer that shows what it has of one stream beyond a mark, whatever was sealed at that place."""

    def __init__(self, peer: SimPeer, former: Former) -> None:
        self.endpoint, self._peer, self._former = peer.endpoint, peer, former

    def headers(self, marks: Sequence[Mark], limit: int, wait_s: float) -> list[SealedBatch]:
        """Its own batches."""
        del wait_s
        seq = next(mark.seq for mark in marks if mark.stream == STREAM)
        return self._former.zones[EXCHANGE].index.batches(STREAM)[seq : seq + limit]

    def fetch(self, stream: StreamId, seq: int, ref: SegmentRef, offset: int) -> Iterator[bytes]:
        """Its own segments."""
        return self._peer.fetch(stream, seq, ref, offset)


class Part:
    """A neighbour of which only the first batch of one stream arrives."""

    def __init__(self, peer: SimPeer) -> None:
        self.endpoint, self.fetch, self._peer = peer.endpoint, peer.fetch, peer

    def headers(self, marks: Sequence[Mark], limit: int, wait_s: float) -> list[SealedBatch]:
        """That one."""
        found = self._peer.headers(marks, limit, wait_s)
        return [sealed for sealed in found if promoting.stream_of(sealed) == STREAM][:1]


def _way(world: World, caller: Endpoint, holder: Endpoint, former: Former | None = None) -> SimPeer:
    there = former.zones if former is not None else world.zones
    return SimPeer(
        caller,
        holder,
        holder=lambda: there[holder],
        caller=lambda: world.zones[caller],
        weather=world.weather,
    )


def _take(world: World, endpoint: Endpoint, peer: Peer) -> None:
    world.step("take", endpoint, lambda zone: zone.inbound.step(peer))


def a_city_of_which_the_parent_has_a_part(world: World, course: Course) -> None:
    """Of a city's last submission a part has come to the province, and nothing to the backup."""
    course.submit()
    world.follow(EXCHANGE, PRODUCTION)
    _take(world, ABOVE, Part(_way(world, ABOVE, EXCHANGE)))
    course.promote(course.lose(CITY))
    course.submit()
    check_one_history(world, CITY)


def a_city_whose_submission_is_applied_above(world: World, course: Course) -> None:
    """The province has applied what the backup has not, and what comes next takes that back."""
    for kind in ("leave", "return"):
        course.submit(kind)
        world.follow(EXCHANGE, PRODUCTION)
        world.follow(ABOVE, EXCHANGE)
        world.apply(ABOVE)
        check_zone(world, world.zones[ABOVE])
        if kind == "leave":
            course.promote(course.lose(CITY))


def a_province_whose_city_has_its_receipts(world: World, course: Course) -> None:
    """Receipts went down to the city before the province was lost."""
    course.submit()
    for endpoint, other in ((EXCHANGE, PRODUCTION), (ABOVE, EXCHANGE), (EXCHANGE, ABOVE)):
        world.follow(endpoint, other)
        world.apply(endpoint)
    course.promote(course.lose(PROVINCE))


def a_city_whose_old_holder_comes_back(world: World, course: Course) -> None:
    """It has sealed more than the new one, shows it to the province, and is told."""
    lost = course.lose(CITY)
    lost.former.cut_off = True
    course.promote(lost)
    course.submit()
    for endpoint, other in ((EXCHANGE, PRODUCTION), (ABOVE, EXCHANGE)):
        world.follow(endpoint, other)
    for _ in range(3):
        world.business[PRODUCTION].edit()
        lost.former.capture(PRODUCTION)
    lost.former.follow(EXCHANGE, PRODUCTION)
    world.weather.checks_rows = False
    _take(world, ABOVE, Insistent(_way(world, ABOVE, EXCHANGE, lost.former), lost.former))
    world.weather.checks_rows = True
    lost.former.cut_off = False
    lost.former.follow(EXCHANGE, ABOVE)
    lost.former.follow(PRODUCTION, EXCHANGE)
    world.business[PRODUCTION].edit()
    lost.former.capture(PRODUCTION)


Scene = Callable[[World, Course], None]

MISTAKES: list[tuple[Callable[[Patch], None], Scene, str]] = [
    (no_epoch_check, a_city_whose_old_holder_comes_back, "expected epoch 2 or later, got 1"),
    (no_healing, a_city_of_which_the_parent_has_a_part, "expected the [0-9]+ batches 140000/exchange has"),
    (
        healing_from_the_parent_alone,
        a_province_whose_city_has_its_receipts,
        "expected the [0-9]+ batches 140100/exchange has",
    ),
    (
        no_void,
        a_city_of_which_the_parent_has_a_part,
        "expected what the holder before left open to be withdrawn",
    ),
    (
        sealed_state_stays,
        a_city_whose_submission_is_applied_above,
        "expected the rows of #[0-9]+, got others",
    ),
    (not_superseded, a_city_whose_old_holder_comes_back, "expected nothing to be sealed by a holder"),
]
"""The mistake, the scene in which it matters, and what the broken invariant says."""


@pytest.mark.parametrize("scene", dict.fromkeys(scene for _, scene, _ in MISTAKES), ids=lambda s: s.__name__)
def test_without_a_mistake_nothing_is_broken(guarded: MakeWorld, scene: Scene) -> None:
    """Each scene in which a mistake matters is one that the product stands."""
    _play(guarded, scene)


@pytest.mark.parametrize(("mistake", "scene", "seen"), MISTAKES, ids=[m.__name__ for m, _, _ in MISTAKES])
def test_the_simulator_sees_a_classic_mistake_of_a_promotion(
    guarded: MakeWorld, monkeypatch: Patch, mistake: Callable[[Patch], None], scene: Scene, seen: str
) -> None:
    """With the mistake in the code an invariant of succession breaks."""
    mistake(monkeypatch)

    with pytest.raises(BrokenError, match=seen):
        _play(guarded, scene)


def _play(guarded: MakeWorld, scene: Scene) -> None:
    with guarded(SEED) as world:
        course = Course(world, is_calm=True)
        try:
            scene(world, course)
        finally:
            course.close()
