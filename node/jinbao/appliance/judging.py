"""Judging: conversion and gate over captured tables and over received segments, part by part.

Wiring of pure rooms to the shelf: which columns are read, how many rows at once, and how
many parts are worked on while one is written. What is right is decided in `conversion`
and `quality`; what becomes of it, in `flow`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import polars as pl

import jinbao
from jinbao.appliance.affected import LOOK_ROWS, Captures, Meeting, Moved, TableTrace, any_of
from jinbao.conversion.convert import TableConversion
from jinbao.flow.comparing import DELETE, OP, UPSERT
from jinbao.flow.ports import Judged, JudgedPart
from jinbao.journal.segments import SegmentShelf
from jinbao.model.acts import CapturedTable
from jinbao.model.finding import FINDING_COLUMNS as FINDINGS
from jinbao.model.finding import Scope, Severity
from jinbao.model.mapping import LibraryMapping, TableMapping
from jinbao.model.standard import Standard, Table
from jinbao.quality.gate import Broken, across_columns, judge, judge_across, key_text
from jinbao.quality.rules import ACROSS, Context
from jinbao.quarantine.room import FINDING_COLUMNS, ROW_COLUMNS
from jinbao.source.decode import UNDECODABLE
from jinbao.source.kept import Look, kept
from jinbao.trust.digest import QUICK

PART_ROWS = 32_768
"""Rows converted and judged at once: enough that a column is worth its call, few enough for many columns."""

WORKERS = 1
"""Parts worked on at once by each step, beside the part that is written: two cores have no use for more."""

AFFECTED_MAX = 262_144
"""Rows judged anew at once, beside the others' findings; above it, all of the library are, part by part."""

QUARANTINE_COLUMNS = ("table", "key", "row")

T = TypeVar("T")
R = TypeVar("R")


class ConvertAndJudge:
    """Conversion and gate as flow's `Judge`."""

    def __init__(self, mappings: Mapping[str, LibraryMapping], shelf: SegmentShelf) -> None:
        self._mappings, self._shelf = mappings, shelf

    def judging(
        self, standard: Standard, period: str, tables: Sequence[CapturedTable], last: Judged | None
    ) -> CapturedLibrary:
        """Begin to convert and judge one library for a period; only what changed since `last`, where that will do."""
        return CapturedLibrary(standard, self._mappings[standard.library], period, self._shelf, tables, last)

    def received(
        self, standard: Standard, period: str, segments: Mapping[str, Sequence[str]]
    ) -> ReceivedLibrary:
        """Begin to judge received rows."""
        return ReceivedLibrary(standard, int(period), self._shelf, segments)


@dataclass(frozen=True)
class _First:
    """What is known of a table before its parts: its conversion, and what rules across rows found in its records."""

    across: Sequence[Broken]
    """Of all records, or of those affected."""
    keys: pl.Series
    """The key text of each record until it is known which are affected; none if no rule looks across."""
    conversion: TableConversion | None
    """Of all items, where all rows are judged."""


