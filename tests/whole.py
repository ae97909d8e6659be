"""Conversion and gate over whole tables in memory: what judging part by part must come to."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from jinbao.conversion.convert import TableConversion
from jinbao.model.mapping import LibraryMapping
from jinbao.model.standard import Standard
from jinbao.quality.gate import Judgement, judge, judge_across
from jinbao.quality.rules import Context

Frames = Mapping[str, pl.DataFrame]


def convert(
    mapping: LibraryMapping, standard: Standard, period: int, sources: Frames
) -> tuple[Frames, Frames]:
    """Records and findings by table; `sources` are business tables by upper-case name, columns as text."""
    found = {
        one.table: TableConversion(one, standard.table(one.table), period, sources).records(
            sources[one.parts[0].table]
        )
        for one in mapping.tables
    }
    return {t: records for t, (records, _) in found.items()}, {t: said for t, (_, said) in found.items()}


def judge_whole(
    standard: Standard, period: int, frames: Frames, barred: Frames | None = None
) -> dict[str, Judgement]:
    """Every table judged by all rules; `barred` are the findings conversion made."""
    context, lists, found = Context(period, frames), standard.code_lists, {}
    for table in standard.tables:
        rows, said = frames[table.id], (barred or {}).get(table.id)
        across = judge_across(table, rows, lists, context, barred=said)
        found[table.id] = judge(table, rows, lists, context, across=across, barred=said)
    return found
