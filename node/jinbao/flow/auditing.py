"""Sealing the audit trail: its head becomes a batch of the zone's own stream, so that a later rewriting is found.

A head is a manifest: so many entries there ever were, the newest with this hash. A head that
permits a cut says so too, and is recorded in one transaction with the cut. Batches carry no
segment; only the backup site may follow them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from jinbao.flow.ports import Index, Ledger, Now, SealHeader
from jinbao.flow.sealing import StreamSealer
from jinbao.model import acts
from jinbao.model.audit import CUT_TABLE, ENTRY_TABLE
from jinbao.model.batch import Kind, Manifest, SealedBatch, TableTotals
from jinbao.model.stream import AUDIT, StreamId
from jinbao.trust.encoding import decode_header


class Trail(Protocol):
    """What of the audit room is sealed."""

    def head(self) -> tuple[int, str]:
        """Number and hash of the newest entry."""
        ...

    def cut_away(self) -> tuple[int, str]:
        """Number and hash of the last entry that was cut away."""
        ...

    def older_than(self, moment: str) -> tuple[int, str]:
        """Number and hash of the last entry before the first one made at `moment` or later."""
        ...


class HeadSealer:
    """Seals heads of one zone's trail, and cuts what is older than it must be kept."""

    def __init__(
        self,
        *,
        index: Index,
        ledger: Ledger,
        trail: Trail,
        seal: SealHeader,
        epoch: Callable[[], int],
        backup: str,
        now: Now,
    ) -> None:
        self._index, self._ledger, self._trail = index, ledger, trail
        self._seal, self._epoch, self._now = seal, epoch, now
        self.stream = StreamId(index.me, AUDIT, backup)
        self._last: tuple[int, int] = (0, 0)  # seq of the newest head and the number it seals, once read

    def unsealed(self) -> int:
        """How many entries no head covers yet."""
        return self._trail.head()[0] - self.sealed()

    def sealed(self) -> int:
        """The number of the newest entry a head covers; 0 if none does."""
        seq = self._index.head(self.stream).seq
        if seq != self._last[0]:
            batch = self._index.batch(self.stream, seq)
            assert batch is not None, "the newest header of a stream is held"
            manifest = decode_header(batch.payload).manifest
            assert manifest is not None, "a head is a manifest"
            self._last = seq, manifest.tables[0].rows
        return self._last[1]

    def step(self) -> bool:
        """Seal the head unless it is sealed; whether there was anything to seal."""
        if not self.unsealed():
            return False
        self._ledger.record(acts.sealed(self._head(*self._trail.cut_away())))
        return True

    def cut(self, before: str) -> int:
        """Cut entries made before a moment, under a sealed head that says so; how many went."""
        number, digest = self._trail.older_than(before)
        gone = self._trail.cut_away()[0]
        if number <= gone:
            return 0
        self._ledger.record(acts.sealed(self._head(number, digest)), acts.audit_cut(number, digest))
        return number - gone

    def _head(self, cut: int, cut_hash: str) -> SealedBatch:
        number, digest = self._trail.head()
        totals = [TableTotals(ENTRY_TABLE, number, digest)]
        if cut:
            totals.append(TableTotals(CUT_TABLE, cut, cut_hash))
        sealer = StreamSealer(
            self._index.head(self.stream),
            incarnation=self._index.incarnation(),
            epoch=self._epoch(),
            seal=self._seal,
            now=self._now,
        )
        return sealer.next(Kind.MANIFEST, manifest=Manifest(sealer.seq + 1, tuple(totals)))
