"""Evaluate indicators over published segments, and say them as a table, CSV or JSON.

The result is the same for the same segments, whatever order they come in: rows are sorted
and every value is exact. No person's row leaves the engine.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import ibis
import polars as pl
from ibis.expr import operations as ops

from jinbao.decision.indicators import INDICATORS, of_library
from jinbao.decision.measures import Indicator
from jinbao.decision.room import PackagedSegment
from jinbao.decision.view import ORIGIN, Engine, PathOf, current, live, schema, sql
from jinbao.model.errors import LocalError
from jinbao.model.standard import Standard

SCHEMA = dict.fromkeys(
    ("indicator", "library", "period", "region", "dimension", "group", "value", "unit"), pl.String
)
"""Columns of the result; `value` is decimal text, so that no reader meets a float."""

ORDER = ("indicator", "library", "period", "region", "group")


def evaluate(
    segments: Sequence[PackagedSegment],
    standards: Mapping[str, Standard],
    *,
    path: PathOf,
    period: str | None = None,
    as_of: int | None = None,
) -> pl.DataFrame:
    """Every indicator by region and period, one row per value, sorted by indicator, period, region, group.

    A period (YYYYMM) is judged by what was submitted for it and before; None means every
    period there is. `as_of` leaves out submissions whose seq is higher. `region` is the
    city (six digits) or `total`. `path` finds a segment's file. Raises LocalError when a
    library has no standard here.
    """
    parts = [pl.DataFrame(schema=SCHEMA)]
    with Engine() as engine:
        for library in sorted({s.library for s in segments}):
            standard = _standard(standards, library)
            mine = [s for s in segments if s.library == library]
            queries = _queries(standard)
            for month in sorted({s.period for s in mine}) if period is None else [period]:
                _load(engine, standard, live(mine, as_of_seq=as_of, as_of_period=month), path, month)
                parts += [_named(engine.rows(query), indicator) for indicator, query in queries]
    return pl.concat(parts).sort(ORDER)


def _standard(standards: Mapping[str, Standard], library: str) -> Standard:
    if library not in standards:
        raise LocalError(
            f"library {library}",
            expected=f"a standard ({', '.join(sorted(standards))})",
            got="none",
            next_step="fetch the standards of the parent first",
        )
    return standards[library]


def _expressions(standard: Standard) -> list[tuple[Indicator, Any]]:
    tables = {t.id: ibis.table(schema(t), _relation(standard, t.id)) for t in standard.tables}
    return [(i, i.expression(tables)) for i in of_library(standard.library)]


def _queries(standard: Standard) -> list[tuple[Indicator, str]]:
    return [(indicator, sql(expression)) for indicator, expression in _expressions(standard)]


def _relation(standard: Standard, table: str) -> str:
    return f"{standard.library}__{table}"


def _load(
    engine: Engine, standard: Standard, segments: Sequence[PackagedSegment], path: PathOf, period: str
) -> None:
    """Hold one period's rows of every table, and of those the columns some indicator reads: no name, no id."""
    used = {field.name for _, e in _expressions(standard) for field in e.op().find(ops.Field)} | {ORIGIN}
    for table in standard.tables:
        engine.attach([s for s in segments if s.table == table.id], table, path)
        rows = current(table)
        month = rows.filter(rows["AAE002"] == int(period))
        engine.keep(_relation(standard, table.id), month.select(*(c for c in schema(table) if c in used)))


def _named(frame: pl.DataFrame, indicator: Indicator) -> pl.DataFrame:
    constants = {
        "indicator": indicator.id,
        "library": indicator.library,
        "dimension": indicator.dimension,
        "unit": indicator.unit,
    }
    named = frame.with_columns(
        pl.col("period").cast(pl.String),
        _decimal(pl.col("value"), indicator.decimals),
        *(pl.lit(value).alias(name) for name, value in constants.items()),
    )
    return named.select(*SCHEMA).cast(SCHEMA)  # type: ignore[arg-type]


def _decimal(scaled: pl.Expr, decimals: int) -> pl.Expr:
    """Text of a scaled integer: `-5` with 2 decimals is `-0.05`."""
    if not decimals:
        return scaled
    sign = pl.when(scaled.str.starts_with("-")).then(pl.lit("-")).otherwise(pl.lit(""))
    digits = scaled.str.strip_prefix("-").str.zfill(decimals + 1)
    whole = digits.str.head(-decimals)
    return pl.concat_str([sign, whole, pl.lit("."), digits.str.tail(decimals)]).alias("value")


def to_csv(frame: pl.DataFrame) -> str:
    """Comma-separated, with a header line of column names."""
    return frame.write_csv()


def to_json(frame: pl.DataFrame) -> str:
    """One JSON array, an object per value, with the indicator's names in both languages."""
    rows = [
        row
        | {"name_zh": INDICATORS[row["indicator"]].name_zh, "name_en": INDICATORS[row["indicator"]].name_en}
        for row in frame.to_dicts()
    ]
    return json.dumps(rows, ensure_ascii=False, indent=1)


def to_table(frame: pl.DataFrame, *, chinese: bool) -> str:
    """Aligned text for a terminal, names in the reader's language."""
    titles = (
        ("指标", "名称", "所属期", "地区", "分组", "数值", "单位")
        if chinese
        else ("indicator", "name", "period", "region", "group", "value", "unit")
    )
    lines = [titles, *(_line(row, chinese=chinese) for row in frame.to_dicts())]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def _line(row: Mapping[str, str], *, chinese: bool) -> tuple[str, ...]:
    indicator = INDICATORS[row["indicator"]]
    region = "合计" if chinese and row["region"] == "total" else row["region"]
    name = indicator.name_zh if chinese else indicator.name_en
    return row["indicator"], name, row["period"], region, row["group"], row["value"], row["unit"]


def _width(text: str) -> int:
    """Columns on a terminal: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
