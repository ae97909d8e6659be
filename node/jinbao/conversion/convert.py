"""Conversion of a whole library: join, aggregate, translate, with a finding for what cannot be said.

Works on columns; a row of the first table gives a row of the standard table. Bytes that did
not decode are a warning: the person stays in the library with U+FFFD in the name, because a
rare character is the system's defect and not hers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from jinbao.conversion.keyed import Keyed
from jinbao.conversion.values import UNDECODED, Converted, convert_texts
from jinbao.model.finding import FINDING_COLUMNS, Severity
from jinbao.model.mapping import Column, Part, TableMapping
from jinbao.model.standard import Item, Table

UNDECODABLE = "__undecodable"
PERIOD = "@period"
"""In the `where` of an aggregate: the month that is converted."""

_AMOUNT = "__amount"

_FINDINGS = pl.DataFrame(schema=dict.fromkeys(FINDING_COLUMNS, pl.String()))


class TableConversion:
    """One table of a library, converted part by part of its first business table.

    `sources` holds the other business tables whole, by upper-case name: those it joins, and those
    it counts. Texts have no NUL: the reader leaves out what only pads a field.
    """

    def __init__(
        self, one: TableMapping, table: Table, period: int, sources: Mapping[str, pl.DataFrame]
    ) -> None:
        self._one, self._table, self._period = one, table, period
        self._columns = {column.item: column for column in one.columns}
        self._others = [_Other(one.parts[0], part, sources[part.table]) for part in one.parts[1:]]
        self._counted = {
            column.item: _aggregate(column, period, sources)
            for column in one.columns
            if column.count or column.total
        }

    def records(
        self, first: pl.DataFrame, items: Collection[str] | None = None
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Records of some rows of the first business table, in their order, and findings; of `items` alone if given."""
        joined = self._joined(first)
        chosen = [item for item in self._table.items if items is None or item.code in items]
        values, findings = list[pl.Series](), [_FINDINGS]
        said: list[tuple[Item, Converted, pl.Series]] = []
        for item in chosen:
            column = self._columns.get(item.code)
            if column is None:
                values.append(_constant(item.code, None, joined.height, item))
                continue
            texts = self._texts(column, joined)
            found = convert_texts(item, texts, column.codes)
            values.append(found.values.alias(item.code))
            if found.wrong is not None:
                said.append((item, found, texts))
        records = pl.DataFrame(values)
        for item, found, texts in said:
            if found.wrong is not None:
                rows, bad = records.filter(found.wrong), texts.filter(found.wrong)
                findings.append(_said(self._table, rows, item.code, found.rule, Severity.ERROR, bad))
        findings += _undecoded(self._table, self._one, joined, records)
        return records, pl.concat(findings)

    def _joined(self, first: pl.DataFrame) -> pl.DataFrame:
        """Rows of the first table with those of the others, columns named TABLE.COLUMN."""
        joined = _chosen(self._one.parts[0], first)
        for other in self._others:
            joined = other.joined(joined)
        return joined

    def _texts(self, column: Column, joined: pl.DataFrame) -> pl.Series:
        """The texts of a column, one for each joined row."""
        if column.source:
            return joined.get_column(column.source)
        if column.item in self._counted:
            by = next(c for c in joined.columns if c.endswith(f".{column.by}"))
            counted = joined.select(by).join(
                self._counted[column.item], left_on=by, right_on=column.by, how="left", maintain_order="left"
            )
            return counted.get_column(_AMOUNT).fill_null("0")
        constant = str(self._period) if column.period else column.constant
        return pl.Series([constant], dtype=pl.String).new_from_index(0, joined.height)


class _Other:
    """A business table that is joined: whole, and looked at where the joined rows may meet it."""

    def __init__(self, first: Part, part: Part, frame: pl.DataFrame) -> None:
        self._left = [f"{first.table}.{c}" for c in part.on]
        self._right = [f"{part.table}.{c}" for c in part.on]
        self._rows = Keyed(_chosen(part, frame), self._right[0])
        self._is_inner = part.how == "inner"

    def joined(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows, in their order, with those of this table that meet them."""
        return rows.join(
            self._rows.near(rows.get_column(self._left[0])),
            left_on=self._left,
            right_on=self._right,
            how="inner" if self._is_inner else "left",
            coalesce=False,
            maintain_order="left_right",
        )


def _chosen(part: Part, frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of a part, its columns named TABLE.COLUMN."""
    names = {name: f"{part.table}.{name}" for name in frame.columns}
    return _where(frame.lazy(), part.where).rename(names).collect()


def _where(rows: pl.LazyFrame, where: Mapping[str, str]) -> pl.LazyFrame:
    for column, value in where.items():
        rows = rows.filter(pl.col(column).str.strip_chars() == value)
    return rows


def _aggregate(column: Column, period: int, sources: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Rows counted, or amounts summed, by the column `by`, as text."""
    head, _, tail = (column.count or column.total).partition(".")
    where = {name: str(period) if value == PERIOD else value for name, value in column.where.items()}
    amount = (
        pl.len()
        if column.count
        else pl.col(tail).str.strip_chars().cast(pl.Decimal(38, 2), strict=False).sum()
    )
    grouped = _where(sources[head].lazy(), where).group_by(column.by)
    return grouped.agg(amount.cast(pl.String).alias(_AMOUNT)).collect()


def _constant(name: str, value: str | None, rows: int, item: Item) -> pl.Series:
    return pl.Series(name, [value], pl.String() if item.is_text else pl.Int64()).new_from_index(0, rows)


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
