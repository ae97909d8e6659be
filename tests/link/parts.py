"""Both ends of a line over real mutual TLS on loopback, with the certificates of a whole demo network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import grpc
from tests.trust.flat import FlatAuthority

from jinbao.authority.identity_files import ZoneIdentity, load_identity
from jinbao.journal.segments import hash_of
from jinbao.link.client import LineClient
from jinbao.link.limits import LinkLimits
from jinbao.link.server import LineServer, Offer
from jinbao.link.shaping import Shaper
from jinbao.link.standing import Standing
from jinbao.model.batch import Header, Kind, SealedBatch, SegmentRef
from jinbao.model.errors import JinbaoError
from jinbao.model.stream import Lane, Mark, StreamId
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.book import TrustBook
from jinbao.trust.envelope import head_of, seal
from jinbao.trust.identity import dns_name

MINISTRY, PROVINCE = Endpoint("100000", Zone.EXCHANGE), Endpoint("140000", Zone.EXCHANGE)
CITY, SIBLING = Endpoint("140100", Zone.EXCHANGE), Endpoint("140200", Zone.EXCHANGE)
STREAM = StreamId(CITY, "pension_macro")
STANDARDS = ("pension_macro@1", "unemployment_monitor@1")
LIMITS = LinkLimits(call_s=5.0)

Now = Callable[[], datetime]
Refusals = list[tuple[str, JinbaoError]]


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Network:
    """The zones' identities under `directory`, and the topology that names them."""

    directory: Path
    topology: Topology

    def identity(self, endpoint: Endpoint) -> ZoneIdentity:
        """A zone's own."""
        return load_identity(self.directory / endpoint.node / endpoint.zone / "identity")

    def standing(self, me: Endpoint, now: Now, identity: ZoneIdentity | None = None) -> Standing:
        """What a zone stands on: its own identity, or the one given, and the network's authorities."""
        held = identity or self.identity(me)
        book = TrustBook.of(held.anchors, held.trust)

        def learn(documents: Sequence[bytes], _peer: Endpoint | None) -> None:
            assert not book.newer(documents)  # everybody here holds the same lists

        return Standing(me, lambda: held, lambda: book, lambda: self.topology, now, learn)

    def stranger(self, endpoint: Endpoint, directory: Path) -> ZoneIdentity:
        """A zone's names certified by another root; the holder trusts the network's root all the same."""
        FlatAuthority().issue(endpoint, self.topology, directory)
        (directory / "anchors.pem").write_bytes(self.identity(endpoint).pem("anchors.pem"))
        return load_identity(directory)


@dataclass
class Window:
    """What a neighbour may take: given batches and files; notes who asked."""

    batches: Sequence[SealedBatch] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    asked: list[Endpoint] = field(default_factory=list)

    def headers(
        self, caller: Endpoint, marks: Sequence[Mark], limit: int, lane: Lane = Lane.ALL
    ) -> list[SealedBatch]:
        """The batches beyond the highest mark."""
        del lane
        self.asked.append(caller)
        seen = max((mark.seq for mark in marks), default=0)
        return list(self.batches[seen : seen + limit])

    def open_segment(self, caller: Endpoint, stream: StreamId, seq: int, sha256: str) -> Path | None:
        """The file of this name, through a batch that is here."""
        self.asked.append(caller)
        known = stream == STREAM and 0 < seq <= len(self.batches)
        return self.files.get(sha256) if known else None


@dataclass(frozen=True)
class Listening:
    """A line server that serves, and the callers it refused."""

    server: LineServer
    window: Offer
    refusals: Refusals

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.server.port}"


@contextmanager
def listening(
    network: Network,
    me: Endpoint,
    window: Offer | None = None,
    *,
    now: Now = utc_now,
    limits: LinkLimits = LIMITS,
    gives: Shaper | None = None,
    address: str = "127.0.0.1:0",
) -> Iterator[Listening]:
    """A server of one zone; `now` is its clock."""
    shown, refusals = window or Window(), Refusals()
    server = LineServer(
        network.standing(me, now),
        address,
        counter=shown,
        standards=STANDARDS,
        refused=lambda caller, exc: refusals.append((caller, exc)),
        limits=limits,
        gives=gives,
    )
    with closing(server):
        yield Listening(server, shown, refusals)


@contextmanager
def closing(server: LineServer) -> Iterator[None]:
    """A server that serves meanwhile."""
    try:
        server.start()
        yield
    finally:
        server.stop(grace_s=0.2)


@contextmanager
def dialling(
    network: Network,
    me: Endpoint,
    peer: Endpoint,
    address: str,
    *,
    identity: ZoneIdentity | None = None,
    limits: LinkLimits = LIMITS,
    lane: Lane = Lane.ALL,
    takes: Shaper | None = None,
) -> Iterator[LineClient]:
    """A client of one zone; `identity` where it is not the network's."""
    client = LineClient(
        network.standing(me, utc_now, identity),
        peer,
        address,
        limits=limits,
        lane=lane,
        takes=takes,
    )
    try:
        yield client
    finally:
        client.close()


@contextmanager
def channel(
    network: Network, me: Endpoint, peer: Endpoint, address: str, *, certified: bool = True
) -> Iterator[grpc.Channel]:
    """A bare connection, for what the client would not say; without a certificate if not `certified`."""
    held = network.identity(me)
    names = ("anchors.pem", "key.pem", "chain.pem") if certified else ("anchors.pem",)
    tls = grpc.ssl_channel_credentials(*(held.pem(name) for name in names))
    options = [("grpc.ssl_target_name_override", dns_name(peer)), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(address, tls, options=options) as opened:
        yield opened


def batches(identity: ZoneIdentity, count: int, *segments: SegmentRef) -> list[SealedBatch]:
    """A chain of the city's sealed batches."""
    made: list[SealedBatch] = []
    for seq in range(1, count + 1):
        previous = head_of(made[-1]) if made else ""
        at = utc_now().isoformat()
        header = Header(STREAM, seq, "1" * 32, 1, previous, Kind.CHANGE, at, segments=segments)
        made.append(seal(header, identity))
    return made


def random_file(path: Path, size: int) -> SegmentRef:
    """A file of bytes that nothing can shorten, and the reference a header would make to it."""
    path.write_bytes(os.urandom(size))
    return SegmentRef("person", *hash_of(path), rows=1)
