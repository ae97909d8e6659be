"""Receipts 回执 on their way down: due ones are sealed in batches, others' are filed as they pass.

A receipts batch has the node the receipts are for as its audience, so it reaches that
node alone, by the only path there is. Its segment has a canonical digest, so that one
receipt is proved without the others beside it. What a receipt says was accepted is compared
with what stands at that place here: `witness`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import polars as pl

from jinbao.flow.ports import Index, Ledger, Now, Observer, SealHeader, Shelf
from jinbao.flow.sealing import StreamSealer
from jinbao.flow.witness import Witness
from jinbao.model import acts
from jinbao.model.batch import Kind, SegmentRef, VerifiedBatch
from jinbao.model.failpoint import declare, hit
from jinbao.model.receipt import RECEIPT_COLUMNS, RECEIPT_KEY, Receipt, topic_of
from jinbao.model.stream import NOTICES, RECEIPTS, StreamId
from jinbao.trust.digest import digest

SEAL_BEFORE = declare("receipts.before_seal", "due receipts are in a durable segment, no batch is sealed")
SEALED = declare("receipts.after_seal", "due receipts are sealed in the journal, nobody fetched them")
KEEP_BEFORE = declare("receipts.before_keep", "receipts that pass are accepted, not filed")
KEPT = declare("receipts.after_keep", "receipts that passed are filed and the mark moved")

_SCHEMA = {name: pl.Int64() if name in {"seq", "rows"} else pl.String() for name in RECEIPT_COLUMNS}


class ReceiptSealer:
    """Seals due receipts, one batch per node they are for."""

    def __init__(
        self,
        *,
        index: Index,
        ledger: Ledger,
        shelf: Shelf,
        seal: SealHeader,
        epoch: int,
        now: Now,
        receipts_max: int,
    ) -> None:
        self._index, self._ledger, self._shelf = index, ledger, shelf
        self._seal, self._epoch, self._now = seal, epoch, now
        self._receipts_max = receipts_max

    def step(self) -> bool:
        """Seal the oldest due receipts; whether there were any."""
        due = self._index.receipts_due(self._receipts_max)
        batches: dict[StreamId, list[tuple[int, Receipt]]] = {}
        for lsn, audience, receipt in due:
            stream = StreamId(self._index.me, topic_of(receipt.stage), audience)
            batches.setdefault(stream, []).append((lsn, receipt))
        for stream in sorted(batches):
            self._seal_for(stream, batches[stream])
        return bool(due)

    def _seal_for(self, stream: StreamId, chosen: Sequence[tuple[int, Receipt]]) -> None:
        frame = pl.DataFrame([_row(receipt) for _, receipt in chosen], schema=_SCHEMA)
        sha256, size = self._shelf.write(frame)
        sealer = StreamSealer(
            self._index.head(stream),
            incarnation=self._index.incarnation(),
            epoch=self._epoch,
            seal=self._seal,
            now=self._now,
        )
        root = digest([frame], RECEIPT_COLUMNS, RECEIPT_KEY).root
        ref = SegmentRef(RECEIPTS, sha256, size, frame.height, root)
        sealed = sealer.next(Kind.CHANGE, segments=[ref])
        hit(SEAL_BEFORE)
        self._ledger.record(acts.sealed(sealed, receipts=[lsn for lsn, _ in chosen]))
        hit(SEALED)


def _row(receipt: Receipt) -> dict[str, object]:
    return asdict(receipt) | {
        "receiver": str(receipt.receiver),
        "stream": str(receipt.stream),
        "stage": str(receipt.stage),
    }


class ReceiptHandler:
    """Files the receipts that pass here, for this node and for those below."""

    def __init__(self, *, index: Index, ledger: Ledger, shelf: Shelf, observer: Observer) -> None:
        self._ledger = ledger
        self._witness = Witness(index=index, shelf=shelf, observer=observer)

    def wants(self, stream: StreamId) -> bool:
        """Every stream of receipts, notices among them."""
        return stream.topic in {RECEIPTS, NOTICES}

    def apply(self, stream: StreamId, batches: Sequence[VerifiedBatch]) -> bool:
        """File all batches in one transaction, with what they contradict."""
        last = batches[-1]
        segments = [ref.sha256 for batch in batches for ref in batch.header.segments]
        heard = self._witness.hear(batches)
        hit(KEEP_BEFORE)
        self._ledger.record(
            acts.receipts_kept(stream, last.header.seq, last.head, segments), *self._witness.holds(heard)
        )
        hit(KEPT)
        self._witness.tell(heard)
        return True
