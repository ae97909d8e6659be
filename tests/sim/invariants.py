"""What must hold of a network: in every zone after every restart, and of the whole once it is at rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.sim.world import World

from jinbao.journal.projection import APPLIED
from jinbao.journal.verify import verify_journal, verify_segments
from jinbao.model.batch import Header, Kind
from jinbao.model.receipt import Stage
from jinbao.model.stream import CUTS, DOWNWARD, JOURNAL, LINE, TRUST, TRUST_UP, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.encoding import decode_header

if TYPE_CHECKING:
    from jinbao.appliance.assembly import OpenZone


class BrokenError(AssertionError):
    """An invariant does not hold; says which, where and under which seed."""


def _require(holds: bool, world: World, what: str) -> None:
    if not holds:
        raise BrokenError(f"seed {world.seed}: {what}")


def check_zone(world: World, zone: OpenZone) -> None:
    """After any restart: every row has its segment, every library is whole, no mark went back."""
    damage = list(verify_segments(zone.store, zone.shelf))
    _require(not damage, world, f"{zone.me}: expected every named segment whole, got {damage}")
    for library in zone.standards:
        newest = {row["origin"]: row for row in _applied(zone, library)[::-1]}
        for origin, row in newest.items():
            promised = {t["table"]: (t["rows"], t["digest"]) for t in row["tables"]}
            found = {t: (d.rows, d.root) for t, d in zone.library.digests(library, origin).items()}
            what = f"{zone.me}: {library} of {origin}: expected the rows of #{row['seq']}, got others"
            _require(found == promised, world, what)


def _applied(zone: OpenZone, library: str) -> list[dict[str, object]]:
    """Applied submissions of a library, newest first."""
    return [row for row in zone.library.submissions(library) if row["status"] == "applied"]


def check_rest(world: World) -> None:
    """At rest in fair weather: nothing lost, nothing doubled, nothing seen that may not be seen."""
    for zone in world.zones.values():
        check_zone(world, zone)
        damage = verify_journal(zone.store, zone.shelf)
        _require(not damage, world, f"{zone.me}: expected a whole journal, got {damage}")
        _check_streams(world, zone)
        check_epochs(world, zone)
    _check_topology(world)
    for origin in world.business:
        for library in world.zones[origin].standards:
            _check_library(world, origin, library)


def _check_topology(world: World) -> None:
    """What the root said last is what every zone goes by."""
    versions = {e: zone.topology.version for e, zone in world.zones.items()}
    root = versions[Endpoint(world.plan.topology.root, Zone.EXCHANGE)]
    late = {str(e): version for e, version in versions.items() if version != root}
    _require(not late, world, f"expected topology version {root} everywhere, got {late}")


def _check_streams(world: World, zone: OpenZone) -> None:
    """Marks are where the origin's head is, nothing waits, and every stream held may be held here."""
    allowed = set(_visible(world, zone.me))
    held = {mark.stream for mark in zone.index.streams() if mark.stream.origin != zone.me}
    _require(
        held == allowed, world, f"{zone.me}: expected streams {allowed - held} too, and not {held - allowed}"
    )
    applied = {mark.stream: mark for mark in zone.index.marks(APPLIED)}
    for mark in zone.index.marks():
        head = world.zones[mark.stream.origin].index.head(mark.stream)
        _require(mark == head, world, f"{zone.me}: {mark.stream}: expected mark {head.seq}, got {mark.seq}")
        _require(applied.get(mark.stream) == mark, world, f"{zone.me}: {mark.stream}: expected it applied")
        _require(mark.stream in held, world, f"{zone.me}: a mark of {mark.stream} without a header")
    waits = zone.index.held().keys() & allowed
    _require(not waits, world, f"{zone.me}: expected no stream to wait, got {waits}")
    _require(not zone.index.receipts_due(10), world, f"{zone.me}: expected no receipt due")


def _visible(world: World, me: Endpoint) -> Iterator[StreamId]:
    """Streams of others that may come here: hop by hop, each hop by the rule of audience."""
    for origin, zone in world.zones.items():
        for mark in zone.index.streams():
            if mark.stream.origin == origin != me and _reaches(world, mark.stream, me):
                yield mark.stream


