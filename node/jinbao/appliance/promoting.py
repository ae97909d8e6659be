"""Promotion 切换: a lost node's zones become a node again at the epoch its parent granted.

Built from the copies as they were declared, enrolled with keys of their own, and healed: each neighbour is asked for
what the node had sent it beyond the copies, the node's own zones last. Nothing seals before that is done, and every
step can be killed and made again. Serves nothing: the zones are started as any others afterwards.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from jinbao.appliance.assembly import OpenZone, Ports, open_zone, stream_of
from jinbao.appliance.observers import log_beside
from jinbao.appliance.restoring import Place, Rebuilt, read_copy, rebuild, require_buildable
from jinbao.appliance.settings import Settings
from jinbao.appliance.trust_keeper import document_of, grant_document
from jinbao.appliance.zone_lock import Purpose
from jinbao.authority.copy_keys import Opens
from jinbao.authority.identity_files import load_identity
from jinbao.authority.tokens import Token
from jinbao.flow.healing import Healing, Returned
from jinbao.flow.ports import Peer
from jinbao.journal.index import Counter
from jinbao.journal.segments import require_space
from jinbao.link.client import LineClient
from jinbao.link.limits import LinkLimits
from jinbao.model import acts
from jinbao.model.batch import SealedBatch, SegmentRef, VerifiedBatch
from jinbao.model.errors import CorruptionError, LinkError, LocalError, SettingsError, UsageError
from jinbao.model.failpoint import declare, hit
from jinbao.model.grant import Grant
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Border, Endpoint, Zone
from jinbao.standby.rebuilding import Copy, Tell
from jinbao.trust.encoding import decode_envelope
from jinbao.trust.grants import decode_grant

BUILT = declare("promote.after_build", "one zone of a lost node is built, others are not")
TOLD = declare("promote.after_grant", "the grant is recorded in a zone that was built, nothing came back yet")
JOURNAL_TAKEN = declare("promote.after_journal", "a built zone knows its own journal as far as it was copied")

_FETCH_BYTES = 1 << 20

Peers = Callable[[OpenZone, Endpoint], Peer]
"""Who answers for a neighbour of another node."""


@dataclass
class ZonePromoted:
    """What came of one zone: how far its copy went and the source's newest capture in it, what came back, and how long."""

    zone: str
    acts: int
    restored_to: str
    captured_at: str
    build_s: float
    returned: list[Returned] = field(default_factory=list)

    @property
    def batches(self) -> int:
        """Batches of its own that its neighbours had and its copy had not."""
        return sum(one.batches for one in self.returned)

    def body(self) -> dict[str, Any]:
        """As JSON."""
        returned = [asdict(one) | {"peer": str(one.peer)} for one in self.returned]
        return asdict(self) | {"returned": returned, "batches": self.batches}


@dataclass
class Promoted:
    """What came of a promotion; `without` were given up by those who declared it. Seconds from first to last file."""

    node: str
    epoch: int
    zones: list[ZonePromoted]
    without: list[str]
    seconds: float

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"zones": [zone.body() for zone in self.zones]}


def read_grant(content: bytes) -> Grant:
    """The grant of a file; raises UnprovableError for anything else. Proved by the zones that take it in."""
    return decode_grant(decode_envelope(content).payload)


def require_declared(grant: Grant, copies: Mapping[Endpoint, tuple[int, str]]) -> None:
    """Raise LocalError unless the copies end exactly where the declaration says: acts and hash by zone."""
    for cut in grant.cuts:
        endpoint = Endpoint(grant.node, cut.zone)
        if copies.get(endpoint) != (cut.lsn, cut.hash):
            acts_held, digest = copies.get(endpoint, (0, ""))
            raise LocalError(
                f"copy of {endpoint}",
                expected=f"act {cut.lsn} with hash {cut.hash[:12]}, as it was declared",
                got=f"act {acts_held} with hash {digest[:12] or 'none'}",
                next_step="jinbao standby declare, again: the copy has moved since",
            )


Fetch = Callable[[Path, Endpoint], Mapping[str, Any]]
"""Asks the backup for the copy of a zone: its lines go into the file, the answer is returned."""


