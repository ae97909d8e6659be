"""Receipts 回执 on their way down: due ones are sealed in batches, others' are filed as they pass.

A receipts batch has the node the receipts are for as its audience, so it reaches that
node alone, by the only path there is. Its segment has a canonical digest, so that one
receipt is proved without the others beside it. What a receipt says was accepted is compared
with what stands at that place here: `witness`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from jinbao.flow.ports import Index, Inspector, Ledger, Now, Observer, SealHeader, Shelf
from jinbao.flow.sealing import StreamSealer
from jinbao.flow.witness import Witness
from jinbao.model import acts
from jinbao.model.batch import Kind, SegmentRef, VerifiedBatch
from jinbao.model.errors import UnacceptableError
from jinbao.model.failpoint import declare, hit
from jinbao.model.quoting import quoted
from jinbao.model.receipt import (
    REASON_CHARACTERS_MAX,
    RECEIPT_COLUMNS,
    RECEIPT_KEY,
    Receipt,
    Stage,
    topic_of,
)
from jinbao.model.stream import DOWNWARD, NOTICES, RECEIPTS, StreamId
from jinbao.model.zone import Endpoint
from jinbao.trust.digest import digest

SEAL_BEFORE = declare("receipts.before_seal", "due receipts are in a durable segment, no batch is sealed")
SEALED = declare("receipts.after_seal", "due receipts are sealed in the journal, nobody fetched them")
KEEP_BEFORE = declare("receipts.before_keep", "receipts that pass are accepted, not filed")
KEPT = declare("receipts.after_keep", "receipts that passed are filed and the mark moved")

_SCHEMA = {name: pl.Int64() if name in {"seq", "rows"} else pl.String() for name in RECEIPT_COLUMNS}


_COLUMNS = {name: dtype == pl.String for name, dtype in _SCHEMA.items()}
_COLUMNS_0_1 = {name: is_text for name, is_text in _COLUMNS.items() if name != "incarnation"}
"""Receipts of release 0.1 name no incarnation."""

_INCARNATION = re.compile(r"[0-9A-Za-z-]{0,64}")
_HASH = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9T:.+Z-]{1,40}")


class ReceiptSealer:
    """Seals due receipts, one batch per node they are for."""

    def __init__(
        self,
        *,
        index: Index,
        ledger: Ledger,
        shelf: Shelf,
        seal: SealHeader,
        epoch: Callable[[], int],
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
            epoch=self._epoch(),
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
    """Files the receipts that pass here, for this node and for those below; a batch that is none holds its stream."""

    def __init__(
        self,
        *,
        index: Index,
        ledger: Ledger,
        shelf: Shelf,
        inspector: Inspector,
        observer: Observer,
        above: Callable[[Endpoint], Sequence[Endpoint]],
    ) -> None:
        self._ledger, self._shelf, self._inspector, self._above = ledger, shelf, inspector, above
        self._witness = Witness(index=index, shelf=shelf, observer=observer)

    def wants(self, stream: StreamId) -> bool:
        """Every stream of receipts, notices among them."""
        return stream.topic in {RECEIPTS, NOTICES}

    def apply(self, stream: StreamId, batches: Sequence[VerifiedBatch]) -> bool:
        """File all batches that are receipts in one transaction, with what they contradict.

        Raises UnacceptableError at one that is not.
        """
        good = 0
        try:
            for batch in batches:
                self._check(stream, batch)
                good += 1
        finally:
            self._keep(stream, batches[:good])
        return True

    def _keep(self, stream: StreamId, batches: Sequence[VerifiedBatch]) -> None:
        if not batches:
            return
        last = batches[-1]
        segments = [ref.sha256 for batch in batches for ref in batch.header.segments]
        heard = self._witness.hear(batches)
        hit(KEEP_BEFORE)
        self._ledger.record(
            acts.receipts_kept(stream, last.header.seq, last.head, segments), *self._witness.holds(heard)
        )
        hit(KEPT)
        self._witness.tell(heard)

    def _check(self, stream: StreamId, batch: VerifiedBatch) -> None:
        """Refuse a batch whose segments cannot be read, or whose rows are not receipts of its sealer."""
        seq = batch.header.seq
        for ref in batch.header.segments:
            objection = self._inspector.objection(ref, _COLUMNS)
            if objection and self._inspector.objection(ref, _COLUMNS_0_1):
                raise UnacceptableError(f"{stream}#{seq}", expected="receipts", got=objection, seq=seq)
            for row in self._shelf.read(ref.sha256).iter_rows(named=True):
                check_receipt(row, stream, seq, self._above)


def _receives(
    sealer: Endpoint, about: StreamId, stage: str, above: Callable[[Endpoint], Sequence[Endpoint]]
) -> bool:
    """Whether a zone is one that a stream comes to, and may say this of it."""
    if sealer.node == about.origin.node or sealer in above(about.origin):
        return True
    return stage == Stage.HELD and about.topic in DOWNWARD and about.origin in above(sealer)


def check_receipt(
    row: Mapping[str, Any], stream: StreamId, seq: int, above: Callable[[Endpoint], Sequence[Endpoint]]
) -> None:
    """Refuse a row that is no receipt, or not one of the stream's own sealer for the stream's own audience.

    Raises UnacceptableError. A node that relays seals its own receipts only: it cannot
    speak for the one above it, nor to anybody beside the audience, and one beside the way is no receiver.
    What goes down is held by those below.
    """
    try:
        about = StreamId.parse(row["stream"])
        is_sound = (
            Endpoint.parse(row["receiver"]) == stream.origin
            and _receives(stream.origin, about, str(row["stage"]), above)
            and about.origin.node == stream.audience
            and row["seq"] >= 1
            and row["rows"] >= 0
            and row["stage"] in set(Stage)
            and _HASH.fullmatch(row["head"]) is not None
            and (row["digest"] == "" or _HASH.fullmatch(row["digest"]) is not None)
            and len(row["reason"]) <= REASON_CHARACTERS_MAX + 1  # a cut reason ends in a mark of its own
            and quoted(row["reason"], REASON_CHARACTERS_MAX + 1) == row["reason"]
            and _TIME.fullmatch(row["at"]) is not None
            and _INCARNATION.fullmatch(row.get("incarnation", "")) is not None
        )
    except (ValueError, TypeError) as exc:
        raise UnacceptableError(
            f"{stream}#{seq}: receipt",
            expected="text and numbers of a receipt",
            got=quoted(str(exc)),
            seq=seq,
        ) from exc
    if not is_sound:
        said = quoted(f"{row['receiver']} {row['stage']} {row['stream']}")
        raise UnacceptableError(
            f"{stream}#{seq}: receipt",
            expected=f"one of {stream.origin} for {stream.audience}",
            got=said,
            seq=seq,
        )
