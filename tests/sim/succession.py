"""What must hold of an identity that had more than one holder: after each step, after each promotion, and at the end."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from tests.rebuild.test_replay import dump, rebuilt
from tests.sim.invariants import BrokenError, headers
from tests.sim.promotion import Former, Promotion, is_superseded, quiet
from tests.sim.world import World
from tests.standby.backing import rows_at
from tests.standby.following import BACKUP, copy_of

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.guarding import Exposure, exposure
from jinbao.appliance.restoring import Place, rebuild
from jinbao.journal.tables import HEADER
from jinbao.model.batch import Kind
from jinbao.model.receipt import Stage
from jinbao.model.stream import JOURNAL, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.store.engine import Store

Batch = tuple[str, str, int, str]
"""Stream, incarnation, seq and head of one batch."""


def require(holds: bool, world: World, what: str) -> None:
    """Raise BrokenError unless it holds."""
    if not holds:
        raise BrokenError(f"seed {world.seed}: {what}")


def batches(zone: OpenZone, stream: StreamId) -> list[Batch]:
    """Every batch a zone holds of a stream, in the order it recorded them."""
    query = sa.select(HEADER.c.incarnation, HEADER.c.seq, HEADER.c.head).where(HEADER.c.stream == str(stream))
    with zone.store.read() as connection:
        rows = connection.execute(query.order_by(HEADER.c.lsn)).all()
    return [(str(stream), *row) for row in rows]


class Watch:
    """Looks at what each zone recorded since it was looked at last.

    `epochs` are those of nodes whose promotion is done: from then on no batch of an earlier holder may come anywhere
    that the new one did not take back.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.epochs: dict[str, int] = {}
        self._seen: dict[Path, int] = {}
        self._newest: dict[tuple[Path, str], int] = {}
        self._over: set[Path] = set()

    def see(self, zone: OpenZone) -> None:
        """Check what is new in a zone, which may be one of a former holder."""
        place = zone.settings.directory(zone.me.zone)
        query = sa.select(
            HEADER.c.lsn,
            HEADER.c.stream,
            HEADER.c.incarnation,
            HEADER.c.seq,
            HEADER.c.epoch,
            HEADER.c.head,
            HEADER.c.peer,
        ).where(HEADER.c.lsn > self._seen.get(place, 0))
        with zone.store.read() as connection:
            rows = connection.execute(query.order_by(HEADER.c.lsn)).all()
        for row in rows:
            self._check(zone, place, row)
            self._seen[place] = row.lsn
        if is_superseded(zone):
            self._over.add(place)

    def _check(self, zone: OpenZone, place: Path, row: sa.Row[tuple[object, ...]]) -> None:
        world, what = self.world, f"{zone.me}: {row.stream}#{row.seq}"
        newest = self._newest.get((place, row.stream), 0)
        require(row.epoch >= newest, world, f"{what}: expected epoch {newest} or later, got {row.epoch}")
        self._newest[place, row.stream] = row.epoch
        if not row.peer:
            is_over = place in self._over
            require(
                not is_over, world, f"{what}: expected nothing to be sealed by a holder that is superseded"
            )
            return
        origin = StreamId.parse(row.stream).origin
        is_ended = row.epoch < self.epochs.get(origin.node, 0) and origin in world.zones
        if not is_ended or world.zones.get(zone.me) is not zone:
            return
        ours = world.zones[origin].index.place(StreamId.parse(row.stream), row.incarnation, row.seq)
        is_ours = ours is not None and ours.head == row.head
        require(
            is_ours,
            world,
            f"{what}: expected a batch that its holder took back, got one of the old holder's own",
        )


