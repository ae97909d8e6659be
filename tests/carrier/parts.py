"""A carrier border with real journals on both sides: an exchange zone and its decision zone, two directories between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from tests.trust.example import FIRST, NOW, TOPOLOGY, Network

import jinbao
from jinbao.carrier.spool import SpoolPeer, SpoolWriter
from jinbao.flow.inbound import Inbound, InboundLimits
from jinbao.journal.index import Counter, JournalIndex
from jinbao.journal.ledger import Ledger
from jinbao.journal.projection import JournalProjection
from jinbao.journal.segments import SegmentShelf
from jinbao.model import acts
from jinbao.model.batch import SealedBatch, SegmentRef
from jinbao.model.errors import JinbaoError
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.store.ahead import SideBySide
from jinbao.store.engine import Store
from jinbao.store.files import Files
from jinbao.store.migrations import upgrade
from jinbao.trust.book import TrustBook
from jinbao.trust.documents import open_marks, seal_marks
from jinbao.trust.encoding import decode_header
from jinbao.trust.envelope import head_of, seal

EXCHANGE, DECISION = Endpoint("140100", Zone.EXCHANGE), Endpoint("140100", Zone.DECISION)
PENSION = StreamId(EXCHANGE, "published.pension_macro", "140100")
MEDICAL = StreamId(EXCHANGE, "published.medical_monitor", "140100")
AT = "2026-11-20T08:00:00Z"


class Side:
    """One zone's journal and shelf, with the identity it seals and proves by; an observer of its own flow."""

    def __init__(self, me: Endpoint, network: Network, directory: Path) -> None:
        self.me, self.network = me, network
        self.identity = network.identity(me)
        self.shelf = SegmentShelf(directory / "segments", Files())
        self.store = Store(f"sqlite:///{directory / 'zone.db'}", directory / "stage")
        upgrade(self.store.writer, [Path(jinbao.__file__).parent / "journal" / "migrations"])
        self.ledger = Ledger(self.store, [JournalProjection(self.shelf)], lambda: AT)
        self.index = JournalIndex(me, self.store, self.shelf)
        self.ledger.record(acts.created(me, "a" * 32))
        self.counter = Counter(self.index, self.store, lambda: TOPOLOGY)
        self.events: list[str] = []
        self.inbound = Inbound(
            index=self.index,
            ledger=self.ledger,
            shelf=self.shelf,
            verify=lambda sealed, mark: network.verifier().verify(sealed, mark, self.index.place),
            stream_of=lambda sealed: decode_header(sealed.payload).stream,
            observer=self,
            now=lambda: AT,
            limits=InboundLimits(100, 100, 100, 1 << 30),
            beside=SideBySide,
            brings=lambda peer: TOPOLOGY.below(self.me, peer),
            sees=lambda peer, stream: TOPOLOGY.may_see(holder=peer, caller=self.me, stream=stream),
            epoch_of=lambda peer: TOPOLOGY.epoch(peer.node),
            room=lambda _: None,
        )

    def event(self, name: str, **values: Any) -> None:
        """Keep the names of what happened."""
        del values
        self.events.append(name)

    def publish(self, stream: StreamId, *tables: pl.DataFrame) -> SealedBatch:
        """Seal the next batch of a stream, one segment per table, and record it."""
        segments = tuple(SegmentRef("person", *self.shelf.write(t), t.height) for t in tables)
        last = self.index.head(stream)
        header = replace(FIRST, stream=stream, seq=last.seq + 1, previous=last.head, segments=segments)
        sealed = seal(header, self.identity)
        self.ledger.record(acts.sealed(sealed))
        return sealed


class Border:
    """Both sides and what lies between; `told` is what the receiver heard of damaged packages."""

    def __init__(self, network: Network, directory: Path, *, packages_max: int = 100) -> None:
        for name in ("sender", "receiver"):
            (directory / name).mkdir()
        self.sender = Side(EXCHANGE, network, directory / "sender")
        self.receiver = Side(DECISION, network, directory / "receiver")
        self.outbox, self.way_back = directory / "outbox", directory / "back"
        self.told: list[tuple[str, JinbaoError]] = []
        self.peer = SpoolPeer(EXCHANGE, self.outbox, refused=lambda name, exc: self.told.append((name, exc)))
        self.writer = SpoolWriter(
            DECISION,
            self.outbox,
            offer=self.sender.counter,
            receiver_marks=self.receiver_marks,
            files=Files(),
            packages_max=packages_max,
        )
        self._answers = SpoolPeer(
            DECISION, self.way_back, refused=lambda name, exc: self.told.append((name, exc))
        )
        self._answering = SpoolWriter(
            EXCHANGE,
            self.way_back,
            offer=self.receiver.counter,
            receiver_marks=list,
            files=Files(),
            packages_max=packages_max,
        )

    def receiver_marks(self) -> list[Mark]:
        """What the receiver said last, proved."""
        sealed = self._answers.marks()
        book = TrustBook.of(self.sender.identity.anchors)
        return open_marks(sealed, DECISION, book, TOPOLOGY, NOW) if sealed else []

    def follow(self) -> int:
        """One round of the receiver; returns how many batches it accepted."""
        return self.receiver.inbound.step(self.peer)

    def answer(self) -> None:
        """The receiver lays down its marks."""
        self._answering.write_marks(seal_marks(self.receiver.index.marks(), self.receiver.identity))

    def package(self, sealed: SealedBatch) -> Path:
        """The directory of a batch's package."""
        return self.outbox / f"p-{head_of(sealed)}"

    def packages(self) -> set[Path]:
        """Packages that lie in the outbox."""
        return set(self.outbox.glob("p-*"))

    def close(self) -> None:
        """Close both databases."""
        self.sender.store.close()
        self.receiver.store.close()
