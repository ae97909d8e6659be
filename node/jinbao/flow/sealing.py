"""Sealing: the next header of one of our own streams, chained to the one before.

Holds the chain in memory only while one act is prepared; what is durable is recorded by
the caller together with everything the batches mean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from jinbao.flow.ports import Now, SealHeader
from jinbao.model.batch import Header, JournalCut, Kind, Manifest, SealedBatch, SegmentRef
from jinbao.model.stream import Mark


class StreamSealer:
    """Seals batches after `last`, the newest header of the stream; `identity` is ours now."""

    def __init__(self, last: Mark, *, incarnation: str, epoch: int, seal: SealHeader, now: Now) -> None:
        self._last = last
        self._incarnation = incarnation
        self._epoch = epoch
        self._seal = seal
        self._now = now

    @property
    def seq(self) -> int:
        """The seq of the newest batch sealed."""
        return self._last.seq

    def next(
        self,
        kind: Kind,
        *,
        segments: Sequence[SegmentRef] = (),
        manifest: Manifest | None = None,
        run: str = "",
        slice_index: int = 0,
        slices: int = 1,
        period: str = "",
        standard: str = "",
        replaces: Sequence[int] = (),
        cut: JournalCut | None = None,
    ) -> SealedBatch:
        """Seal the next batch; the first of a new incarnation or epoch names what it continues."""
        last = self._last
        moved = last.seq > 0 and (last.incarnation, last.epoch) != (self._incarnation, self._epoch)
        sealed = self._seal(
            Header(
                stream=last.stream,
                seq=last.seq + 1,
                incarnation=self._incarnation,
                epoch=self._epoch,
                previous=last.head,
                kind=kind,
                made_at=self._now(),
                run=run,
                slice_index=slice_index,
                slices=slices,
                period=period,
                standard=standard,
                replaces=tuple(replaces),
                segments=tuple(segments),
                manifest=manifest,
                continues=last if moved else None,
                cut=cut,
            )
        )
        head = hashlib.sha256(sealed.payload).hexdigest()
        self._last = replace(
            last, incarnation=self._incarnation, epoch=self._epoch, seq=last.seq + 1, head=head
        )
        return sealed