@dataclass
class Lost:
    """A node at the moment it was declared lost: how far each zone's journal went, and what it said would be lost."""

    world: World
    promotion: Promotion
    former: Former
    ends: dict[Endpoint, int] = field(default_factory=dict)
    said: dict[Endpoint, Exposure | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Ask each zone."""
        for endpoint, zone in self.former.zones.items():
            self.ends[endpoint] = zone.index.newest_act()[0]
            self.said[endpoint] = exposure(zone)

    def check_taken_back(self) -> None:
        """What anybody ever had, or acknowledged, the new holder has; what is lost was beyond the copy, and said to be."""
        for endpoint, old in self.former.zones.items():
            mine = self._own(endpoint)
            self._check_neighbours(endpoint, mine)
            self._check_acknowledged(old, mine)
            self._check_loss(old, mine)

    def _own(self, endpoint: Endpoint) -> dict[StreamId, list[Batch]]:
        zone = self.world.zones[endpoint]
        own = [mark.stream for mark in zone.index.streams() if mark.stream.origin == endpoint]
        return {stream: batches(zone, stream) for stream in own}

    def _check_neighbours(self, endpoint: Endpoint, mine: dict[StreamId, list[Batch]]) -> None:
        for zone in self.world.zones.values():
            for stream in (m.stream for m in zone.index.streams() if m.stream.origin == endpoint):
                there, here = batches(zone, stream), mine.get(stream, [])
                what = (
                    f"{endpoint}: {stream}: expected the {len(there)} batches {zone.me} has, got {len(here)}"
                )
                require(here[: len(there)] == there, self.world, what)

    def _check_acknowledged(self, old: OpenZone, mine: dict[StreamId, list[Batch]]) -> None:
        """Receipts of other nodes, where they were issued and where they had come to."""
        have = {(name, seq, head) for several in mine.values() for name, _, seq, head in several}
        for zone in (old, *self.world.zones.values()):
            for stream in mine:
                for receipt in zone.index.receipts(stream):
                    is_word = receipt.stage in {Stage.ACCEPTED, Stage.APPLIED}
                    if is_word and receipt.receiver.node != old.me.node:
                        batch = str(stream), receipt.seq, receipt.head
                        what = (
                            f"{stream}#{receipt.seq}: expected what {receipt.receiver} acknowledged, got none"
                        )
                        require(batch in have, self.world, what)

    def _check_loss(self, old: OpenZone, mine: dict[StreamId, list[Batch]]) -> None:
        """What the old holder had sealed and nobody has is beyond its copy, and was counted in its rpo."""
        have = {batch for several in mine.values() for batch in several}
        cut = self.promotion.grant.cut(old.me.zone)
        assert cut is not None
        query = sa.select(
            HEADER.c.lsn, HEADER.c.stream, HEADER.c.incarnation, HEADER.c.seq, HEADER.c.head, HEADER.c.rows
        ).where(HEADER.c.peer == "", HEADER.c.lsn <= self.ends[old.me])
        with old.store.read() as connection:
            rows = connection.execute(query).all()
        lost = [r for r in rows if (r.stream, r.incarnation, r.seq, r.head) not in have]
        within = [f"{row.stream}#{row.seq}" for row in lost if row.lsn <= cut.lsn]
        require(
            not within, self.world, f"{old.me}: expected what the copy has up to act {cut.lsn}, lost {within}"
        )
        said, counted = self.said[old.me], [r for r in lost if StreamId.parse(r.stream).topic != JOURNAL]
        count = sum(row.rows for row in counted)
        if said is not None:
            what = f"{old.me}: expected at most the {said.rows} rows of the rpo to be lost, got {count}"
            require(count <= said.rows, self.world, what)
        if lost:
            self.world.note(f"lost {old.me}: {len(lost)} batches, {count} rows")


def check_known(world: World, epochs: dict[str, int]) -> None:
    """Every zone that speaks over the line knows who holds what."""
    for node, epoch in epochs.items():
        known = {e: zone.topology.by_node[node].epoch for e, zone in world.zones.items()}
        late = {str(e): found for e, found in known.items() if found != epoch and e.zone is not Zone.DECISION}
        require(not late, world, f"{node}: expected everybody to know epoch {epoch}, got {late}")


def check_one_history(world: World, node: str) -> None:
    """Batch by batch, everybody's history of a node's streams is its own; no holder goes on within another's submission."""
    for endpoint in (e for e in world.zones if e.node == node):
        holder = world.zones[endpoint]
        for stream in (m.stream for m in holder.index.streams() if m.stream.origin == endpoint):
            mine = batches(holder, stream)
            for zone in world.zones.values():
                there = batches(zone, stream)
                what = f"{zone.me}: {stream}: expected the history of its holder, got another"
                require(mine[: len(there)] == there, world, what)
            if stream.topic in holder.standards:
                _check_closed(world, holder, stream)


def _check_closed(world: World, holder: OpenZone, stream: StreamId) -> None:
    before = None
    for header in headers(holder, stream):
        is_new = before is not None and before.epoch != header.epoch
        is_open = before is not None and before.kind not in {Kind.MANIFEST, Kind.VOID}
        what = f"{stream}#{header.seq}: expected what the holder before left open to be withdrawn, got {header.kind}"
        require(not (is_new and is_open) or header.kind is Kind.VOID, world, what)
        before = header


def check_replayed(world: World, node: str) -> None:
    """Journals of promoted zones give the same tables again, and so do their copies at the backup site."""
    for endpoint in (e for e in world.zones if e.node == node):
        zone, home = world.zones[endpoint], world.directory / "again" / endpoint.node / endpoint.zone
        home.mkdir(parents=True)
        with rebuilt(zone, f"sqlite:///{home / 'zone.db'}", home) as store:
            _check_same(world, zone, "replayed", dump(store), dump(zone.store))
        copy, place = copy_of(world.zones[BACKUP], endpoint), Place(home / "copy")
        rebuild(copy, world.settings[BACKUP.node], place, quiet)
        url = place.url.render_as_string(hide_password=False)
        with closing(Store(url, home / "look")) as store:
            _check_same(world, zone, "built from its copy", dump(store), rows_at(zone, copy.acts, home))


def _check_same(world: World, zone: OpenZone, how: str, found: dict, wanted: dict) -> None:  # type: ignore[type-arg]
    wrong = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    require(not wrong, world, f"{zone.me}: expected the same rows when {how}, got others in {wrong}")