@contextmanager
def declared_copies(grant: Grant, fetch: Fetch, opens: Opens | None) -> Iterator[list[Copy]]:
    """The copies of a granted node, which end where it was declared; raises LocalError where one does not."""
    with tempfile.TemporaryDirectory(prefix="jinbao-") as scratch:
        copies, ends = list[Copy](), dict[Endpoint, tuple[int, str]]()
        for cut in grant.cuts:
            endpoint, lines = Endpoint(grant.node, cut.zone), Path(scratch) / cut.zone
            said = fetch(lines, endpoint)
            ends[endpoint] = said["acts"], said["hash"]
            copies.append(read_copy(lines, said, opens))
        require_declared(grant, ends)
        yield copies


def require_place(grant: Grant, settings: Settings) -> None:
    """Raise SettingsError for settings that are not those of the lost node, with all its zones."""
    wanted = {cut.zone for cut in grant.cuts}
    if settings.node != grant.node or not wanted <= set(settings.zones):
        raise SettingsError(
            "settings of the new place",
            expected=f"node {grant.node} with zones {', '.join(sorted(wanted))}",
            got=f"node {settings.node} with zones {', '.join(sorted(settings.zones))}",
        )


def require_opened(copies: Sequence[Copy]) -> None:
    """Raise UsageError where the keys given do not open a copy, and CorruptionError where its first segment is damaged."""
    for copy in copies:
        for ref in islice(copy.objects(), 1):
            for _ in copy.blocks(ref):
                pass


def require_empty(copies: Sequence[Copy], settings: Settings) -> None:
    """Raise LocalError unless every zone's directory is empty, or begun by a promotion of the same copies."""
    for copy in copies:
        require_buildable(copy, _place(copy, settings))


def _place(copy: Copy, settings: Settings) -> Place:
    zone = copy.stream.origin.zone
    return Place(settings.directory(zone), settings.zones[zone].database)


def build(copies: Sequence[Copy], backup: Settings, settings: Settings, tell: Tell) -> dict[Zone, Rebuilt]:
    """Build every zone that is not built yet in its directory of the new place, once all of them can be."""
    require_empty(copies, settings)
    built = {}
    for copy in copies:
        built[copy.stream.origin.zone] = rebuild(copy, backup, _place(copy, settings), tell)
        hit(BUILT)
    return built


def require_granted(grant: Grant, built: Mapping[Zone, Rebuilt]) -> None:
    """Raise LocalError for a zone that was built here before from a copy that is not the one of the grant."""
    for cut in grant.cuts:
        found = built.get(cut.zone)
        if found is not None and found.hash != cut.hash:
            raise LocalError(
                f"directory {found.directory}",
                expected=f"act {cut.lsn} with hash {cut.hash[:12]}, as it was declared",
                got=f"act {found.acts} with hash {found.hash[:12]}, from another copy",
                next_step="name another data_directory: nothing is ever written over",
            )


def lacking(grant: Grant, settings: Settings) -> list[Zone]:
    """Zones of the new place that have no certificate of the granted epoch yet."""
    return [cut.zone for cut in grant.cuts if _epoch(settings, cut.zone) != grant.epoch]


def _epoch(settings: Settings, zone: Zone) -> int:
    try:
        return load_identity(settings.directory(zone) / "identity").epoch
    except SettingsError:
        return 0


def take_over(
    sealed: bytes,
    copies: Sequence[Copy],
    settings: Settings,
    built: Mapping[Zone, Rebuilt],
    *,
    known: Sequence[bytes] = (),
    ports: Callable[[Endpoint], Ports] = lambda _zone: Ports(),
    peers: Peers | None = None,
) -> list[ZonePromoted]:
    """Let the built zones take back what the holder before had sent; afterwards they may serve.

    `sealed` is the grant's file; `known` are documents the backup believes by now, which it may rest on.
    Raises LinkError naming a neighbour that does not answer and was not given up.
    """
    grant = read_grant(sealed)
    require_granted(grant, built)
    with ExitStack() as opened:
        zones: dict[Zone, OpenZone] = {}
        for copy in copies:
            me = copy.stream.origin
            zone = open_zone(settings, me.zone, ports(me), Purpose.QUESTION)
            zones[me.zone] = opened.enter_context(closing(zone))
        found = {}
        for copy in copies:
            zone = zones[copy.stream.origin.zone]
            zone.trust.learn([document_of(body) for body in known if body != sealed], str(copy.keeper))
            zone.trust.take_in([grant_document(sealed)])
            hit(TOLD)
            _take_journal(zone, copy)
            found[zone.me.zone] = _begun(zone, copy, built[zone.me.zone])
        if any(zone.succession.is_unhealed for zone in zones.values()):
            _heal(zones, grant, found, peers or _by_line)
        return list(found.values())


