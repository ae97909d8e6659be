"""The gate: judges the tables of a library by their standard, whole or part by part.

Rules that look at other rows are judged first, over the few columns they name of all rows
(`judge_across`); then general checks and row rules, for as many rows at once as there is
room for. A row with an error goes to quarantine whole; warnings only report. Whether a table
is refused is said by its limits, over all of its parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from jinbao.model.finding import FINDING_COLUMNS, Scope, Severity
from jinbao.model.standard import CodeList, Rule, Standard, Table
from jinbao.quality.rules import ACROSS, CHECKS, Context, general_checks, id_column

_FINDINGS = pl.DataFrame(schema=dict.fromkeys(FINDING_COLUMNS, pl.String()))


@dataclass(frozen=True)
class Judgement:
    """Rows of one table judged: those that passed (sorted by key), those that did not, and why."""

    passed: pl.DataFrame
    quarantined: pl.DataFrame
    findings: pl.DataFrame


def key_text(table: Table) -> pl.Expr:
    """The key of a row as one text, NULL as nothing."""
    return pl.concat_str([pl.col(k).cast(pl.String).fill_null("") for k in table.key], separator="|")


def across_columns(standard: Standard, scopes: frozenset[Scope] = frozenset(Scope)) -> dict[str, set[str]]:
    """The items, by table, that rules across rows look at; a table none looks at has none."""
    needed: dict[str, set[str]] = {table.id: set() for table in standard.tables}
    for table in standard.tables:
        for rule in _across_rules(table, scopes):
            needed[table.id].update(rule.items, table.key)
            if "table" in rule.arguments:
                other = needed[str(rule.arguments["table"])]
                other.update(
                    str(rule.arguments[name]) for name in ("foreign", "where") if name in rule.arguments
                )
    return needed


def _across_rules(table: Table, scopes: frozenset[Scope]) -> list[Rule]:
    return [rule for rule in table.rules if rule.check in ACROSS and rule.scope in scopes]


def judge_across(
    table: Table,
    frame: pl.DataFrame,
    lists: Mapping[str, CodeList],
    context: Context,
    *,
    scopes: frozenset[Scope] = frozenset(Scope),
    barred: pl.DataFrame | None = None,
) -> list[Broken]:
    """Judge all rows of one table, of which `frame` has the items of `across_columns`, by its rules across rows."""
    rules = _across_rules(table, scopes)
    if not rules:
        return []
    rows = frame.with_columns(key_text(table).alias("key"))
    before = _before(table, rows, barred)
    broken = _general(table, rows, lists, context.period, before)
    # A warning bars no row: what is to be stored once must be there once, however its bytes decode.
    stopped = _before(table, rows, None if barred is None else barred.filter(_IS_ERROR))
    unique = [rule for rule in rules if rule.check == "unique"]
    others = [rule for rule in rules if rule.check != "unique"]
    return [
        *_rules(unique, rows, context, _clean(table, broken, stopped)),
        *_rules(others, rows, context, _clean(table, broken, before)),
    ]


def judge(
    table: Table,
    frame: pl.DataFrame,
    lists: Mapping[str, CodeList],
    context: Context,
    *,
    across: Sequence[Broken] = (),
    scopes: frozenset[Scope] = frozenset(Scope),
    barred: pl.DataFrame | None = None,
) -> Judgement:
    """Judge some rows of one table by general checks and row rules of `scopes`, and by what was found `across`.

    `barred` are findings conversion already made for this table (columns of
    `FINDING_COLUMNS`): an item they name is not judged again in that row.
    """
    rows = id_column(frame.select(table.columns)).with_columns(key_text(table).alias("key"))
    before = _before(table, rows, barred)
    broken = _general(table, rows, lists, context.period, before)
    alone = [rule for rule in table.rules if rule.scope in scopes and rule.check not in ACROSS]
    broken += _rules(alone, rows, context, _clean(table, broken, before))
    findings = _findings(table, rows, [*broken, *across])
    if barred is not None:
        findings = pl.concat([barred.select(FINDING_COLUMNS), findings])
    bad = findings.filter(_IS_ERROR).get_column("key")
    if bad.is_empty():
        passed = _sorted(table, rows.select(table.columns))
        return Judgement(passed, rows.clear().select("key", *table.columns), findings)
    is_bad = pl.col("key").is_in(pl.lit(bad).unique().implode())
    stopped = rows.filter(is_bad)
    passed = _sorted(table, rows.select(*table.columns, is_bad.alias(_BAD)).filter(~pl.col(_BAD)).drop(_BAD))
    return Judgement(passed, stopped.select("key", *table.columns), findings)


_BAD = "__bad"
_IS_ERROR = pl.col("severity") == Severity.ERROR


def _sorted(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """By key; most sources give their rows so, and to see it costs nothing beside sorting them again."""
    if len(table.key) == 1 and rows.get_column(table.key[0]).is_sorted():
        return rows
    return rows.sort(table.key)


@dataclass(frozen=True)
class Broken:
    """One check: which rows of those judged break it, one truth value for each."""

    rule: str
    item: str
    severity: Severity
    rows: pl.Series

    def slice(self, first: int, rows: int) -> Broken:
        """Of `rows` rows from the `first` on."""
        return replace(self, rows=self.rows.slice(first, rows))


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
) -> list[Broken]:
    items = [item for item in table.items if item.code in rows.columns]
    checks = [(item, rule, expr) for item in items for rule, expr in general_checks(item, lists, period)]
    flags = rows.select(expr.fill_null(value=False).alias(str(at)) for at, (_, _, expr) in enumerate(checks))
    broken = []
    for at, (item, rule, _) in enumerate(checks):
        found = flags.get_column(str(at))
        if item.code in before:
            found &= ~before[item.code]
        if found.any():
            broken.append(Broken(rule, item.code, Severity.ERROR, found))
    return broken


def _clean(table: Table, broken: list[Broken], before: Mapping[str, pl.Series]) -> dict[str, pl.Series]:
    """Rows, per item with any general defect, where the item is free of it."""
    clean: dict[str, pl.Series] = {item: ~rows for item, rows in before.items() if item in table.columns}
    for found in broken:
        ok = ~found.rows
        clean[found.item] = clean[found.item] & ok if found.item in clean else ok
    return clean


def _rules(
    chosen: Sequence[Rule], rows: pl.DataFrame, context: Context, clean: Mapping[str, pl.Series]
) -> list[Broken]:
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
            broken.append(Broken(rule.id, rule.items[0], rule.severity, found))
    return broken


def _findings(table: Table, rows: pl.DataFrame, broken: Sequence[Broken]) -> pl.DataFrame:
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
        if found.rows.any()
    ]
    return pl.concat([_FINDINGS, *parts])
