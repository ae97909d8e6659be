"""A lost city goes on at the backup site: nothing its neighbours ever had is lost, and its old holder is nobody."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import tests.sim.promotion as simulated
from tests.sim.invariants import check_epochs, check_rest, headers
from tests.sim.peers import SimPeer, back
from tests.sim.promotion import Promotion
from tests.sim.world import Crash, World
from tests.standby.following import BACKUP, CITY, PROVINCE, bring, copy_of

from jinbao.appliance.assembly import OpenZone, open_zone, stream_of
from jinbao.appliance.carrying import on_medium
from jinbao.appliance.promoting import _by_line, build
from jinbao.appliance.restoring import DONE
from jinbao.flow import following
from jinbao.link.client import LineClient
from jinbao.model import failpoint
from jinbao.model.batch import Kind, SealedBatch, SegmentRef
from jinbao.model.errors import (
    IdentityError,
    LinkError,
    LocalError,
    StaleEpochError,
    SupersededError,
    UnhealedError,
    UnprovableError,
)
from jinbao.model.stream import JOURNAL, Mark, StreamId
from jinbao.model.zone import Endpoint, Zone

MakeWorld = Callable[..., AbstractContextManager[World]]

PRODUCTION, EXCHANGE = Endpoint(CITY, Zone.PRODUCTION), Endpoint(CITY, Zone.EXCHANGE)
ABOVE, MINISTRY = Endpoint(PROVINCE, Zone.EXCHANGE), Endpoint("100000", Zone.EXCHANGE)


def submit(world: World) -> None:
    """The city's clerks change rows, and what passes is sealed."""
    world.business[PRODUCTION].edit()
    world.capture(PRODUCTION)


def travel(world: World) -> None:
    """Everything goes up and down, but for what is for the backup site."""
    for _ in range(6):
        world.follow(EXCHANGE, PRODUCTION)
        world.apply(EXCHANGE)
        world.follow(ABOVE, EXCHANGE)
        world.apply(ABOVE)
        world.follow(EXCHANGE, ABOVE)
        world.follow(PRODUCTION, EXCHANGE)


def goes_on(world: World, *promotions: Promotion) -> None:
    """Business goes on after promotions, everything arrives, and all libraries are equal."""
    submit(world)
    world.settle()
    check_rest(world)
    for promotion in promotions:
        promotion.end()


def way(world: World, caller: OpenZone, holder: OpenZone) -> SimPeer:
    """How one zone reaches another, whoever of them is part of the network now."""
    return SimPeer(caller.me, holder.me, holder=lambda: holder, caller=lambda: caller, weather=world.weather)


def kept(world: World, endpoint: Endpoint, node: str) -> dict[StreamId, list[str]]:
    """What a zone holds of a node's streams: the payload hashes before each batch, in order."""
    zone = world.zones[endpoint]
    streams = [mark.stream for mark in zone.index.streams() if mark.stream.origin.node == node]
    return {stream: [header.previous for header in headers(zone, stream)] for stream in streams}


@pytest.mark.fault_row(53)
def test_what_only_the_parent_has_comes_back(guarded: MakeWorld) -> None:
    """Batches beyond the copy come back from the parent, and afterwards the network is at rest with equal libraries."""
    with guarded(3) as world:
        submit(world)
        travel(world)
        promotion = Promotion(world, CITY)
        promotion.declare()

        found = {zone.zone: zone for zone in promotion.promote()}
        assert found[str(PRODUCTION)].batches > 0
        goes_on(world, promotion)


