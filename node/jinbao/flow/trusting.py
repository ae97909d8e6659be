"""Trust on the line: what an operator imported here goes down to all below and up to all above.

    documents imported here ─seal→ topics `trust` (down) and `trust_up` (up)
    batches of both topics  ─prove→ the trust book and the topology of whoever they pass

Documents prove themselves: whoever brings one is no reason to believe it. A document that
proves nothing is passed by, loudly; the batch that carried it blocks nothing.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import polars as pl

from jinbao.flow.ports import Index, Inspector, Ledger, Now, ReadHeader, SealHeader, Shelf, Trust
from jinbao.flow.sealing import StreamSealer
from jinbao.model import acts
from jinbao.model.batch import Kind, SegmentRef, VerifiedBatch
from jinbao.model.errors import UnacceptableError
from jinbao.model.failpoint import declare, hit
from jinbao.model.quoting import quoted
from jinbao.model.stream import TRUST, TRUST_UP, StreamId
from jinbao.model.trust import DocumentKind, TrustDocument

SEAL_BEFORE = declare(
    "trusting.before_seal", "imported documents are in a durable segment, no batch is sealed"
)
SEALED = declare("trusting.after_seal", "imported documents are sealed in the journal, nobody fetched them")
LEARN_BEFORE = declare("trusting.before_learn", "documents that came are proved, nothing of them is recorded")
LEARNED = declare("trusting.after_learn", "documents that came are recorded and the mark moved")

DOCUMENT_SCHEMA = {
    "kind": pl.String(),
    "name": pl.String(),
    "number": pl.Int64(),
    "part": pl.Int64(),
    "body": pl.String(),
}
"""One row per part of a document, in order; `body` is base64."""

PART_BYTES = 30_000
"""A part fits in a cell of any segment (`limits.cell_bytes_max`) as base64."""

_KINDS = frozenset(map(str, DocumentKind))

_COLUMNS = {name: dtype == pl.String for name, dtype in DOCUMENT_SCHEMA.items()}


class TrustSealer:
    """Seals what was imported here, whenever it changed; one instance per exchange zone."""

    def __init__(
        self,
        *,
        index: Index,
        ledger: Ledger,
        shelf: Shelf,
        read: ReadHeader,
        local: Callable[[], Sequence[TrustDocument]],
        topics: Callable[[], Sequence[str]],
        seal: SealHeader,
        epoch: Callable[[], int],
        now: Now,
    ) -> None:
        self._index, self._ledger, self._shelf, self._read = index, ledger, shelf, read
        self._local, self._topics = local, topics
        self._seal, self._epoch, self._now = seal, epoch, now

    def step(self) -> bool:
        """Seal on every topic whose newest batch is not of today's documents; whether any was."""
        documents = self._local()
        if not documents:
            return False
        word = "trust-" + _fingerprint(documents)[:24]
        due = [topic for topic in self._topics() if self._last_word(topic) != word]
        for topic in due:
            self._seal_on(topic, documents, word)
        return bool(due)

    def _last_word(self, topic: str) -> str:
        """The run of the newest batch of a topic: it names the documents in it."""
        stream = StreamId(self._index.me, topic)
        head = self._index.head(stream)
        sealed = self._index.batch(stream, head.seq, head.head) if head.seq else None
        return self._read(sealed).header.run if sealed else ""

    def _seal_on(self, topic: str, documents: Sequence[TrustDocument], word: str) -> None:
        stream = StreamId(self._index.me, topic)
        rows = [row for document in documents for row in _rows(document)]
        frame = pl.DataFrame(rows, schema=DOCUMENT_SCHEMA)
        sha256, size = self._shelf.write(frame)
        sealer = StreamSealer(
            self._index.head(stream),
            incarnation=self._index.incarnation(),
            epoch=self._epoch(),
            seal=self._seal,
            now=self._now,
        )
        sealed = sealer.next(
            Kind.SNAPSHOT, segments=[SegmentRef(TRUST, sha256, size, frame.height)], run=word
        )
        hit(SEAL_BEFORE)
        self._ledger.record(acts.sealed(sealed))
        hit(SEALED)


def _fingerprint(documents: Sequence[TrustDocument]) -> str:
    """SHA-256 over the documents' own hashes, in order."""
    hashes = sorted(hashlib.sha256(d.body).hexdigest() for d in documents)
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


class TrustHandler:
    """Takes in the documents of batches that pass here."""

    def __init__(self, *, ledger: Ledger, shelf: Shelf, inspector: Inspector, trust: Trust) -> None:
        self._ledger, self._shelf, self._inspector, self._trust = ledger, shelf, inspector, trust

    def wants(self, stream: StreamId) -> bool:
        """Both topics."""
        return stream.topic in (TRUST, TRUST_UP)

    def apply(self, stream: StreamId, batches: Sequence[VerifiedBatch]) -> bool:
        """The newest batch holds all its origin has to say: the ones before it are passed by with it.

        Raises UnacceptableError where it holds no documents.
        """
        last = batches[-1]
        documents = [document for ref in last.header.segments for document in self._documents(last, ref)]
        hit(LEARN_BEFORE)
        self._trust.learn(documents, str(stream.origin), acts.skipped(stream, last.header.seq, last.head))
        hit(LEARNED)
        return True

    def _documents(self, batch: VerifiedBatch, ref: SegmentRef) -> list[TrustDocument]:
        """The rows of a segment, read only once they were looked at."""
        thing, seq = f"{batch.header.stream}#{batch.header.seq}", batch.header.seq
        objection = self._inspector.objection(ref, _COLUMNS)
        if objection:
            raise UnacceptableError(thing, expected="trust documents", got=objection, seq=seq)
        try:
            return list(_documents(self._shelf.read(ref.sha256)))
        except (ValueError, TypeError) as exc:
            raise UnacceptableError(thing, expected="trust documents", got=quoted(str(exc)), seq=seq) from exc


def _rows(document: TrustDocument) -> Iterator[dict[str, object]]:
    """A document as rows, one per part."""
    for part, at in enumerate(range(0, len(document.body), PART_BYTES)):
        yield {
            "kind": str(document.kind),
            "name": document.name,
            "number": document.number,
            "part": part,
            "body": b64encode(document.body[at : at + PART_BYTES]).decode("ascii"),
        }


def _documents(frame: pl.DataFrame) -> Iterator[TrustDocument]:
    """Documents out of the rows of a segment, without kinds only a later release knows; ValueError for other rows."""
    for (kind, name, number), rows in groupby(frame.iter_rows(), key=lambda row: row[:3]):
        if kind not in _KINDS:
            continue
        yield TrustDocument(
            DocumentKind(kind), name, number, b"".join(b64decode(row[4], validate=True) for row in rows)
        )
