"""Passage 过关: a received submission on its way into the library, past decoder and gate while it is written.

The database copies rows of one segment while the next is decoded elsewhere and judged.
What is not acceptable stops the writing, which is then rolled back, and all the rest is
judged nevertheless: whoever sealed it learns everything at once. Writes nothing itself.

Invariant: `settle` lets nothing be committed of which not every segment has passed.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing

import polars as pl

from jinbao.flow.ports import Ahead, Inspector, Received
from jinbao.model.batch import SegmentRef
from jinbao.model.standard import Standard

_HURRY_S, _HURRY_S_PER_ROW = 5.0, 1e-5
"""What decoding a whole submission may take while its transaction is open: eight times what was measured.

Whoever sends segments that decode for minutes would keep everybody out of the database as long:
they are decoded before another transaction is opened."""


class BarredError(Exception):
    """Rows are not acceptable, or not known to be: what is written of them is to be taken back."""


class Passage:
    """One submission's segments of each table, in the order they are applied; each is judged once."""

    def __init__(
        self,
        standard: Standard,
        refs: Sequence[SegmentRef],
        *,
        inspector: Inspector,
        received: Received,
        ahead: Ahead,
    ) -> None:
        self._standard, self._refs = standard, tuple(refs)
        self._inspector, self._received, self._ahead = inspector, received, ahead
        self._unseen = set(range(len(self._refs)))
        self._is_whole = not self._refs
        self._left_s = _HURRY_S + _HURRY_S_PER_ROW * sum(ref.rows for ref in self._refs)
        self._begun: list[Generator[pl.DataFrame]] = []

    def begin(self) -> None:
        """Have the first segment decoded, so that a decoder runs before a transaction is open."""
        for ref in self._refs[:1]:
            self._inspector.objection(ref, self._columns(ref))

    def rows(self, table: str) -> Iterator[pl.DataFrame]:
        """The rows of a table's segments, in order, each segment once it passed; those that passed before are read again.

        Raises BarredError at the first that does not pass, and at the end of all where rules across rows
        find something.
        """
        places = [at for at, ref in enumerate(self._refs) if ref.table == table]
        unseen = [at for at in places if at in self._unseen]
        if not unseen:
            return (self._received.read(self._refs[at].sha256) for at in places)
        assert unseen == places, "a table is read to its end, or taken back"
        passing = self._ahead(self._passed(places), "judge")
        self._begun.append(passing)
        return passing

    def settle(self) -> None:
        """Raise BarredError unless everything passed."""
        if not self._is_whole:
            raise BarredError

    def objection(self) -> str:
        """Why the submission is not acceptable, all of it judged; empty when it is."""
        self.close()
        with closing(self._ahead(self._inspected(sorted(self._unseen)), "inspect")) as inspected:
            for at, reason in inspected:
                if reason:
                    return reason
                self._look(at)
        reason = self._received.objection()
        self._is_whole = not reason
        return reason

    def close(self) -> None:
        """End what is still being read."""
        while self._begun:
            self._begun.pop().close()

    def _passed(self, places: Sequence[int]) -> Iterator[pl.DataFrame]:
        """Rows segment by segment, as long as they pass."""
        with closing(self._ahead(self._inspected(places, is_hurried=True), "inspect")) as inspected:
            for at, reason in inspected:
                rows = None if reason else self._look(at)
                if rows is None:
                    raise BarredError
                yield rows
        if not self._unseen:
            if self._received.objection():
                raise BarredError
            self._is_whole = True

    def _look(self, at: int) -> pl.DataFrame | None:
        ref = self._refs[at]
        rows = self._received.look(self._standard.table(ref.table), ref.sha256)
        self._unseen.discard(at)
        return rows

    def _inspected(self, places: Sequence[int], *, is_hurried: bool = False) -> Iterator[tuple[int, str]]:
        """Each segment, and why it may not be read in this process. Hurried raises BarredError when that takes long."""
        for at in places:
            ref = self._refs[at]
            found = self._hurried(ref) if is_hurried else self._inspector.objection(ref, self._columns(ref))
            yield at, f"table {ref.table}: {found}" if found else ""

    def _columns(self, ref: SegmentRef) -> Mapping[str, bool]:
        return self._standard.table(ref.table).segment_columns

    def _hurried(self, ref: SegmentRef) -> str:
        began = time.monotonic()
        try:
            return self._inspector.objection(ref, self._columns(ref), self._left_s)
        except TimeoutError as exc:
            raise BarredError from exc
        finally:
            self._left_s = max(0.0, self._left_s - (time.monotonic() - began))
