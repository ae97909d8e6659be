"""Judging: conversion and gate over captured tables and over received segments, part by part.

Wiring of pure rooms to the shelf: which columns are read, how many rows at once, and how
many parts are worked on while one is written. What is right is decided in `conversion`
and `quality`; what becomes of it, in `flow`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import polars as pl

from jinbao.conversion.convert import TableConversion
from jinbao.flow.comparing import DELETE, OP, UPSERT
from jinbao.flow.ports import JudgedPart
from jinbao.journal.segments import SegmentShelf
from jinbao.model.acts import CapturedTable
from jinbao.model.finding import Scope
from jinbao.model.mapping import LibraryMapping, TableMapping
from jinbao.model.standard import Standard, Table
from jinbao.quality.gate import Broken, across_columns, judge, judge_across
from jinbao.quality.rules import Context
from jinbao.quarantine.room import FINDING_COLUMNS, ROW_COLUMNS
from jinbao.source.decode import UNDECODABLE

PART_ROWS = 32_768
"""Rows converted and judged at once: enough that a column is worth its call, few enough for many columns."""

WORKERS = 2
"""Parts worked on at once by each step: what bounds memory, beside the part that is written."""

T = TypeVar("T")
R = TypeVar("R")


class ConvertAndJudge:
    """Conversion and gate as flow's `Judge`."""

    def __init__(self, mappings: Mapping[str, LibraryMapping], shelf: SegmentShelf) -> None:
        self._mappings, self._shelf = mappings, shelf

    def judging(self, standard: Standard, period: str, tables: Sequence[CapturedTable]) -> CapturedLibrary:
        """Begin to convert and judge one library for a period."""
        return CapturedLibrary(standard, self._mappings[standard.library], period, self._shelf, tables)

    def objection(self, standard: Standard, period: str, segments: Mapping[str, Sequence[str]]) -> str:
        """Why received rows are not acceptable: rows that neither upsert nor delete, or that break a rule."""
        received = ReceivedLibrary(standard, int(period), self._shelf, segments)
        found = (received.objection(table) for table in standard.tables if table.id in segments)
        return next(filter(None, found), "")


@dataclass(frozen=True)
class _First:
    """What is known of a table before its parts: its conversion, and what rules across rows found."""

    conversion: TableConversion
    across: Sequence[Broken]


