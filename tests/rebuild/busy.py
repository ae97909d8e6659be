"""A network to which everything happened that a journal can hold: changes, refusals, holds, pauses, a re-base."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

from tests.sim.peers import SimPeer
from tests.sim.world import PERIOD, World

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.auditing import keep_trail
from jinbao.appliance.questions import Asked, dispatch
from jinbao.model import acts
from jinbao.model.batch import Header, Kind, SealedBatch, SegmentRef
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.store.projection import Recorded

CITY, PROVINCE = "140100", "140000"
PRODUCTION = Endpoint(CITY, Zone.PRODUCTION)
BACKUP = Endpoint("140000-backup", Zone.EXCHANGE)
EXCHANGE, ABOVE = Endpoint(CITY, Zone.EXCHANGE), Endpoint(PROVINCE, Zone.EXCHANGE)
STREAM = StreamId(PRODUCTION, "pension_macro")


class Altering:
    """A neighbour whose headers arrive with one altered byte in each seal."""

    def __init__(self, peer: SimPeer) -> None:
        self.endpoint, self._peer = peer.endpoint, peer

    def headers(self, marks: Sequence[Mark], limit: int, wait_s: float) -> list[SealedBatch]:
        """The neighbour's batches, none of which can be proved."""
        found = self._peer.headers(marks, limit, wait_s)
        return [replace(s, signature=s.signature[:-1] + bytes([s.signature[-1] ^ 1])) for s in found]

    def fetch(self, stream: StreamId, seq: int, ref: SegmentRef, offset: int) -> Iterator[bytes]:
        """The neighbour's bytes as they are."""
        return self._peer.fetch(stream, seq, ref, offset)


def all_acts(zone: OpenZone) -> Iterator[Recorded]:
    """Every act of a zone's journal, in order."""
    after = 0
    while page := zone.ledger.acts(after=after, limit=50):
        yield from page
        after = page[-1].lsn


def live(world: World) -> None:
    """Let everything happen to a settled network, and leave something open of each kind."""
    _change(world)
    _altered_line(world)
    _not_acceptable(world)
    world.settle()
    _operator(world)
    _sweep(world)
    _trail(world)
    _drills(world)
    _left_open(world)


def _change(world: World) -> None:
    """Business goes on, and the source takes out what the gate stopped, so that rows leave quarantine."""
    home = world.zones[PRODUCTION]
    for _ in range(4):
        world.business[PRODUCTION].edit()
    with closing(sqlite3.connect(world.directory / CITY / "business.db")) as connection:
        connection.execute("DELETE FROM AC01 WHERE rowid % 7 = 0")
        connection.commit()
    home.ledger.record(acts.capture_asked(home.state.last_run() + 1))
    world.capture_all()


def _altered_line(world: World) -> None:
    """A header that cannot be proved holds its stream; the next proof lets it go on."""
    honest = SimPeer(
        EXCHANGE,
        PRODUCTION,
        holder=lambda: world.zones[PRODUCTION],
        caller=lambda: world.zones[EXCHANGE],
        weather=world.weather,
    )
    world.zones[EXCHANGE].inbound.step(Altering(honest))
    assert world.zones[EXCHANGE].index.held()


def _not_acceptable(world: World) -> None:
    """A submission by a standard nobody knows is provable and refused; one that is withdrawn is passed over."""
    home = world.zones[PRODUCTION]
    for kind, standard in ((Kind.MANIFEST, "pension_macro@0.0"), (Kind.VOID, "pension_macro@1.0")):
        last = home.index.head(STREAM)
        header = Header(
            stream=STREAM,
            seq=last.seq + 1,
            incarnation=last.incarnation,
            epoch=last.epoch,
            previous=last.head,
            kind=kind,
            made_at=home.ports.now_text(),
            period=PERIOD,
            standard=standard,
        )
        home.ledger.record(acts.sealed(home.seal(header)))


def _operator(world: World) -> None:
    """An operator pauses and resumes, holds and releases, and re-bases a stream onto a new incarnation."""
    zone = world.zones[ABOVE]
    asked = Asked(zone)
    dispatch(asked, "line.pause", {"peer": CITY, "reason": "a moved cable"})
    dispatch(asked, "line.resume", {"peer": CITY})
    mark = zone.index.mark(STREAM)
    zone.ledger.record(acts.held(STREAM, mark.seq + 1, "unprovable", "another seal", []))
    zone.ledger.record(acts.released(STREAM, "looked at"))
    zone.ledger.record(acts.held(STREAM, mark.seq + 1, "unprovable", "another incarnation", []))
    zone.ledger.record(acts.rebased(STREAM, "f" * 32, mark.epoch, mark.seq, mark.head, "a restored city"))


def _sweep(world: World) -> None:
    """What nobody needs is removed from every shelf."""
    for zone in world.zones.values():
        dispatch(Asked(zone), "journal.retention", {"apply": True})


def _drills(world: World) -> None:
    """The backup site had a drill that went well, and one that did not."""
    zone = {"zone": str(EXCHANGE), "restored_to": "2024-11-05T00:00:00.000Z", "wrong": []}
    for wrong in ([], ["act 7: altered"]):
        report = {"node": CITY, "seconds": 1.5, "zones": [zone | {"wrong": wrong}]}
        dispatch(Asked(world.zones[BACKUP]), "standby.drilled", {"report": report})


def _trail(world: World) -> None:
    """Peers are refused, the trail is sealed, and what is older than it must be kept is cut away."""
    for zone in world.zones.values():
        zone.observer.event("peer_refused", code="identity", caller="", reason="another")
        keep_trail(zone)
        world.now += timedelta(seconds=1)
        assert zone.heads.cut(zone.ports.now_text())
        dispatch(Asked(zone), "audit.list", {})


def _left_open(world: World) -> None:
    """The city's exchange zone owes a receipt, pauses a neighbour and holds a stream."""
    zone = world.zones[EXCHANGE]
    world.business[PRODUCTION].edit()
    world.capture_all()
    world.follow(EXCHANGE, PRODUCTION)
    dispatch(Asked(zone), "line.pause", {"peer": PROVINCE, "reason": "a thunderstorm"})
    world.now += timedelta(days=3)
    assert world.zones[PRODUCTION].deadlines.step()
    place = zone.index.mark(STREAM).seq + 1
    zone.ledger.record(acts.held(STREAM, place, "unprovable", "a gap", [zone.index.batch(STREAM, 1)]))