def _begun(zone: OpenZone, copy: Copy, built: Rebuilt) -> ZonePromoted:
    return ZonePromoted(
        str(zone.me),
        copy.acts,
        zone.ledger.acts(after=copy.acts - 1, limit=1)[0].at,
        zone.state.captured_at(),
        built.seconds,
    )


def _take_journal(zone: OpenZone, copy: Copy) -> None:
    """The zone's own stream of acts goes on after the last batch the backup has: what it was built from names that one."""
    head = zone.index.head(copy.stream)
    for batch in copy.batches:
        assert isinstance(batch, VerifiedBatch), "a backup site's copy is of sealed batches"
        if batch.header.seq > head.seq:
            zone.ledger.record(acts.sealed(batch.sealed))
    hit(JOURNAL_TAKEN)


def _heal(
    zones: Mapping[Zone, OpenZone], grant: Grant, found: Mapping[Zone, ZonePromoted], peers: Peers
) -> None:
    """Others first, for what they have of all our zones came through exchange; then our zones among themselves."""
    healing = {zone: _healing(opened, grant) for zone, opened in zones.items()}
    asked: dict[Zone, list[Endpoint]] = {zone: [] for zone in zones}

    def take(zone: Zone, peer: Peer) -> None:
        found[zone].returned.append(healing[zone].take(peer))
        asked[zone].append(peer.endpoint)

    exchange = zones.get(Zone.EXCHANGE)
    if exchange is not None:
        for neighbour in _others(exchange, grant):
            with closing_peer(peers(exchange, neighbour)) as peer:
                try:
                    take(Zone.EXCHANGE, peer)
                except LinkError as exc:
                    raise LinkError(
                        f"what {grant.node} had sent to {neighbour}",
                        expected="to be given back",
                        got=str(exc),
                        next_step="try again when it answers, or declare again --without it",
                    ) from exc
        below = [zone for zone in zones if zone is not Zone.EXCHANGE]
        for zone in below:
            take(zone, InProcess(exchange.me, zones[zone].me, exchange.counter))
        for zone in below:
            take(Zone.EXCHANGE, InProcess(zones[zone].me, exchange.me, zones[zone].counter))
    for one, heals in healing.items():
        if not zones[one].succession.is_unhealed:  # it ended before a kill, and may have served since
            continue
        cut = grant.cut(one)
        assert cut is not None, "zones are those of the grant's cuts"
        heals.end(cut.lsn, asked[one], grant.without)


def _others(exchange: OpenZone, grant: Grant) -> list[Endpoint]:
    """Neighbours of another node who may have something of ours, the parent first, without those given up."""
    topology, me = exchange.topology, exchange.me
    return [
        e
        for e in topology.neighbours(me)
        if e.node != me.node and topology.border(me, e) is Border.LINE and e not in grant.without
    ]


def _healing(zone: OpenZone, grant: Grant) -> Healing:
    limits, topology, me = zone.settings.limits, zone.trust.topology, zone.me
    below = {e.node for e in topology().endpoints() if topology().in_subtree(e, me)}

    def gives(peer: Endpoint, stream: StreamId) -> bool:
        return topology().may_take_back(holder=peer, caller=me, stream=stream)

    rest = zone.inbound.seeing(
        lambda _peer: below, lambda peer, stream: stream.origin != me and gives(peer, stream)
    )

    def own() -> list[Mark]:
        return [head for head in zone.index.streams() if head.stream.origin == me]

    return Healing(
        index=zone.index,
        ledger=zone.ledger,
        shelf=zone.shelf,
        verify=lambda sealed, last: zone.verifier.verify(sealed, last, zone.index.place),
        stream_of=stream_of,
        gives=gives,
        accept=lambda peer: rest.step(Beyond(peer, own())) if peer.endpoint.node != me.node else 0,
        libraries=zone.standards,
        seal=zone.seal,
        epoch=grant.epoch,
        observer=zone.observer,
        now=zone.ports.now_text,
        headers_max=limits.headers_max,
        room=partial(require_space, zone.shelf.root, limits.disk_reserve_bytes),
    )