@pytest.mark.fault_row(52)
def test_the_old_holder_is_refused_with_proof_and_steps_down(guarded: MakeWorld) -> None:
    """A city that was only cut off is refused by everybody, learns why, tells its own zones, and seals no more."""
    with guarded(4) as world:
        promotion = Promotion(world, CITY)
        promotion.declare()
        promotion.promote()
        old_production, old_exchange = promotion.old[PRODUCTION], promotion.old[EXCHANGE]
        world.business[PRODUCTION].edit()
        assert old_production.outbound is not None
        assert old_production.outbound.step("202410") >= 0  # nobody told it yet
        before = {mark.stream: mark for mark in old_production.index.streams()}

        with pytest.raises(IdentityError, match="expected epoch 2, got epoch 1"):
            old_exchange.inbound.step(way(world, old_exchange, world.zones[ABOVE]))
        with pytest.raises(IdentityError, match="expected epoch 2, got epoch 1"):
            old_production.inbound.step(way(world, old_production, old_exchange))

        assert old_exchange.superseded
        assert old_production.superseded
        world.business[PRODUCTION].edit()
        with pytest.raises(SupersededError, match="jinbao standby rejoin"):
            old_production.outbound.step("202410")
        assert {mark.stream: mark for mark in old_production.index.streams()} == before
        with pytest.raises(StaleEpochError):
            world.zones[ABOVE].inbound.step(way(world, world.zones[ABOVE], old_exchange))
        goes_on(world, promotion)


@pytest.mark.fault_row(52)
def test_no_medium_lets_an_old_holder_in(guarded: MakeWorld, tmp_path: Path) -> None:
    """What an old holder lays onto a medium for its parent is refused; what the new one lays is taken."""
    with guarded(11) as world:
        promotion = Promotion(world, CITY)
        promotion.declare()
        promotion.promote()
        old_production, old_exchange = promotion.old[PRODUCTION], promotion.old[EXCHANGE]
        world.business[PRODUCTION].edit()
        assert old_production.outbound is not None
        assert old_production.outbound.step("202410") > 0
        old_exchange.inbound.step(way(world, old_exchange, old_production))
        on_medium(old_exchange, ABOVE, tmp_path / "old").lay()
        submit(world)
        world.follow(EXCHANGE, PRODUCTION)
        on_medium(world.zones[EXCHANGE], ABOVE, tmp_path / "new").lay()

        with pytest.raises(StaleEpochError):
            on_medium(world.zones[ABOVE], EXCHANGE, tmp_path / "old").take()
        assert on_medium(world.zones[ABOVE], EXCHANGE, tmp_path / "new").take() > 0

        world.settle()
        check_rest(world)
        promotion.end()


@pytest.mark.fault_row(53)
def test_a_province_and_its_city_come_back_from_the_ministry(guarded: MakeWorld) -> None:
    """Lost both, with batches of the city that the ministry alone has: the province takes them back, the city from it."""
    with guarded(14) as world:
        submit(world)
        travel(world)
        while world.follow(MINISTRY, ABOVE):
            world.apply(MINISTRY)
        province = Promotion(world, PROVINCE)
        province.declare()
        [above] = [zone for zone in province.promote() if zone.zone == str(ABOVE)]
        city = Promotion(world, CITY)
        city.declare()
        [production] = [zone for zone in city.promote() if zone.zone == str(PRODUCTION)]

        assert sum(one.passed for one in above.returned if one.peer == MINISTRY) > 0
        assert production.batches > 0
        goes_on(world, city, province)


def test_a_new_holder_brings_its_grant(guarded: MakeWorld) -> None:
    """Whoever is asked over the line for what was sent there is shown the grant first: it may not know of it."""
    with guarded(12) as world:
        promotion = Promotion(world, PROVINCE)
        promotion.declare()
        promotion.promote()

        client = _by_line(world.zones[ABOVE], EXCHANGE)

        assert isinstance(client, LineClient)
        assert promotion.sealed in client._standing.staple()
        client.close()
        promotion.end()