class CapturedLibrary:
    """One library's captured tables on their way through the gate: flow's `Judging`."""

    def __init__(
        self,
        standard: Standard,
        mapping: LibraryMapping,
        period: str,
        shelf: SegmentShelf,
        tables: Sequence[CapturedTable],
        last: Judged | None = None,
    ) -> None:
        self._standard, self._period, self._shelf = standard, int(period), shelf
        self._mappings = {one.table: one for one in mapping.tables}
        self.way = _way(standard, mapping)
        captures: dict[str, list[CapturedTable]] = {}
        needed = mapping.source_tables()
        for table in tables:
            if table.table in needed:
                captures.setdefault(table.table, []).append(table)
        self._files = {name: [kept(t, shelf.open_path) for t in found] for name, found in captures.items()}
        self._context = Context(self._period, {})
        self._first: dict[str, _First] = {}
        self._affected: dict[str, pl.Series] | None = None
        self._last = last
        self._prepare(captures)
        self._let_go()

    def _prepare(self, captures: Captures) -> None:
        """Say which rows are affected, and judge by the rules across rows."""
        traced = self._traced(captures)
        if traced is not None and all(keys.is_empty() for keys in traced.values()):
            self._affected = traced  # no rule, across rows or not, sees anything else than last time
            return
        self._across(is_whole=traced is None)
        if traced is None:
            return
        for table in self._standard.tables:
            keys = pl.concat([traced[table.id], self._turned(table)]).unique()
            traced[table.id] = keys
        if max(map(len, traced.values())) <= AFFECTED_MAX:
            self._affected = traced

    def _let_go(self) -> None:
        """Forget what rules across rows looked at: all rows of all tables, of which what they found is enough."""
        self._context = Context(self._period, {})
        for name, known in self._first.items():
            across = known.across
            if self._affected is not None:
                is_among = known.keys.is_in(self._affected[name].implode())
                across = [replace(broken, rows=broken.rows.filter(is_among)) for broken in across]
            self._first[name] = replace(known, across=across, keys=known.keys.clear())

    def _traced(self, captures: Captures) -> dict[str, pl.Series] | None:
        """The keys what changed leads to, by table; None if all rows are to be judged."""
        if self._last is None or self._last.way != self.way:
            return None
        moved = Moved(captures, self._shelf.open_path, self._last.run)
        traces = {table.id: self._trace(table) for table in self._standard.tables}
        if not moved.can_tell or not all(trace.can_tell for trace in traces.values()):
            return None
        if moved.count > AFFECTED_MAX:
            return None
        return {name: trace.affected(moved, self._files) for name, trace in traces.items()}

    def _trace(self, table: Table) -> TableTrace:
        return TableTrace(self._mappings[table.id], table, self._period)

    def _across(self, *, is_whole: bool) -> None:
        """Convert what rules across rows look at, of all rows of all tables, and judge by these rules."""
        needed = across_columns(self._standard)
        conversions: dict[str, TableConversion | None] = dict.fromkeys(needed)
        frames, barred = dict[str, pl.DataFrame](), dict[str, pl.DataFrame]()
        for table in self._standard.tables:
            items, one = needed[table.id], self._mappings[table.id]
            narrowed = _narrowed(one, items)
            if is_whole:
                conversions[table.id] = self._conversion(one, table)
            if items:
                conversion = conversions[table.id] or self._conversion(narrowed, table)
                parts = [conversion.records(rows, items) for rows in self._slices(narrowed)]
                frames[table.id] = pl.concat(records for records, _ in parts)
                barred[table.id] = pl.concat(findings for _, findings in parts)
        self._context = Context(self._period, frames)
        for table in self._standard.tables:
            across: Sequence[Broken] = ()
            keys = pl.Series("key", [], pl.String)
            if table.id in frames:
                lists = self._standard.code_lists
                across = judge_across(table, frames[table.id], lists, self._context, barred=barred[table.id])
                keys = frames[table.id].select(key_text(table).alias("key")).to_series()
            self._first[table.id] = _First(across, keys, conversions[table.id])

    def _turned(self, table: Table) -> pl.Series:
        """Keys of which rules across rows now find another number of defects than last time."""
        known = self._first[table.id]
        names = ("key", "rule", "item")
        now = [
            known.keys.filter(broken.rows)
            .to_frame()
            .lazy()
            .select("key", rule=pl.lit(broken.rule), item=pl.lit(broken.item), n=pl.lit(1))
            for broken in known.across
        ]
        rules = [rule.id for rule in table.rules if rule.check in ACROSS]
        then = self._found_last(table).filter(pl.col("rule").is_in(rules)).select(*names, n=pl.lit(-1))
        counts = pl.concat([then, *now]).group_by(names).agg(pl.col("n").sum())
        turned = counts.filter(pl.col("n") != 0).select(pl.col("key").unique())
        return turned.collect().get_column("key")

    def _found_last(self, table: Table) -> pl.LazyFrame:
        return self._segment(self._last.findings if self._last else "", FINDINGS).filter(
            pl.col("table") == table.id
        )

    def _segment(self, sha256: str, columns: Sequence[str]) -> pl.LazyFrame:
        if not sha256:
            return pl.LazyFrame(schema=dict.fromkeys(columns, pl.String()))
        return pl.scan_parquet(self._shelf.open_path(sha256)).select(columns)

    def affected(self, table: Table) -> pl.Series | None:
        """Key texts of rows that may be judged otherwise than last time; None: all."""
        return None if self._affected is None else self._affected[table.id]

    def carried(self, table: Table) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Quarantine and findings of rows that are not affected."""
        if self._affected is None or self._last is None:
            return self._segment("", QUARANTINE_COLUMNS).collect(), self._segment("", FINDINGS).collect()
        still = ~pl.col("key").is_in(pl.lit(self._affected[table.id]).implode())
        rows = self._segment(self._last.quarantine, QUARANTINE_COLUMNS).filter(
            pl.col("table") == table.id, still
        )
        return rows.collect(), self._found_last(table).filter(still).collect()

    def _conversion(
        self, one: TableMapping, table: Table, first: pl.DataFrame | None = None
    ) -> TableConversion:
        """A table's conversion, the other business tables whole, or as far as they meet rows of `first`."""
        needed = {name: set(found) for name, found in one.joined_tables().items()}
        del needed[one.parts[0].table]
        joined = tuple(needed)
        for name, found in one.counted_tables().items():
            needed.setdefault(name, set()).update(found)
        if first is None:
            sources = {name: self._read(name, columns) for name, columns in needed.items()}
        else:
            sources = self._met(one, joined, needed, first)
        return TableConversion(one, table, self._period, sources)

    def _met(
        self, one: TableMapping, joined: Collection[str], needed: Mapping[str, set[str]], first: pl.DataFrame
    ) -> dict[str, pl.DataFrame]:
        """The other business tables as far as they meet rows of the first."""
        meetings: dict[str, list[Meeting]] = {
            part.table: [Meeting(part.on, first.select(part.on))] for part in one.parts[1:]
        }
        sources = {name: self._read(name, needed[name], meetings[name]) for name in joined}
        for column in one.columns:
            name = (column.count or column.total).partition(".")[0]
            if name:
                having = [
                    rows.select(column.by) for rows in (first, *sources.values()) if column.by in rows.columns
                ]
                meetings.setdefault(name, []).append(Meeting((column.by,), pl.concat(having)))
        return {name: self._read(name, needed[name], met) for name, met in meetings.items()}

    def _read(
        self, name: str, columns: Collection[str], meetings: Sequence[Meeting] | None = None
    ) -> pl.DataFrame:
        """A business table, all sources of the city one below the other; with `meetings` the rows that meet one."""
        chosen = [*sorted(columns), UNDECODABLE]
        if meetings is None:
            return pl.concat([one.lazy(chosen) for one in self._files[name]]).collect()
        look = any_of(meetings)
        parts = [part for one in self._files[name] for part in one.slices(chosen, LOOK_ROWS, look)]
        return pl.concat([pl.DataFrame(schema=dict.fromkeys(chosen, pl.String())), *parts])

    def _slices(self, one: TableMapping) -> Iterator[pl.DataFrame]:
        """The first business table of a mapping in parts, with the columns it needs; one part at least."""
        name = one.parts[0].table
        columns = [*sorted(one.joined_tables()[name]), UNDECODABLE]
        for file in self._files[name]:
            yield from file.slices(columns, PART_ROWS)

    def _wanted(self, table: Table, keys: pl.Series) -> pl.DataFrame:
        """The affected rows of a table's first business table, in its order."""
        trace, one = self._trace(table), self._mappings[table.id]
        columns = [*sorted(one.joined_tables()[trace.root]), UNDECODABLE]
        look = Look((*trace.key_columns, UNDECODABLE), lambda rows: trace.keys(rows).is_in(keys.implode()))
        parts = [part for file in self._files[trace.root] for part in file.slices(columns, LOOK_ROWS, look)]
        return pl.concat([pl.DataFrame(schema=dict.fromkeys(columns, pl.String())), *parts])

    def parts(self, table: Table) -> Iterator[JudgedPart]:
        """Affected rows part by part, in the order of their source; some are worked on while one is taken."""
        one, known = self._mappings[table.id], self._first.get(table.id)
        if self._affected is None:
            assert known is not None, "rules across rows are judged first"
            way = (known.conversion or self._conversion(one, table), known.across, self._slices(one))
        elif known is None or self._affected[table.id].is_empty():
            return
        else:
            keys = self._affected[table.id]
            rows = self._wanted(table, keys)
            way = (self._conversion(one, table, rows), known.across, rows.iter_slices(PART_ROWS))
        yield from _ahead(lambda part: self._judged(table, *part), _converted(*way))

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
        # Texts of their own: kept to the end of a library, they would keep the texts of every row judged.
        stopped, findings = (rows.with_columns(pl.col(pl.String) + "") for rows in (stopped, judged.findings))
        return JudgedPart(records.height, stopped.height, judged.passed, stopped, findings)

    def report(self, parts: Sequence[tuple[pl.DataFrame, pl.DataFrame]]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Quarantine and findings of all parts together; `n` tells rows of one key, and findings, apart."""
        rows = pl.concat(quarantine for quarantine, _ in parts)
        number = pl.int_range(pl.len()).over("table", "key").cast(pl.Int64)
        findings = pl.concat(found for _, found in parts).with_row_index("n")
        return (
            rows.with_columns(number.alias("n")).select(ROW_COLUMNS),
            findings.with_columns(pl.col("n").cast(pl.Int64)).select(FINDING_COLUMNS),
        )


def _converted(
    conversion: TableConversion, across: Sequence[Broken], slices: Iterator[pl.DataFrame]
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame, list[Broken]]]:
    """Records of each part, findings of conversion, and what rules across rows found in them."""
    done = 0
    for records, findings in _ahead(conversion.records, slices):
        yield records, findings, [broken.slice(done, records.height) for broken in across]
        done += records.height


def _narrowed(one: TableMapping, items: Collection[str]) -> TableMapping:
    """A mapping that gives some of its items."""
    return TableMapping(one.table, one.parts, tuple(c for c in one.columns if c.item in items))


def _way(standard: Standard, mapping: LibraryMapping) -> str:
    """A word for release, column engine, standard and mapping: what decides how the content of a row is judged."""
    said = repr((jinbao.__version__, QUICK, standard, mapping))
    return hashlib.sha256(said.encode()).hexdigest()[:32]


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
    """A received submission before the gate, by its segments of each table: flow's `Received`."""

    def __init__(
        self, standard: Standard, period: int, shelf: SegmentShelf, segments: Mapping[str, Sequence[str]]
    ) -> None:
        self._standard, self._shelf, self._segments = standard, shelf, segments
        self._context, self._scopes = Context(period, {}), frozenset({Scope.ROW, Scope.BATCH})
        self._is_odd = False

    def read(self, sha256: str) -> pl.DataFrame:
        """The rows of one segment."""
        return self._shelf.read(sha256)

    def look(self, table: Table, sha256: str) -> pl.DataFrame | None:
        """The rows of one segment, judged by themselves; None when one neither upserts nor deletes, or breaks a rule."""
        rows = self._shelf.read(sha256)
        upserts, odd = _upserts(rows)
        lists = self._standard.code_lists
        judged = judge(table, upserts, lists, self._context, scopes=self._scopes)
        is_odd = odd > 0 or judged.quarantined.height > 0
        self._is_odd |= is_odd
        return None if is_odd else rows

    def objection(self) -> str:
        """Why rows that were all looked at are not acceptable: they neither upsert nor delete, or break a rule."""
        tables = [table for table in self._standard.tables if table.id in self._segments]
        if not self._is_odd and not any(map(self._bars_across, tables)):
            return ""
        return next(filter(None, map(self._said, tables)), "")

    def _bars_across(self, table: Table) -> bool:
        return any(found.severity is Severity.ERROR and found.rows.any() for found in self._across(table))

    def _said(self, table: Table) -> str:
        """Rows of an unknown op, or rows that break row or batch rules; a city's gate let none of them through."""
        broken, rules = 0, set[str]()
        across, done = self._across(table), 0
        for sha256 in self._segments[table.id]:
            rows = self._shelf.read(sha256)
            upserts, odd = _upserts(rows)
            if odd:
                return f"table {table.id}: expected rows with op {UPSERT} or {DELETE}, got {odd} with another"
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


def _upserts(rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The rows that upsert, and how many neither upsert nor delete."""
    odd = rows.filter(~pl.col(OP).is_in([UPSERT, DELETE]).fill_null(value=False)).height
    return rows.filter(pl.col(OP) == UPSERT), odd