class CapturedLibrary:
    """One library's captured tables on their way through the gate: flow's `Judging`."""

    def __init__(
        self,
        standard: Standard,
        mapping: LibraryMapping,
        period: str,
        shelf: SegmentShelf,
        tables: Sequence[CapturedTable],
    ) -> None:
        self._standard, self._period, self._shelf = standard, int(period), shelf
        self._mappings = {one.table: one for one in mapping.tables}
        self._files: dict[str, list[str]] = {}
        for table in tables:
            self._files.setdefault(table.table, []).append(table.current)
        self._context = Context(self._period, {})
        self._first: dict[str, _First] = {}
        self._prepare()

    def _prepare(self) -> None:
        """Convert what rules across rows look at, of all rows of all tables, and judge by these rules."""
        needed = across_columns(self._standard)
        frames, barred = dict[str, pl.DataFrame](), dict[str, pl.DataFrame]()
        conversions = {table.id: self._conversion(table) for table in self._standard.tables}
        for table in self._standard.tables:
            items = needed[table.id]
            if items:
                parts = [
                    conversions[table.id].records(rows, items)
                    for rows in self._slices(self._mappings[table.id], items)
                ]
                frames[table.id] = pl.concat(records for records, _ in parts)
                barred[table.id] = pl.concat(findings for _, findings in parts)
        self._context = Context(self._period, frames)
        for table in self._standard.tables:
            across: Sequence[Broken] = ()
            if table.id in frames:
                lists = self._standard.code_lists
                across = judge_across(table, frames[table.id], lists, self._context, barred=barred[table.id])
            self._first[table.id] = _First(conversions[table.id], across)

    def _conversion(self, table: Table) -> TableConversion:
        one = self._mappings[table.id]
        columns = {name: set(found) for name, found in one.joined_tables().items()}
        del columns[one.parts[0].table]
        for name, found in one.counted_tables().items():
            columns.setdefault(name, set()).update(found)
        sources = {name: pl.concat(self._read(name, found)) for name, found in columns.items()}
        return TableConversion(one, table, self._period, sources)

    def _read(self, name: str, columns: Collection[str]) -> Iterator[pl.DataFrame]:
        """The newest capture of a business table, all sources of the city one below the other."""
        for sha256 in self._files[name]:
            yield pl.read_parquet(self._shelf.open_path(sha256), columns=[*sorted(columns), UNDECODABLE])

    def _slices(self, one: TableMapping, items: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        """The first business table of a mapping in parts, with the columns that give `items`; one part at least."""
        name = one.parts[0].table
        narrowed = TableMapping(
            one.table, one.parts, tuple(c for c in one.columns if items is None or c.item in items)
        )
        columns = [*sorted(narrowed.joined_tables()[name]), UNDECODABLE]
        for sha256 in self._files[name]:
            lazy = pl.scan_parquet(self._shelf.open_path(sha256)).select(columns)
            rows = lazy.select(pl.len()).collect().item()
            for first in range(0, max(rows, 1), PART_ROWS):
                yield lazy.slice(first, PART_ROWS).collect()

    def parts(self, table: Table) -> Iterator[JudgedPart]:
        """A table part by part, in the order of its source; some are worked on while one is taken."""
        yield from _ahead(lambda part: self._judged(table, *part), self._converted(table))

    def _converted(self, table: Table) -> Iterator[tuple[pl.DataFrame, pl.DataFrame, list[Broken]]]:
        """Records of each part, findings of conversion, and what rules across rows found in them."""
        known, done = self._first[table.id], 0
        for records, findings in _ahead(known.conversion.records, self._slices(self._mappings[table.id])):
            yield records, findings, [broken.slice(done, records.height) for broken in known.across]
            done += records.height

    def _judged(
        self, table: Table, records: pl.DataFrame, findings: pl.DataFrame, across: Sequence[Broken]
    ) -> JudgedPart:
        lists = self._standard.code_lists
        judged = judge(table, records, lists, self._context, across=across, barred=findings)
        stopped = judged.quarantined.select(
            pl.lit(table.id).alias("table"),
            pl.col("key"),
            pl.struct(pl.exclude("key")).struct.json_encode().alias("row"),
        )
        return JudgedPart(records.height, stopped.height, judged.passed, stopped, judged.findings)

    def report(self, parts: Sequence[tuple[pl.DataFrame, pl.DataFrame]]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Quarantine and findings of all parts together; `n` tells rows of one key, and findings, apart."""
        rows = pl.concat(quarantine for quarantine, _ in parts)
        number = pl.int_range(pl.len()).over("table", "key").cast(pl.Int64)
        findings = pl.concat(found for _, found in parts).with_row_index("n")
        return (
            rows.with_columns(number.alias("n")).select(ROW_COLUMNS),
            findings.with_columns(pl.col("n").cast(pl.Int64)).select(FINDING_COLUMNS),
        )


def _ahead(work: Callable[[T], R], things: Iterator[T]) -> Iterator[R]:
    """The work on each thing, in order, a few of them done before they are asked for."""
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="judge") as pool:
        begun: deque[Future[R]] = deque()
        for thing in things:
            begun.append(pool.submit(work, thing))
            if len(begun) > WORKERS:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


class ReceivedLibrary:
    """A received submission before the gate, by its segments of each table."""

    def __init__(
        self, standard: Standard, period: int, shelf: SegmentShelf, segments: Mapping[str, Sequence[str]]
    ) -> None:
        self._standard, self._shelf, self._segments = standard, shelf, segments
        self._context, self._scopes = Context(period, {}), frozenset({Scope.ROW, Scope.BATCH})

    def objection(self, table: Table) -> str:
        """Rows of an unknown op, or rows that break row or batch rules; a city's gate let none of them through."""
        broken, rules = 0, set[str]()
        across, done = self._across(table), 0
        for sha256 in self._segments[table.id]:
            rows = self._shelf.read(sha256)
            odd = rows.filter(~pl.col(OP).is_in([UPSERT, DELETE]).fill_null(value=False)).height
            if odd:
                return f"table {table.id}: expected rows with op {UPSERT} or {DELETE}, got {odd} with another"
            upserts = rows.filter(pl.col(OP) == UPSERT)
            mine = [found.slice(done, upserts.height) for found in across]
            done += upserts.height
            judged = judge(
                table, upserts, self._standard.code_lists, self._context, across=mine, scopes=self._scopes
            )
            broken += judged.quarantined.height
            rules |= set(judged.findings.get_column("rule"))
        if broken:
            got = f"{broken} that break {', '.join(sorted(rules))}"
            return f"table {table.id}: expected rows that pass {self._standard.id}, got {got}"
        return ""

    def _across(self, table: Table) -> Sequence[Broken]:
        """What rules across the rows of the submission find, of its upserts in order."""
        items = sorted(across_columns(self._standard, self._scopes)[table.id])
        if not items:
            return ()
        files = [self._shelf.open_path(sha256) for sha256 in self._segments[table.id]]
        parts = [pl.read_parquet(file, columns=[*items, OP]) for file in files]
        upserts = pl.concat(parts).filter(pl.col(OP) == UPSERT).drop(OP)
        return judge_across(table, upserts, self._standard.code_lists, self._context, scopes=self._scopes)