@pytest.mark.fault_row(52)
@pytest.mark.parametrize(
    ("is_seen", "ends"),
    [(True, "expected epoch 2, got epoch 1"), (False, "epoch 2, granted meanwhile")],
    ids=["seen-by-the-line", "seen-at-the-end"],
)
def test_a_batch_on_its_way_is_not_accepted_after_the_grant(
    guarded: MakeWorld, is_seen: bool, ends: str
) -> None:
    """A round that began with the old holder accepts and holds nothing once the grant is known."""
    with guarded(15) as world:
        submit(world)
        world.follow(EXCHANGE, PRODUCTION)
        promotion = Promotion(world, CITY)
        province, old = world.zones[ABOVE], world.zones[EXCHANGE]
        before = kept(world, ABOVE, CITY)

        world.weather.checks_rows = is_seen
        with pytest.raises((LinkError, StaleEpochError), match=ends):
            province.inbound.step(Granting(way(world, province, old), promotion))

        world.weather.checks_rows = True
        assert kept(world, ABOVE, CITY) == before
        assert not province.index.held()
        promotion.promote()
        goes_on(world, promotion)


class Granting:
    """A peer whose identity is granted away while the first segment is fetched from it."""

    def __init__(self, peer: SimPeer, promotion: Promotion) -> None:
        self.endpoint, self.headers = peer.endpoint, peer.headers
        self._peer, self._promotion, self._is_granted = peer, promotion, False

    def fetch(self, stream: StreamId, seq: int, ref: SegmentRef, offset: int) -> Iterator[bytes]:
        """The peer's bytes, after the grant."""
        if not self._is_granted:
            self._is_granted = True
            self._promotion.declare()
        yield from self._peer.fetch(stream, seq, ref, offset)


def test_what_nobody_closed_is_closed(guarded: MakeWorld) -> None:
    """Of a submission of which the parent has a part, that part comes back and is withdrawn, and the next one is whole."""
    with guarded(5) as world:
        submit(world)
        world.follow(EXCHANGE, PRODUCTION)
        stream = StreamId(PRODUCTION, "pension_macro")
        last = world.zones[ABOVE].index.mark(stream)
        peer = way(world, world.zones[ABOVE], world.zones[EXCHANGE])
        first = [
            sealed
            for sealed in peer.headers(world.zones[ABOVE].index.marks(), 500, 0.0)
            if world.zones[ABOVE].inbound._stream_of(sealed) == stream
        ][:1]
        peer.headers = lambda _marks, _limit, _wait_s: first  # type: ignore[method-assign]
        assert world.zones[ABOVE].inbound.step(peer) == 1
        promotion = Promotion(world, CITY)
        promotion.declare()
        promotion.promote()

        mine = headers(world.zones[PRODUCTION], stream)[last.seq :]
        assert [header.kind for header in mine] == [Kind.CHANGE, Kind.VOID]
        assert [header.epoch for header in mine] == [1, 2]
        submit(world)
        assert headers(world.zones[PRODUCTION], stream)[-2].kind is Kind.SNAPSHOT
        world.settle()
        check_rest(world)
        promotion.end()


def test_a_promoted_province_takes_back_what_its_city_has(guarded: MakeWorld) -> None:
    """What a province had sent down and up comes back; its city learns of the grant from the new holder itself."""
    with guarded(6) as world:
        submit(world)
        travel(world)
        world.follow(MINISTRY, ABOVE)
        promotion = Promotion(world, PROVINCE)
        promotion.declare()
        before = kept(world, EXCHANGE, PROVINCE)

        [exchange] = [zone for zone in promotion.promote() if zone.zone == str(ABOVE)]

        assert {str(one.peer): one.batches > 0 for one in exchange.returned}[str(EXCHANGE)]
        now = kept(world, ABOVE, PROVINCE)
        assert {stream: now[stream][: len(heads)] for stream, heads in before.items()} == before
        goes_on(world, promotion)


