"""A journal of one zone with its real store, shelf and ledger, and the small network it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

import jinbao
from jinbao.flow.sealing import StreamSealer
from jinbao.journal.index import Counter, JournalIndex
from jinbao.journal.ledger import Ledger
from jinbao.journal.projection import JournalProjection
from jinbao.journal.segments import SegmentShelf
from jinbao.model import acts
from jinbao.model.batch import Header, Kind, SealedBatch, SegmentRef, VerifiedBatch
from jinbao.model.receipt import Receipt, Stage
from jinbao.model.stream import StreamId
from jinbao.model.topology import NodeRow, Topology
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.store.engine import Store
from jinbao.store.files import Files
from jinbao.store.migrations import upgrade
from jinbao.trust.encoding import HEADER_TYPE, decode_header, encode_header
from jinbao.trust.envelope import head_of
from jinbao.trust.suites import INTL
from jinbao.trust.verify import Verifier

AT = "2024-11-05T00:00:00.000Z"
EXCHANGE = Endpoint("140100", Zone.EXCHANGE)
PRODUCTION, DECISION = Endpoint("140100", Zone.PRODUCTION), Endpoint("140100", Zone.DECISION)
PROVINCE, MINISTRY = Endpoint("140000", Zone.EXCHANGE), Endpoint("100000", Zone.EXCHANGE)
LIBRARY = StreamId(PRODUCTION, "pension_macro")


def _row(node: str, tier: Tier, parent: str) -> NodeRow:
    zones = tuple(Zone) if tier is Tier.CITY else (Zone.EXCHANGE, Zone.DECISION)
    return NodeRow(node, node, node, tier, node, parent, zones, (Zone.DECISION,), ())


TOPOLOGY = Topology(
    "test",
    1,
    (
        _row("100000", Tier.MINISTRY, ""),
        _row("140000", Tier.PROVINCE, "100000"),
        _row("140100", Tier.CITY, "140000"),
        _row("140200", Tier.CITY, "140000"),
    ),
)


def unsigned(header: Header) -> SealedBatch:
    """A header in an envelope; the journal keeps what was proved before and proves nothing again."""
    return SealedBatch(INTL, HEADER_TYPE, encode_header(header), b"seal", (b"certificate",))


@dataclass
class Journal:
    """One zone's journal, whole; close its store when done."""

    me: Endpoint
    store: Store
    shelf: SegmentShelf
    ledger: Ledger
    index: JournalIndex

    @property
    def counter(self) -> Counter:
        """What neighbours may take from it."""
        return Counter(self.index, self.store, lambda: TOPOLOGY)

    def segment(self, *values: int) -> SegmentRef:
        """A small table on the shelf."""
        sha256, size = self.shelf.write(pl.DataFrame({"AAE180": values}, schema={"AAE180": pl.Int64}))
        return SegmentRef("employer", sha256, size, len(values))

    def put(
        self,
        stream: StreamId,
        segments: Sequence[SegmentRef] = (),
        *,
        kind: Kind = Kind.CHANGE,
        incarnation: str = "a" * 32,
        epoch: int = 1,
    ) -> SealedBatch:
        """The next batch of a stream: sealed if the stream is our own, else accepted from its origin."""
        last = self.index.head(stream)
        sealer = StreamSealer(last, incarnation=incarnation, epoch=epoch, seal=unsigned, now=lambda: AT)
        sealed = sealer.next(kind, segments=segments)
        if stream.origin == self.me:
            self.ledger.record(acts.sealed(sealed))
        else:
            self.ledger.record(acts.accepted(verified(sealed), stream.origin))
        return sealed

    def signed(self, receiver: Endpoint, stream: StreamId, seq: int) -> None:
        """A receiver's word that it accepted a batch has come back here."""
        receipt = Receipt(receiver, stream, seq, "", Stage.ACCEPTED, 0, "", "", AT)
        self.ledger.record(acts.receipt_due(receipt))


def verified(sealed: SealedBatch) -> VerifiedBatch:
    """A batch as a zone that proved it goes on with it."""
    return Verifier.stored(sealed, decode_header(sealed.payload), head_of(sealed))


def places(batches: Sequence[SealedBatch]) -> list[tuple[str, int]]:
    """Topic and seq of each batch, in order."""
    headers = [decode_header(sealed.payload) for sealed in batches]
    return [(header.stream.topic, header.seq) for header in headers]


def open_journal(directory: Path, me: Endpoint = EXCHANGE, url: str = "") -> Journal:
    """An empty journal in a directory; its database is there, too, or at the URL."""
    shelf = SegmentShelf(directory / "segments", Files())
    store = Store(url or f"sqlite:///{directory / 'zone.db'}", directory / "stage")
    upgrade(store.writer, [Path(jinbao.__file__).parent / "journal" / "migrations"])
    ledger = Ledger(store, (JournalProjection(shelf),), lambda: AT)
    return Journal(me, store, shelf, ledger, JournalIndex(me, store, shelf))
