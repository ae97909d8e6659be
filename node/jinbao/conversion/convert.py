"""Conversion of a whole library: join, aggregate, translate, with a finding for what cannot be said.

Works on columns; a row of the first table gives a row of the standard table. Bytes that did
not decode are a warning: the person stays in the library with U+FFFD in the name, because a
rare character is the system's defect and not hers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from jinbao.conversion.values import UNDECODED, value_of
from jinbao.model.finding import FINDING_COLUMNS, Severity
from jinbao.model.mapping import Column, LibraryMapping, Part, TableMapping
from jinbao.model.standard import Item, Standard, Table

UNDECODABLE = "__undecodable"
PERIOD = "@period"
"""In the `where` of an aggregate: the month that is converted."""

_KEY = "__key_text"

_FINDINGS = pl.DataFrame(schema=dict.fromkeys(FINDING_COLUMNS, pl.String()))


@dataclass(frozen=True)
class Converted:
    """Standard records by table, in the standard's columns, and what could not be converted."""

    frames: dict[str, pl.DataFrame]
    findings: pl.DataFrame


def convert(
    mapping: LibraryMapping, standard: Standard, period: int, sources: Mapping[str, pl.DataFrame]
) -> Converted:
    """Convert every table of a library; `sources` are business tables by upper-case name, columns as text."""
    # A NUL is padding of some old systems; no database of ours takes one, and no name has one.
    sources = {
        name: frame.with_columns(pl.col(pl.String).str.replace_all("\0", "", literal=True))
        for name, frame in sources.items()
    }
    frames: dict[str, pl.DataFrame] = {}
    findings = [_FINDINGS]
    for one in mapping.tables:
        table = standard.table(one.table)
        joined = _joined(one, sources)
        frames[table.id], found = _records(table, one, joined, period, sources)
        findings.append(found)
    return Converted(frames, pl.concat(findings))


def _chosen(part: Part, sources: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Rows of a part, its columns named TABLE.COLUMN."""
    frame = _where(sources[part.table], part.where)
    return frame.rename({name: f"{part.table}.{name}" for name in frame.columns})


def _where(frame: pl.DataFrame, where: Mapping[str, str]) -> pl.DataFrame:
    for column, value in where.items():
        frame = frame.filter(pl.col(column).str.strip_chars() == value)
    return frame


def _joined(one: TableMapping, sources: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    first, *others = one.parts
    joined = _chosen(first, sources)
    for part in others:
        right = _chosen(part, sources)
        joined = joined.join(
            right,
            left_on=[f"{first.table}.{c}" for c in part.on],
            right_on=[f"{part.table}.{c}" for c in part.on],
            how="inner" if part.how == "inner" else "left",
            coalesce=False,
        )
    return joined


def _records(
    table: Table, one: TableMapping, joined: pl.DataFrame, period: int, sources: Mapping[str, pl.DataFrame]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    columns = {column.item: column for column in one.columns}
    values: list[pl.Expr] = []
    checks: list[tuple[Item, str, pl.Expr, pl.Expr]] = []
    for item in table.items:
        column = columns.get(item.code)
        if column is None:
            values.append(pl.lit(None, dtype=pl.String if item.is_text else pl.Int64).alias(item.code))
            continue
        joined, text = _text(item, column, joined, period, sources)
        rule, (value, wrong) = value_of(item, text, column.codes)
        values.append(value.alias(item.code))
        if rule:
            checks.append((item, rule, wrong, text))
    records = joined.select(values)
    keys = records.select(
        pl.concat_str([pl.col(k).cast(pl.String).fill_null("") for k in table.key], separator="|")
    )
    findings = _findings(table, joined.with_columns(keys.to_series().alias(_KEY)), checks, one)
    return records, findings


def _text(
    item: Item, column: Column, joined: pl.DataFrame, period: int, sources: Mapping[str, pl.DataFrame]
) -> tuple[pl.DataFrame, pl.Expr]:
    """The joined rows, with an aggregate added where the column is one, and the column's text."""
    if column.period:
        return joined, pl.lit(str(period))
    if column.source:
        return joined, pl.col(column.source)
    if not (column.count or column.total):
        return joined, pl.lit(column.constant)
    name, (head, _, tail) = f"__{item.code}", (column.count or column.total).partition(".")
    where = {name: str(period) if value == PERIOD else value for name, value in column.where.items()}
    grouped = _where(sources[head], where).group_by(column.by)
    amount = (
        pl.len()
        if column.count
        else pl.col(tail).str.strip_chars().cast(pl.Decimal(38, 2), strict=False).sum()
    )
    counts = grouped.agg(amount.cast(pl.String).alias(name))
    first = next(c for c in joined.columns if c.endswith(f".{column.by}"))
    joined = joined.join(counts, left_on=first, right_on=column.by, how="left")
    return joined, pl.col(name).fill_null("0")


def _findings(
    table: Table, joined: pl.DataFrame, checks: list[tuple[Item, str, pl.Expr, pl.Expr]], one: TableMapping
) -> pl.DataFrame:
    parts = [_FINDINGS]
    flags = joined.select(
        wrong.fill_null(value=False).alias(str(at)) for at, (_, _, wrong, _) in enumerate(checks)
    )
    for at, (item, rule, _, text) in enumerate(checks):
        if flags.get_column(str(at)).any():
            rows = joined.filter(flags.get_column(str(at)))
            parts.append(_said(table, rows, item.code, rule, Severity.ERROR, text))
    items = {column.source: column.item for column in one.columns if column.source}
    for part in one.parts:
        raw = f"{part.table}.{UNDECODABLE}"
        if raw in joined.columns and joined.get_column(raw).count():
            parts.extend(_undecoded(table, joined, raw, items))
    return pl.concat(parts)


def _undecoded(table: Table, joined: pl.DataFrame, raw: str, items: Mapping[str, str]) -> list[pl.DataFrame]:
    """One warning per row and item whose bytes did not decode; the value is the bytes in hex."""
    found = []
    head = raw.partition(".")[0]
    for source, item in items.items():
        name, _, column = source.partition(".")
        if name == head:
            said = pl.col(raw).str.extract(rf"(?i)(?:^|;){column}=([0-9a-f]+)")
            rows = joined.filter(said.is_not_null())
            found.append(_said(table, rows, item, UNDECODED, Severity.WARNING, said))
    return found


def _said(
    table: Table, rows: pl.DataFrame, item: str, rule: str, severity: Severity, value: pl.Expr
) -> pl.DataFrame:
    return rows.select(
        pl.lit(table.id).alias("table"),
        pl.col(_KEY).alias("key"),
        pl.lit(item).alias("item"),
        pl.lit(rule).alias("rule"),
        pl.lit(str(severity)).alias("severity"),
        value.cast(pl.String).alias("value"),
    )