def test_what_is_given_up_is_in_the_grant_alone(guarded: MakeWorld) -> None:
    """A neighbour that does not answer stops a promotion, unless those who declared it gave up what only it has."""
    with guarded(7) as world:
        submit(world)
        travel(world)
        world.weather.parted = {(EXCHANGE, ABOVE)}
        promotion = Promotion(world, CITY)
        promotion.declare()
        with pytest.raises(LinkError, match="declare again --without it"):
            promotion.promote()
        again = Promotion(world, CITY, without=(ABOVE,))
        world.zones[ABOVE].trust._grants.clear()  # as if the first had not been granted
        world.zones[ABOVE].trust._fold()
        again.declare()
        with pytest.raises(UnhealedError):
            open_zone(again.settings, Zone.PRODUCTION, world.ports(PRODUCTION))

        again.promote()

        [act] = world.zones[EXCHANGE].ledger.acts(kind="healed")
        assert act.act.body["without"] == [str(ABOVE)]
        again.end()


def test_a_node_that_is_promoted_again_knows_its_newest_grant(guarded: MakeWorld) -> None:
    """Built for epoch 3, a city's zones go by that grant at once, not by the one of epoch 2 that their copies speak of."""
    with guarded(11) as world:
        first = Promotion(world, CITY)
        first.declare()
        first.promote()
        submit(world)
        world.settle()
        again = Promotion(world, CITY)
        again.declare()

        again.promote()

        for endpoint in again.zones:
            assert world.zones[endpoint].topology.by_node[CITY].epoch == 3
        goes_on(world, first, again)


def test_a_copy_that_moved_is_declared_again(guarded: MakeWorld) -> None:
    """A copy that is longer or another than the declaration says is not built from."""
    with guarded(8) as world:
        promotion = Promotion(world, CITY)
        promotion.declare()
        submit(world)
        assert world.zones[PRODUCTION].following.step()
        peer = way(world, world.zones[BACKUP], world.zones[PRODUCTION])
        world.weather.checks_rows = False
        world.zones[BACKUP].inbound.step(peer)
        world.apply(BACKUP)
        with pytest.raises(LocalError, match="jinbao standby declare, again"):
            promotion.promote()


def test_what_was_built_of_another_copy_is_not_taken_over(guarded: MakeWorld) -> None:
    """A place in which a zone was built of a copy with another end than was declared is left as it is."""
    with guarded(8) as world:
        promotion = Promotion(world, CITY)
        promotion.declare()
        build(promotion.copies(), world.settings[BACKUP.node], promotion.settings, simulated.quiet)
        done = promotion.settings.directory(Zone.PRODUCTION) / DONE
        said = json.loads(done.read_text(encoding="utf-8"))
        done.write_text(json.dumps(said | {"hash": "f" * 64}), encoding="utf-8")

        with pytest.raises(LocalError, match="with hash ffffffffffff, from another copy"):
            promotion.promote()


def test_a_node_is_promoted_again(guarded: MakeWorld) -> None:
    """A city that went on at its backup site is declared and granted once more, and goes on at the third epoch."""
    with guarded(10) as world:
        for epoch in (2, 3):
            submit(world)
            travel(world)
            promotion = Promotion(world, CITY)
            promotion.declare()
            promotion.promote()
            known = [world.zones[endpoint].trust.grant_of(CITY) for endpoint in promotion.zones]
            assert [grant.epoch if grant else 0 for grant in known] == [epoch] * 3
            world.settle()
            assert {zone.index.epoch() for e, zone in world.zones.items() if e in promotion.zones} == {epoch}
            promotion.end()

        submit(world)
        world.settle()
        check_rest(world)


