"""A small standard, and a library over a real store and shelf to which submissions are applied as acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

import jinbao
from jinbao.journal.ledger import Ledger
from jinbao.journal.segments import SegmentShelf
from jinbao.library.room import Library, LibraryProjection
from jinbao.model import acts
from jinbao.model.acts import SegmentUse
from jinbao.model.batch import Kind, TableTotals
from jinbao.model.standard import Item, ItemType, Limits, Standard, Table
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.store.engine import Store
from jinbao.store.files import Files
from jinbao.store.migrations import upgrade

AT, PERIOD = "2024-11-05T00:00:00.000Z", "202410"

Row = tuple[str | None, int | None]
"""Name and amount of one person."""


def _item(code: str, kind: ItemType, *, personal: bool = False) -> Item:
    return Item(code, code, code, kind, 40, personal=personal)


def _table(name: str, key: tuple[str, ...]) -> Table:
    items = (
        _item("AAC001", ItemType.TEXT),
        _item("AAE003", ItemType.MONTH),
        _item("AAC003", ItemType.TEXT, personal=True),
        _item("AAE180", ItemType.AMOUNT),
    )
    return Table(name, name, name, items, key, (), (), Limits(10, 100, 0.5))


STANDARD = Standard(
    "pay", "1.0", "", "", 202401, (_table("person", ("AAC001", "AAE003")), _table("other", ("AAC001",))), {}
)
PERSON = STANDARD.table("person")
SCHEMA = {"AAC001": pl.String(), "AAE003": pl.Int64(), "AAC003": pl.String(), "AAE180": pl.Int64()}


def frame(rows: Mapping[str, Row | None]) -> pl.DataFrame:
    """A segment of rows by key; a row that is None is deleted."""
    lines = [(key, 202410, *(row or (None, None)), "D" if row is None else "U") for key, row in rows.items()]
    return pl.DataFrame(lines, schema=SCHEMA | {"op": pl.String()}, orient="row")


@dataclass
class Applied:
    """A library room with its ledger; submissions are numbered per origin."""

    store: Store
    shelf: SegmentShelf
    ledger: Ledger
    library: Library
    seqs: dict[str, int]

    def apply(self, origin: str, kind: Kind, *slices: Mapping[str, Row | None], table: str = "person") -> int:
        """Apply one submission of a table, its rows in one segment per slice; returns its seq."""
        first = self.seqs.get(origin, 0) + 1
        uses = []
        for at, rows in enumerate(slices):
            sha256, size = self.shelf.write(frame(rows))
            uses.append(SegmentUse(first + at, kind, table, sha256, len(rows), size))
        self.seqs[origin] = first + len(uses)
        self._record(origin, first, uses, table)
        return self.seqs[origin]

    def _record(self, origin: str, first: int, uses: Sequence[SegmentUse], table: str) -> None:
        self.ledger.record(
            acts.applied(
                stream=stream_of(origin),
                first=first,
                seq=self.seqs[origin],
                head=f"{self.seqs[origin]:064x}",
                library=STANDARD.library,
                standard=STANDARD.id,
                period=PERIOD,
                segments=uses,
                tables=[TableTotals(table, 1, "d" * 64, {})],
            )
        )


def stream_of(origin: str) -> StreamId:
    """The stream of the library that a city seals."""
    return StreamId(Endpoint(origin, Zone.PRODUCTION), STANDARD.library)


def open_library(url: str, directory: Path) -> Applied:
    """An empty library."""
    shelf = SegmentShelf(directory / "segments", Files())
    store = Store(url, directory / "stage")
    rooms = Path(jinbao.__file__).parent
    upgrade(store.writer, [rooms / room / "migrations" for room in ("journal", "library")])
    standards = {STANDARD.library: STANDARD}
    projection = LibraryProjection(standards, shelf)
    projection.ensure(store)
    return Applied(store, shelf, Ledger(store, (projection,), lambda: AT), Library(store, standards), {})
