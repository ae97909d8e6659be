"""The gate: judges the tables of a library by their standard.

Order: general checks and row rules, then batch rules (uniqueness) over all rows, then
submission rules across tables. A row with an error goes to quarantine whole; warnings
only report. Refused is a verdict on a table by its limits, never on one row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from jinbao.model.finding import FINDING_COLUMNS, Scope, Severity, Verdict
from jinbao.model.standard import CodeList, Rule, Standard, Table
from jinbao.quality.rules import CHECKS, Context, general_checks, id_column

_FINDINGS = pl.DataFrame(schema=dict.fromkeys(FINDING_COLUMNS, pl.String()))


@dataclass(frozen=True)
class Judgement:
    """One table judged: rows that passed (sorted by key), rows that did not, and why."""

    passed: pl.DataFrame
    quarantined: pl.DataFrame
    findings: pl.DataFrame
    verdict: Verdict


def key_text(table: Table) -> pl.Expr:
    """The key of a row as one text, NULL as nothing."""
    return pl.concat_str([pl.col(k).cast(pl.String).fill_null("") for k in table.key], separator="|")


def judge(
    table: Table,
    frame: pl.DataFrame,
    lists: Mapping[str, CodeList],
    context: Context,
    *,
    scopes: frozenset[Scope] = frozenset(Scope),
    barred: pl.DataFrame | None = None,
) -> Judgement:
    """Judge all rows of one table by the rules of `scopes`.

    `barred` are findings conversion already made for this table (columns of
    `FINDING_COLUMNS`): an item they name is not judged again in that row.
    """
    rows = id_column(frame.select(table.columns)).with_columns(key_text(table).alias("key"))
    before = _before(table, rows, barred)
    broken = _general(table, rows, lists, context.period, before)
    broken += _rules(table, rows, context, scopes, _clean(table, broken, before))
    findings = _findings(table, rows, broken)
    if barred is not None:
        findings = pl.concat([barred.select(FINDING_COLUMNS), findings])
    bad = findings.filter(pl.col("severity") == Severity.ERROR).get_column("key").unique()
    is_bad = pl.col("key").is_in(bad.implode())
    stopped = rows.filter(is_bad)
    verdict = Verdict.WITH_QUARANTINE if stopped.height else Verdict.ACCEPTED
    if table.limits.refuse(rows.height, stopped.height):
        verdict = Verdict.REFUSED
    passed = _sorted(table, rows.select(*table.columns, is_bad.alias(_BAD)).filter(~pl.col(_BAD)).drop(_BAD))
    return Judgement(passed, stopped.select("key", *table.columns), findings, verdict)


_BAD = "__bad"


def _sorted(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """By key; most sources give their rows so, and to see it costs nothing beside sorting them again."""
    if len(table.key) == 1 and rows.get_column(table.key[0]).is_sorted():
        return rows
    return rows.sort(table.key)


@dataclass(frozen=True)
class _Broken:
    """One check over all rows: which rows break it."""

    rule: str
    item: str
    severity: Severity
    rows: pl.Series


def _before(table: Table, rows: pl.DataFrame, barred: pl.DataFrame | None) -> dict[str, pl.Series]:
    """Rows, per item, where conversion already found a defect."""
    if barred is None or barred.height == 0:
        return {}
    found = barred.filter(pl.col("table") == table.id)
    return {
        item: rows.get_column("key").is_in(keys.get_column("key").implode())
        for (item,), keys in found.group_by("item")
        if isinstance(item, str)
    }


def _general(
    table: Table,
    rows: pl.DataFrame,
    lists: Mapping[str, CodeList],
    period: int,
    before: Mapping[str, pl.Series],
) -> list[_Broken]:
    checks = [
        (item, rule, expr) for item in table.items for rule, expr in general_checks(item, lists, period)
    ]
    flags = rows.select(expr.fill_null(value=False).alias(str(at)) for at, (_, _, expr) in enumerate(checks))
    broken = []
    for at, (item, rule, _) in enumerate(checks):
        found = flags.get_column(str(at))
        if item.code in before:
            found &= ~before[item.code]
        if found.any():
            broken.append(_Broken(rule, item.code, Severity.ERROR, found))
    return broken


def _clean(table: Table, broken: list[_Broken], before: Mapping[str, pl.Series]) -> dict[str, pl.Series]:
    """Rows, per item with any general defect, where the item is free of it."""
    clean: dict[str, pl.Series] = {item: ~rows for item, rows in before.items() if item in table.columns}
    for found in broken:
        ok = ~found.rows
        clean[found.item] = clean[found.item] & ok if found.item in clean else ok
    return clean


def _rules(
    table: Table,
    rows: pl.DataFrame,
    context: Context,
    scopes: frozenset[Scope],
    clean: Mapping[str, pl.Series],
) -> list[_Broken]:
    chosen: list[Rule] = [rule for rule in table.rules if rule.scope in scopes]
    flags = rows.select(
        CHECKS[rule.check](rule, context).fill_null(value=False).alias(str(at))
        for at, rule in enumerate(chosen)
    )
    broken = []
    for at, rule in enumerate(chosen):
        found = flags.get_column(str(at))
        for item in rule.items:
            if item in clean:
                found &= clean[item]
        if found.any():
            broken.append(_Broken(rule.id, rule.items[0], rule.severity, found))
    return broken


def _findings(table: Table, rows: pl.DataFrame, broken: list[_Broken]) -> pl.DataFrame:
    parts = [
        rows.filter(found.rows).select(
            pl.lit(table.id).alias("table"),
            pl.col("key"),
            pl.lit(found.item).alias("item"),
            pl.lit(found.rule).alias("rule"),
            pl.lit(str(found.severity)).alias("severity"),
            pl.col(found.item).cast(pl.String).alias("value"),
        )
        for found in broken
    ]
    return pl.concat([_FINDINGS, *parts])


def judge_submission(
    standard: Standard,
    period: int,
    frames: Mapping[str, pl.DataFrame],
    barred: pl.DataFrame | None = None,
    *,
    scopes: frozenset[Scope] = frozenset(Scope),
) -> dict[str, Judgement]:
    """Judge every table of a submission, by table id in the standard's order."""
    context = Context(period, frames)
    found = {}
    for table in standard.tables:
        if table.id in frames:
            mine = None if barred is None else barred.filter(pl.col("table") == table.id)
            found[table.id] = judge(
                table, frames[table.id], standard.code_lists, context, scopes=scopes, barred=mine
            )
    return found


def verdict_of(judgements: Mapping[str, Judgement]) -> Verdict:
    """The worst verdict of any table."""
    order = [Verdict.ACCEPTED, Verdict.WITH_QUARANTINE, Verdict.REFUSED]
    return max((j.verdict for j in judgements.values()), key=order.index, default=Verdict.ACCEPTED)