class Garbling:
    """A neighbour of which the batches of one origin come with an altered seal, or their segments cut short."""

    def __init__(self, peer: SimPeer, origin: Endpoint, part: str) -> None:
        self.endpoint, self._peer, self._origin, self._part = peer.endpoint, peer, origin, part

    def headers(self, marks: Sequence[Mark], limit: int, wait_s: float) -> list[SealedBatch]:
        """The neighbour's batches, some of which cannot be proved."""
        return [self._altered(sealed) for sealed in self._peer.headers(marks, limit, wait_s)]

    def _altered(self, sealed: SealedBatch) -> SealedBatch:
        if self._part != "seal" or stream_of(sealed).origin != self._origin:
            return sealed
        return replace(sealed, signature=sealed.signature[:-1] + bytes([sealed.signature[-1] ^ 1]))

    def fetch(self, stream: StreamId, seq: int, ref: SegmentRef, offset: int) -> Iterator[bytes]:
        """The neighbour's bytes, or others of the same number."""
        for block in self._peer.fetch(stream, seq, ref, offset):
            yield bytes(len(block)) if self._part == "segment" and stream.origin == self._origin else block


@pytest.mark.parametrize(
    ("origin", "asked", "part"),
    [
        pytest.param(PRODUCTION, ABOVE, "seal", id="a seal of production"),
        pytest.param(ABOVE, EXCHANGE, "segment", id="a segment of exchange"),
        pytest.param(PRODUCTION, ABOVE, "segment", id="a segment of production", marks=pytest.mark.night),
        pytest.param(ABOVE, EXCHANGE, "seal", id="a seal of exchange", marks=pytest.mark.night),
    ],
)
def test_what_comes_back_damaged_is_not_passed_by(
    guarded: MakeWorld, monkeypatch: pytest.MonkeyPatch, origin: Endpoint, asked: Endpoint, part: str
) -> None:
    """While a neighbour has a batch of the node that cannot be taken, nothing is sealed over it; whole, it comes."""
    with guarded(10) as world:
        submit(world)
        travel(world)
        promotion = Promotion(world, origin.node)
        promotion.declare()
        promotion.tell(asked)
        before = kept(world, asked, origin.node)

        with monkeypatch.context() as patch:
            patch.setattr(
                "tests.sim.promotion.back",
                lambda world, zone, other: Garbling(back(world, zone, other), origin, part),
            )
            with pytest.raises((UnprovableError, LocalError)):
                promotion.promote()
        promotion.promote()

        now = {stream: kept(world, stream.origin, origin.node)[stream] for stream in before}
        assert {stream: now[stream][: len(heads)] for stream, heads in before.items()} == before
        goes_on(world, promotion)


KILLS = [
    *("rebuild.after_segment", "ledger.before_record", "promote.after_build"),
    *("ledger.after_record", "promote.after_grant", "promote.after_journal"),
    *("inbound.after_fetch", "inbound.after_accept"),
    *("heal.after_fetch", "heal.after_take", "heal.before_end"),
]
"""Where a promotion is killed, in an order in which each is passed still."""


def test_a_promotion_that_was_killed_is_made_again(guarded: MakeWorld) -> None:
    """Killed at one step after the other, a promotion comes to the same end when it is made again."""
    with guarded(9) as world:
        submit(world)
        travel(world)
        promotion = Promotion(world, CITY)
        promotion.declare()
        for name in KILLS:
            assert _is_killed(promotion, name), name
        failpoint.set_hook(world._hook)
        promotion.promote()

        submit(world)
        world.settle()
        check_rest(world)
        for endpoint in (ABOVE, MINISTRY):
            check_epochs(world, world.zones[endpoint])
        promotion.end()


def _is_killed(promotion: Promotion, name: str) -> bool:
    def strike(passed: str) -> None:
        if passed == name:
            raise Crash(name)

    failpoint.set_hook(strike)
    try:
        promotion.promote()
    except Crash:
        return True
    return False


