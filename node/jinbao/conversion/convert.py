"""Conversion of a whole library: join, aggregate, translate, with a finding for what cannot be said.

Works on columns; a row of the first table gives a row of the standard table. Bytes that did
not decode are a warning: the person stays in the library with U+FFFD in the name, because a
rare character is the system's defect and not hers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from jinbao.conversion.values import UNDECODED, convert_texts
from jinbao.conversion.values import Converted as Values
from jinbao.model.finding import FINDING_COLUMNS, Severity
from jinbao.model.mapping import Column, LibraryMapping, Part, TableMapping
from jinbao.model.standard import Item, Standard, Table

UNDECODABLE = "__undecodable"
PERIOD = "@period"
"""In the `where` of an aggregate: the month that is converted."""

_AMOUNT = "__amount"

_FINDINGS = pl.DataFrame(schema=dict.fromkeys(FINDING_COLUMNS, pl.String()))


@dataclass(frozen=True)
class Converted:
    """Standard records by table, in the standard's columns, and what could not be converted."""

    frames: dict[str, pl.DataFrame]
    findings: pl.DataFrame


def convert(
    mapping: LibraryMapping, standard: Standard, period: int, sources: Mapping[str, pl.DataFrame]
) -> Converted:
    """Convert every table of a library; `sources` are business tables by upper-case name, columns as text.

    Texts have no NUL: capture leaves out what only pads a field.
    """
    frames: dict[str, pl.DataFrame] = {}
    findings = [_FINDINGS]
    for one in mapping.tables:
        table = standard.table(one.table)
        joined = _joined(one, sources)
        frames[table.id], found = _records(table, one, joined, period, sources)
        findings.extend(found)
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
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """The records of a table, row by row of `joined`, and the findings of each item."""
    columns = {column.item: column for column in one.columns}
    values: list[pl.Series] = []
    said: list[tuple[str, Values, pl.Series]] = []
    for item in table.items:
        column = columns.get(item.code)
        if column is None:
            values.append(_constant(item.code, None, joined.height, item))
            continue
        texts = _texts(column, joined, period, sources)
        found = convert_texts(item, texts, column.codes)
        values.append(found.values.alias(item.code))
        if found.wrong is not None:
            said.append((item.code, found, texts))
    records = pl.DataFrame(values)
    findings = [
        _said(table, records.filter(found.wrong), code, found.rule, Severity.ERROR, texts.filter(found.wrong))
        for code, found, texts in said
        if found.wrong is not None
    ]
    return records, findings + _undecoded(table, one, joined, records)


def _constant(name: str, value: str | None, rows: int, item: Item) -> pl.Series:
    return pl.Series(name, [value], pl.String() if item.is_text else pl.Int64()).new_from_index(0, rows)


def _texts(
    column: Column, joined: pl.DataFrame, period: int, sources: Mapping[str, pl.DataFrame]
) -> pl.Series:
    """The texts of a column, one for each joined row; an aggregate is computed here."""
    if column.source:
        return joined.get_column(column.source)
    if column.count or column.total:
        return _aggregate(column, joined, period, sources)
    constant = str(period) if column.period else column.constant
    return pl.Series([constant], dtype=pl.String).new_from_index(0, joined.height)


def _aggregate(
    column: Column, joined: pl.DataFrame, period: int, sources: Mapping[str, pl.DataFrame]
) -> pl.Series:
    """Rows counted, or amounts summed, of those whose `by` is the joined row's."""
    head, _, tail = (column.count or column.total).partition(".")
    where = {name: str(period) if value == PERIOD else value for name, value in column.where.items()}
    amount = (
        pl.len()
        if column.count
        else pl.col(tail).str.strip_chars().cast(pl.Decimal(38, 2), strict=False).sum()
    )
    counts = _where(sources[head], where).group_by(column.by).agg(amount.cast(pl.String).alias(_AMOUNT))
    first = next(c for c in joined.columns if c.endswith(f".{column.by}"))
    counted = joined.select(first).join(
        counts, left_on=first, right_on=column.by, how="left", maintain_order="left"
    )
    return counted.get_column(_AMOUNT).fill_null("0")


def _undecoded(
    table: Table, one: TableMapping, joined: pl.DataFrame, records: pl.DataFrame
) -> list[pl.DataFrame]:
    """One warning per row and item whose bytes did not decode; the value is the bytes in hex."""
    items = {column.source: column.item for column in one.columns if column.source}
    found = []
    for part in one.parts:
        raw = f"{part.table}.{UNDECODABLE}"
        if raw not in joined.columns or joined.get_column(raw).null_count() == joined.height:
            continue
        for source, item in items.items():
            name, _, column = source.partition(".")
            if name == part.table:
                said = joined.get_column(raw).str.extract(rf"(?i)(?:^|;){column}=([0-9a-f]+)")
                rows = said.is_not_null()
                warned = _said(
                    table, records.filter(rows), item, UNDECODED, Severity.WARNING, said.filter(rows)
                )
                found.append(warned)
    return found


def _said(
    table: Table, rows: pl.DataFrame, item: str, rule: str, severity: Severity, texts: pl.Series
) -> pl.DataFrame:
    """One finding for each of the records, with the text that gave it."""
    key = pl.concat_str([pl.col(k).cast(pl.String).fill_null("") for k in table.key], separator="|")
    return rows.select(
        pl.lit(table.id).alias("table"),
        key.alias("key"),
        pl.lit(item).alias("item"),
        pl.lit(rule).alias("rule"),
        pl.lit(str(severity)).alias("severity"),
        texts.alias("value"),
    )
