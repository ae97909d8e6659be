"""A small network with real keys: one ministry, one province, two cities and a municipality."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.trust.flat import FlatAuthority

from jinbao.authority.identity_files import ZoneIdentity, load_identity
from jinbao.model.batch import Header, Kind, SealedBatch
from jinbao.model.stream import StreamId
from jinbao.model.topology import NodeRow, Topology
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.trust.book import TrustBook
from jinbao.trust.envelope import head_of, seal
from jinbao.trust.verify import Verifier

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
"""When every example happens."""

EXCHANGES = (Zone.EXCHANGE, Zone.DECISION)
ALL = tuple(Zone)


def row(node: str, tier: Tier, parent: str, zones: tuple[Zone, ...] = ALL) -> NodeRow:
    """A row whose region is its node and whose decision zone meets exchange by carrier."""
    return NodeRow(node, node, node, tier, node, parent, zones, (Zone.DECISION,), ())


TOPOLOGY = Topology(
    "jinbao.test",
    1,
    (
        row("100000", Tier.MINISTRY, "", EXCHANGES),
        row("140000", Tier.PROVINCE, "100000", EXCHANGES),
        row("140100", Tier.CITY, "140000"),
        row("140200", Tier.CITY, "140000"),
        row("310000", Tier.PROVINCE, "100000"),
    ),
)
CITY = Endpoint("140100", Zone.PRODUCTION)
SIBLING = Endpoint("140200", Zone.PRODUCTION)
PROVINCE = Endpoint("140000", Zone.EXCHANGE)
ROOT = Endpoint("100000", Zone.EXCHANGE)
STREAM = StreamId(CITY, "pension_macro")
FIRST = Header(
    stream=STREAM,
    seq=1,
    incarnation="a" * 32,
    epoch=1,
    previous="",
    kind=Kind.CHANGE,
    made_at="2026-11-20T07:00:00Z",
)


def with_epoch(node: str, epoch: int) -> Topology:
    """The topology in which a node was granted an epoch."""
    rows = (replace(r, epoch=epoch) if r.node == node else r for r in TOPOLOGY.rows)
    return replace(TOPOLOGY, version=epoch, rows=tuple(rows))


class Network:
    """One authority and the identities it issued, made as they are asked for."""

    def __init__(self, directory: Path) -> None:
        self.authority = FlatAuthority(now=NOW - timedelta(days=1), life=timedelta(days=30))
        self._directory = directory
        self._issued: dict[tuple[Endpoint, int], ZoneIdentity] = {}

    def identity(self, endpoint: Endpoint, epoch: int = 1) -> ZoneIdentity:
        """Key and chain of a zone at an epoch, the same at every call."""
        if (endpoint, epoch) not in self._issued:
            directory = self._directory / f"{endpoint.node}-{endpoint.zone}-{epoch}"
            self.authority.issue(endpoint, with_epoch(endpoint.node, epoch), directory)
            self._issued[endpoint, epoch] = load_identity(directory)
        return self._issued[endpoint, epoch]

    def seal(self, header: Header) -> SealedBatch:
        """A header sealed by the zone its stream names, at the epoch it names."""
        return seal(header, self.identity(header.stream.origin, header.epoch))

    def chain(self, length: int, first: Header = FIRST) -> list[SealedBatch]:
        """The first batches of a stream, each after the one before."""
        sealed: list[SealedBatch] = []
        for seq in range(1, length + 1):
            previous = head_of(sealed[-1]) if sealed else ""
            sealed.append(self.seal(replace(first, seq=seq, previous=previous)))
        return sealed

    @property
    def book(self) -> TrustBook:
        """What trusts this network's authority."""
        return TrustBook.of([self.authority.root])

    def verifier(self, topology: Topology = TOPOLOGY, at: datetime = NOW) -> Verifier:
        """A verifier that trusts this network's authority."""
        return Verifier(lambda: self.book, lambda: topology, lambda: at)
