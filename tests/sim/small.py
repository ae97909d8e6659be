"""One zone without libraries: journal, ledger, verifier and inbound over a real database, and peers to follow.

A thousand of these fit where one world does; what they cannot show is applying.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from tests.sim.order import OneByOne
from tests.trust.example import FIRST, TOPOLOGY, Network

import jinbao
from jinbao.flow.inbound import Inbound, InboundLimits
from jinbao.flow.ports import Beside
from jinbao.journal.index import Counter, JournalIndex
from jinbao.journal.ledger import Ledger
from jinbao.journal.projection import JournalProjection
from jinbao.journal.segments import SegmentShelf
from jinbao.journal.tables import ACT, HEADER
from jinbao.model import acts
from jinbao.model.batch import Header, SealedBatch, SegmentRef
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Endpoint
from jinbao.store.engine import Store
from jinbao.store.files import Files
from jinbao.store.migrations import upgrade
from jinbao.trust.encoding import decode_header
from jinbao.trust.envelope import head_of, pae, seal

AT = "2026-11-20T08:00:00.000Z"
INCARNATION = FIRST.incarnation
HEADERS_MAX = 4


class SmallZone:
    """A zone at `me` in a directory, made there if it is not yet; close it when done."""

    def __init__(
        self,
        me: Endpoint,
        network: Network,
        directory: Path,
        beside: Callable[[], Beside] = OneByOne,
    ) -> None:
        self.me, self.directory, self._beside = me, directory, beside
        self._network = network
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._open()
        if not self.index.incarnation():
            self.ledger.record(acts.created(me, INCARNATION))

    def _open(self) -> None:
        fresh = not (self.directory / "zone.db").exists()
        self.shelf = shelf = SegmentShelf(self.directory / "segments", Files())
        self.store = Store(f"sqlite:///{self.directory / 'zone.db'}", self.directory / "stage")
        if fresh:
            upgrade(self.store.writer, [Path(jinbao.__file__).parent / "journal" / "migrations"])
        self.ledger = Ledger(self.store, [JournalProjection(shelf)], lambda: AT)
        self.index = JournalIndex(self.me, self.store, shelf)
        self.counter = Counter(self.index, self.store, lambda: TOPOLOGY)
        verifier = self._network.verifier()
        self.inbound = Inbound(
            index=self.index,
            ledger=self.ledger,
            shelf=shelf,
            verify=lambda sealed, mark: verifier.verify(sealed, mark, self.index.place),
            stream_of=lambda sealed: decode_header(sealed.payload).stream,
            observer=self,
            now=lambda: AT,
            limits=InboundLimits(HEADERS_MAX, 100, 100, 1 << 20),
            beside=self._beside,
            brings=lambda peer: TOPOLOGY.below(self.me, peer),
            sees=lambda peer, stream: TOPOLOGY.may_see(holder=peer, caller=self.me, stream=stream),
            epoch_of=lambda peer: TOPOLOGY.epoch(peer.node),
            room=lambda _: None,
        )

    def event(self, name: str, **values: Any) -> None:
        """Keep what happened."""
        self.events.append((name, values))

    def restart(self) -> None:
        """Close without a word, and open what is durable."""
        self.store.close()
        self._open()

    def copy(self, target: Path) -> None:
        """Lay a copy of this zone down."""
        self.store.close()
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.directory, target, symlinks=True)
        self._open()

    def restore(self, source: Path) -> None:
        """Become what a copy was."""
        self.store.close()
        shutil.rmtree(self.directory)
        shutil.copytree(source, self.directory, symlinks=True)
        self._open()

    def next(self, stream: StreamId, **changes: object) -> SealedBatch:
        """The next batch of a stream of this zone, sealed and not recorded."""
        last = self.index.head(stream)
        header = replace(FIRST, stream=stream, seq=last.seq + 1, previous=last.head)
        return self.forge(replace(header, **changes))  # type: ignore[arg-type]  # by name

    def forge(self, header: Header) -> SealedBatch:
        """A header sealed with this zone's key, whatever it says; another signature every time."""
        identity = self._network.identity(self.me)
        made = seal(header, identity)
        message = pae(made.payload_type, made.payload)
        return replace(made, signature=identity.key.sign(message, ec.ECDSA(hashes.SHA256())))

    def publish(self, stream: StreamId, **changes: object) -> SealedBatch:
        """Seal and record the next batch of a stream of this zone."""
        sealed = self.next(stream, **changes)
        self.ledger.record(acts.sealed(sealed))
        return sealed

    def chain(self, stream: StreamId) -> list[tuple[int, str, str]]:
        """Seq, predecessor and head of every header held of a stream, in the order they were recorded."""
        query = sa.select(HEADER.c.envelope).where(HEADER.c.stream == str(stream)).order_by(HEADER.c.lsn)
        with self.store.read() as connection:
            count = len(connection.execute(query).all())
        found = [self.index.batch(stream, seq) for seq in range(1, count + 1)]
        headers = [(decode_header(s.payload), head_of(s)) for s in found if s is not None]
        return [(header.seq, header.previous, head) for header, head in headers]

    def kinds(self) -> list[str]:
        """Kinds of all acts, in order."""
        with self.store.read() as connection:
            return [row.kind for row in connection.execute(sa.select(ACT.c.kind).order_by(ACT.c.lsn))]


class Showing:
    """A neighbour that answers with these batches, whatever it is asked."""

    def __init__(self, endpoint: Endpoint, answer: Callable[[Sequence[Mark]], Sequence[SealedBatch]]) -> None:
        self.endpoint, self._answer = endpoint, answer

    def headers(self, marks: Sequence[Mark], limit: int, wait_s: float) -> list[SealedBatch]:
        """The batches."""
        del limit, wait_s
        return list(self._answer(marks))

    def fetch(self, stream: StreamId, seq: int, ref: SegmentRef, offset: int) -> Iterator[bytes]:
        """Nothing: small batches have no segments."""
        raise AssertionError((stream, seq, ref, offset))


def honest(me: Endpoint, other: SmallZone) -> Showing:
    """A neighbour that answers as its journal says."""
    return Showing(other.me, lambda marks: other.counter.headers(me, marks, HEADERS_MAX))