@contextmanager
def closing_peer(peer: Peer) -> Iterator[Peer]:
    """A peer whose connection ends with the context, if it has one."""
    try:
        yield peer
    finally:
        if isinstance(peer, LineClient):
            peer.close()


def _by_line(exchange: OpenZone, neighbour: Endpoint) -> Peer:
    """A neighbour over the line, asked for what our node sent it."""
    address = exchange.topology.address(neighbour)
    return LineClient(exchange.trust.standing(), neighbour, address, limits=LinkLimits(), returned=True)


class Beyond:
    """A peer that is told with each call what is here already of streams its caller does not name."""

    def __init__(self, peer: Peer, known: Sequence[Mark]) -> None:
        self.endpoint = peer.endpoint
        self.fetch = peer.fetch
        self._peer, self._known = peer, known

    def headers(self, marks: Sequence[Mark], limit: int, wait_s: float) -> list[SealedBatch]:
        """What lies beyond the marks and what is known."""
        return self._peer.headers([*self._known, *marks], limit, wait_s)


class InProcess:
    """Another zone of the same node, opened beside us, asked for what we sent it."""

    def __init__(self, holder: Endpoint, caller: Endpoint, counter: Counter) -> None:
        self.endpoint = holder
        self._caller, self._counter = caller, counter

    def headers(self, marks: Sequence[Mark], limit: int, wait_s: float) -> list[SealedBatch]:
        """What it has of ours beyond the marks."""
        del wait_s
        return self._counter.returned(self._caller, marks, limit)

    def fetch(self, stream: StreamId, seq: int, ref: SegmentRef, offset: int) -> Iterator[bytes]:
        """Bytes of a segment from `offset` on; raises CorruptionError for one it has not."""
        path = self._counter.open_segment(self._caller, stream, seq, ref.sha256)
        if path is None:
            raise CorruptionError(
                f"segment {ref.sha256[:12]}", expected=f"one of {stream}#{seq}", got="none at {self.endpoint}"
            )
        with path.open("rb") as file:
            file.seek(offset)
            while block := file.read(_FETCH_BYTES):
                yield block


def promote(
    sealed: bytes,
    copies: Sequence[Copy],
    backup: Settings,
    settings: Settings,
    enrol: Callable[[Sequence[Zone]], None],
    tell: Tell,
    known: Sequence[bytes] = (),
) -> Promoted:
    """All of it: build in the place `settings` name, let `enrol` certify the zones that lack it, and take back.

    `known` is as in `take_over`. Raises what each step raises; made again it goes on where it ended.
    """
    log_beside()
    began, grant = time.monotonic(), read_grant(sealed)
    require_place(grant, settings)
    built = build(copies, backup, settings, tell)
    if wanting := lacking(grant, settings):
        enrol(wanting)
    if wanting := lacking(grant, settings):
        raise UsageError(
            f"identity of {grant.node}",
            expected=f"certificates of epoch {grant.epoch} for {', '.join(wanting)}",
            got="none, or older ones",
            next_step="jinbao ca grant and jinbao ca token there; then --token here, or jinbao enrol",
        )
    zones = take_over(sealed, copies, settings, built, known=known)
    seconds = round(time.monotonic() - began, 2)
    return Promoted(grant.node, grant.epoch, zones, [str(e) for e in grant.without], seconds)


def require_token(token: Token, grant: Grant) -> None:
    """Raise UsageError for a token of another node, of an older epoch, or of an authority nobody can call."""
    if (token.node, token.epoch) != (grant.node, grant.epoch):
        raise UsageError(
            "--token",
            expected=f"one of {grant.node} for epoch {grant.epoch}",
            got=f"one of {token.node} for epoch {token.epoch}",
            next_step="jinbao ca grant, and then jinbao ca token",
        )
    if not token.address:
        raise UsageError(
            "--token",
            expected="the address of its authority",
            got="none",
            next_step="leave it out, and enrol the zones by jinbao enrol --request when it is asked for",
        )