def _reaches(world: World, stream: StreamId, me: Endpoint) -> bool:
    """Whether the audience of a stream, in the words of the specification, includes this zone."""
    topology, origin = world.plan.topology, stream.origin
    if stream.topic == TRUST:
        return me != origin and topology.in_subtree(me, origin)
    if stream.topic == JOURNAL:
        carried = me == Endpoint(origin.node, Zone.EXCHANGE) and origin.zone is Zone.DECISION
        return carried or me == Endpoint(stream.audience, Zone.EXCHANGE)
    if stream.topic in DOWNWARD:
        return _on_path(world, me, origin, stream.audience)
    if stream.audience == LINE:
        above = me.zone is Zone.EXCHANGE and me != origin and topology.in_subtree(origin, me)
        return above and (origin.zone is Zone.PRODUCTION or stream.topic in {TRUST_UP, CUTS})
    return stream.topic.startswith("published.") and me == Endpoint(origin.node, Zone.DECISION)


def _on_path(world: World, me: Endpoint, origin: Endpoint, audience: str) -> bool:
    """Receipts go from their origin to all zones of the node they are for, by the only path there is."""
    ends = [e for e in world.zones if e.node == audience]
    return any(me in _path(world, origin, end) for end in ends)


def _path(world: World, start: Endpoint, end: Endpoint) -> set[Endpoint]:
    """The zones between two zones of the tree, the end included, the start not."""
    up, down = list(_ancestors(world, start)), list(_ancestors(world, end))
    shared = set(up) & set(down)
    nearest = next(e for e in up if e in shared)
    return ({*up[: up.index(nearest) + 1], *down[: down.index(nearest)]}) - {start}


def _ancestors(world: World, endpoint: Endpoint) -> Iterator[Endpoint]:
    at: Endpoint | None = endpoint
    while at is not None:
        yield at
        at = world.plan.topology.parent(at)


def check_epochs(world: World, zone: OpenZone) -> None:
    """In no stream does an older epoch follow a newer one."""
    for mark in zone.index.streams():
        newest = 0
        for header in headers(zone, mark.stream):
            what = f"{zone.me}: {mark.stream}: expected epoch {newest} or later, got {header.epoch}"
            _require(header.epoch >= newest, world, what)
            newest = header.epoch


def headers(zone: OpenZone, stream: StreamId) -> list[Header]:
    """Every header of a stream held here, in order."""
    batches = (zone.index.batch(stream, seq) for seq in range(1, zone.index.head(stream).seq + 1))
    return [decode_header(batch.payload) for batch in batches if batch is not None]


def _check_library(world: World, origin: Endpoint, library: str) -> None:
    """One library of one city: the same rows at every tier, every submission once, every receipt at home."""
    home, stream = world.zones[origin], StreamId(origin, library)
    sealed = {row["table"]: (row["rows"], row["digest"]) for row in home.state.sealed(library)}
    closed = [h.seq for h in headers(home, stream) if h.kind is Kind.MANIFEST]
    receivers = [z for e, z in world.zones.items() if e.zone is Zone.EXCHANGE and _reaches(world, stream, e)]
    for zone in receivers:
        found = {t: (d.rows, d.root) for t, d in zone.library.digests(library, origin.node).items()}
        what = f"{zone.me}: {library} of {origin.node}: expected what was sealed, got other rows"
        _require(not closed or found == sealed, world, what)
        done = [row["seq"] for row in _applied(zone, library) if row["stream"] == str(stream)][::-1]
        _require(done == closed, world, f"{zone.me}: {stream}: expected submissions {closed}, got {done}")
    digests = {}
    for zone in receivers:
        for seq in range(1, home.index.head(stream).seq + 1):
            stages = {r.stage for r in home.index.receipts(stream, seq) if r.receiver == zone.me}
            what = f"{origin}: {stream}#{seq}: expected a receipt of {zone.me}, got {stages}"
            _require(Stage.ACCEPTED in stages, world, what)
        if closed:
            last = home.index.receipts(stream, closed[-1])
            said = [r.digest for r in last if r.receiver == zone.me and r.stage is Stage.APPLIED]
            _require(len(said) == 1, world, f"{origin}: {stream}: expected one applied receipt of {zone.me}")
            digests[zone.me] = said[0]
    _require(len(set(digests.values())) <= 1, world, f"{stream}: expected one digest, got {digests}")
    for zone in receivers:
        _check_packages(world, zone, library)


def _check_packages(world: World, zone: OpenZone, library: str) -> None:
    """The decision zone beside an exchange zone took in each applied submission once, in order."""
    decision = world.zones[Endpoint(zone.me.node, Zone.DECISION)]
    applied = [f"{row['stream']}#{row['seq']}" for row in _applied(zone, library)[::-1]]
    published = StreamId(zone.me, f"published.{library}", zone.me.node)
    taken = [h.run for h in headers(decision, published)]
    _require(taken == applied, world, f"{decision.me}: {library}: expected {applied}, got {taken}")