def test_a_copy_that_ends_within_a_submission_is_made_whole(
    guarded: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that ends between a submission's seals and what they were sealed from is not compared with: all is sent."""
    monkeypatch.setattr(following, "ACTS_MAX", 1)
    monkeypatch.setattr(following, "RECORD_ACTS_MAX", 1)
    with guarded(11) as world:
        business = world.directory / CITY / "business.db"
        before = business.read_bytes()
        submit(world)
        travel(world)
        end = within_a_submission(world, copied(world, PRODUCTION))
        journal, production = StreamId(PRODUCTION, JOURNAL, BACKUP.node), world.zones[PRODUCTION]
        while production.following.cut(journal, production.index.head(journal).seq).lsn < end:
            assert production.following.step()
        monkeypatch.undo()
        bring(world, PRODUCTION)
        assert copied(world, PRODUCTION) == end
        promotion = Promotion(world, CITY)
        promotion.declare()
        promotion.promote()

        business.write_bytes(before)
        world.capture(PRODUCTION)
        world.settle()

        check_rest(world)
        promotion.end()


def copied(world: World, endpoint: Endpoint) -> int:
    """Up to which act the backup has a zone."""
    return copy_of(world.zones[BACKUP], endpoint).acts


def within_a_submission(world: World, after: int) -> int:
    """The act that sealed the last batch of a submission, before the one that says what it was sealed from."""
    acts = world.zones[PRODUCTION].ledger.acts(after=after)
    kinds = {act.lsn: act.act.kind for act in acts}
    return next(lsn for lsn, kind in kinds.items() if (kind, kinds.get(lsn + 1)) == ("sealed", "converted"))


def test_what_cannot_be_taken_back_stops_a_promotion(guarded: MakeWorld) -> None:
    """A segment the parent lost keeps the zones from going on as if they had everything; mended, they go on."""
    with guarded(12) as world:
        submit(world)
        travel(world)
        production = world.zones[PRODUCTION]
        [ref, *_] = [
            ref
            for mark in production.index.streams()
            if mark.stream.topic in production.standards
            for header in headers(production, mark.stream)[-2:]
            for ref in header.segments
        ]
        path = world.zones[ABOVE].shelf.path(ref.sha256)
        content = path.read_bytes()
        path.unlink()
        promotion = Promotion(world, CITY)
        promotion.declare()

        with pytest.raises(LocalError, match="expected to be taken back"):
            promotion.promote()
        with pytest.raises(UnhealedError):
            open_zone(promotion.settings, Zone.PRODUCTION, world.ports(PRODUCTION))

        path.write_bytes(content)
        promotion.promote()
        goes_on(world, promotion)


def test_a_neighbour_that_cannot_give_back_stops_a_promotion(
    guarded: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parent of a release that knows no giving back shows what is for the node: that is not taken for nothing."""
    monkeypatch.setattr(simulated, "back", lambda world, zone, other: way(world, zone, world.zones[other]))
    with guarded(13) as world:
        submit(world)
        travel(world)
        promotion = Promotion(world, CITY)
        promotion.declare()
        with pytest.raises(LinkError, match="as from release 0"):
            promotion.promote()


def test_a_city_is_promoted_below_a_promoted_province(guarded: MakeWorld) -> None:
    """A city's zones that were built from before its province was promoted believe the grant of the new province."""
    with guarded(14) as world:
        province = Promotion(world, PROVINCE)
        province.declare()
        province.promote()
        city = Promotion(world, CITY)
        city.declare()

        city.promote()

        submit(world)
        world.settle()
        epochs = [world.zones[endpoint].topology.by_node[PROVINCE].epoch for endpoint in city.zones]
        assert epochs == [2] * len(city.zones)
        check_rest(world)
        for promotion in (province, city):
            promotion.end()


def test_a_grant_is_used_once(guarded: MakeWorld) -> None:
    """Once a holder of an epoch has sealed, nobody is built for the same epoch beside it."""
    with guarded(15) as world:
        promotion = Promotion(world, CITY)
        promotion.declare()
        promotion.promote()
        submit(world)
        travel(world)
        home = promotion.settings.data_directory
        home.rename(home.with_name("first"))

        with pytest.raises(LocalError, match="sealed at epoch 2: another was built by this grant"):
            promotion.promote()
        promotion.end()
