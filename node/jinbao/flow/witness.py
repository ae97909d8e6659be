"""Witness: receipts that pass are held against this zone's own journal (clause 2.8).

Who shows one head to the province and another to the ministry is seen by everybody through
whose journal the receipts of both come down. The origin keeps what it finds as a hold on
its own stream, which stops nothing and waits for a person; a tier between tells. Believes a
receipt only of the receiver that sealed it, and files nothing: that is the handler's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinbao.flow.ports import Index, Observer, Shelf
from jinbao.model import acts
from jinbao.model.acts import Act
from jinbao.model.batch import SealedBatch, VerifiedBatch
from jinbao.model.errors import LASTING, RollbackError, SplitViewError, UnprovableError
from jinbao.model.receipt import Stage
from jinbao.model.stream import Mark, StreamId


@dataclass(frozen=True, slots=True)
class Heard:
    """What a receipt says of one place, the batch that carries it, and what is wrong with it, if anything."""

    shown: Mark
    stage: str
    reason: str
    carrier: VerifiedBatch
    contradiction: UnprovableError | None


class Witness:
    """Compares what receivers say they were shown with what stands here."""

    def __init__(self, *, index: Index, shelf: Shelf, observer: Observer) -> None:
        self._index, self._shelf, self._observer = index, shelf, observer

    def hear(self, batches: Sequence[VerifiedBatch]) -> list[Heard]:
        """Every receipt that names a place, judged."""
        return [
            one
            for batch in batches
            for ref in batch.header.segments
            for row in self._shelf.read(ref.sha256).iter_rows(named=True)
            if (one := self._heard(row, batch)) is not None
        ]

    def _heard(self, row: dict[str, Any], batch: VerifiedBatch) -> Heard | None:
        shown, stage, reason = _shown(row, batch), str(row.get("stage")), str(row.get("reason") or "")
        if shown is None:
            return None
        taken_back = stage == Stage.HELD and not reason
        return Heard(shown, stage, reason, batch, None if taken_back else self._contradiction(shown))

    def holds(self, heard: Sequence[Heard]) -> list[Act]:
        """Holds on streams of this zone that a receiver knows otherwise, the first of each stream not held yet."""
        known = {stream for stream, (_, code, _) in self._index.held().items() if code in LASTING}
        found: list[Act] = []
        for one in heard:
            stream, wrong = one.shown.stream, one.contradiction
            if wrong is not None and stream.origin == self._index.me and stream not in known:
                known.add(stream)
                reason = f"{wrong}; said by {one.carrier.header.stream.origin}"
                evidence = [*self._ours(one.shown), one.carrier.sealed]
                found.append(acts.held(stream, one.shown.seq, wrong.code, reason, evidence))
        return found

    def tell(self, heard: Sequence[Heard]) -> None:
        """Raise the alarm for every contradiction, and for every stream a receiver holds; tell what it released."""
        for one in heard:
            if one.contradiction is not None:
                self._tell(one, kind=one.contradiction.code, reason=str(one.contradiction))
            if one.stage == Stage.HELD and one.reason:
                self._tell(one, kind="told", reason=one.reason)
            elif one.stage == Stage.HELD:
                self._observer.event("stream_released", **_place(one))

    def _tell(self, one: Heard, **values: str) -> None:
        self._observer.event("equivocation_found", **_place(one), **values)

    def _contradiction(self, shown: Mark) -> UnprovableError | None:
        """What is wrong if a receiver was shown `shown`; None if it is what stands here, or of a lost store."""
        stream, seq = shown.stream, shown.seq
        ours = self._index.place(stream, shown.incarnation, seq)
        if ours is not None and ours.head != shown.head:
            return SplitViewError(
                f"{stream}#{seq}",
                expected=f"head {ours.head[:12]} to be shown to every receiver",
                got=shown.head[:12],
                next_step="jinbao line proof",
            )
        newest = self._index.head(stream)
        lost = shown.incarnation == self._index.incarnation() and seq > newest.seq
        if ours is None and stream.origin == self._index.me and lost:
            return RollbackError(
                str(stream),
                expected=f"batch {newest.seq} to be the newest, as it is here",
                got=f"batch {seq} as sealed here before",
                next_step="this store is older than what it has sealed: jinbao line proof",
            )
        return None

    def _ours(self, shown: Mark) -> list[SealedBatch]:
        """Our own header at that place, or our newest if there is none."""
        newest = self._index.head(shown.stream)
        ours = self._index.place(shown.stream, shown.incarnation, shown.seq) or newest
        found = self._index.batch(shown.stream, ours.seq, ours.head)
        return [found] if found is not None else []


def _place(one: Heard) -> dict[str, Any]:
    """Who says it of which batch, as events name them."""
    receiver = str(one.carrier.header.stream.origin)
    return {"receiver": receiver, "stream": str(one.shown.stream), "seq": one.shown.seq}


def _shown(row: dict[str, Any], batch: VerifiedBatch) -> Mark | None:
    """The place and head a receipt speaks of; None if it names no incarnation, or is another's than the sealer's."""
    if not row.get("incarnation") or row.get("receiver") != str(batch.header.stream.origin):
        return None
    try:
        stream = StreamId.parse(str(row.get("stream")))
    except ValueError:  # a stream only a later release can name
        return None
    return Mark(stream, str(row["incarnation"]), 0, int(row.get("seq") or 0), str(row.get("head")))
