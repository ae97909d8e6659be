"""Rules as expressions: each kind of check gives, for every row, whether the row breaks the rule.

A rule looks only at rows where every item it names passed the general checks (filled,
right code, length and date): one defect is one finding, not a cascade. NULL in an
optional item is never a defect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from jinbao.model.standard import CodeList, Item, ItemType, Rule
from jinbao.quality.numbers import FOREIGN_PATTERN, citizen_id_ok, organisation_code_ok

MANDATORY, CODE, REGION, LENGTH, DATE = "Q-01", "Q-02", "Q-08", "Q-11", "Q-12"
"""General checks, judged for every item before any rule of the table."""

ID_OK = "__id_ok"
_REGIONS = "AAB301"


@dataclass(frozen=True)
class Context:
    """What rules may look at beside their row: the period (YYYYMM) and the submission's other tables."""

    period: int
    others: Mapping[str, pl.DataFrame]


Check = Callable[[Rule, Context], pl.Expr]


def real_date(name: str) -> pl.Expr:
    """Whether YYYYMMDD is a day of the calendar between 1850 and 2199."""
    year, month, day = pl.col(name) // 10_000, pl.col(name) // 100 % 100, pl.col(name) % 100
    leap = ((year % 4 == 0) & (year % 100 != 0)) | (year % 400 == 0)
    last = (
        pl.when(month == 2)
        .then(pl.when(leap).then(29).otherwise(28))
        .when(month.is_in([4, 6, 9, 11]))
        .then(30)
        .otherwise(31)
    )
    return year.is_between(1850, 2199) & month.is_between(1, 12) & day.is_between(1, last)


def real_month(name: str) -> pl.Expr:
    """Whether YYYYMM is a month between 1850 and 2199."""
    return (pl.col(name) // 100).is_between(1850, 2199) & (pl.col(name) % 100).is_between(1, 12)


def general_checks(item: Item, lists: Mapping[str, CodeList], period: int) -> list[tuple[str, pl.Expr]]:
    """The general checks of one item: rule id and whether the row breaks it."""
    value = pl.col(item.code)
    checks: list[tuple[str, pl.Expr]] = []
    if item.mandatory:
        blank = value.is_null() | (value == "") if item.is_text else value.is_null()
        checks.append((MANDATORY, blank))
    if item.is_text:
        checks.append((LENGTH, value.str.len_chars() > item.length))
    elif item.type is ItemType.DATE:
        checks.append((DATE, ~real_date(item.code)))
    elif item.type is ItemType.MONTH:
        checks.append((DATE, ~real_month(item.code)))
    else:
        checks.append((LENGTH, value.abs() >= 10**item.length))
    if item.code_list:
        checks.extend(_code_checks(item, lists[item.code_list], period))
    return checks


def _code_checks(item: Item, codes: CodeList, period: int) -> list[tuple[str, pl.Expr]]:
    value = pl.col(item.code)
    known = [c.code for c in codes.codes]
    last_day, first_day = period * 100 + 31, period * 100 + 1
    valid = [c.code for c in codes.codes if c.valid_from <= last_day and c.valid_to >= first_day]
    filled = value.is_not_null() & (value != "")
    checks = [(CODE, filled & ~value.is_in(known))]
    if len(valid) != len(known):
        expired = REGION if codes.id == _REGIONS else CODE
        checks.append((expired, filled & value.is_in(known) & ~value.is_in(valid)))
    return checks


def _number(rule: Rule, name: str) -> int:
    value = rule.arguments[name]
    assert isinstance(value, int), f"rule {rule.id}: {name} is a number"
    return value


def _text(rule: Rule, name: str) -> str:
    return str(rule.arguments[name])


def _years_at(period: int, born: pl.Expr) -> pl.Expr:
    return period // 100 - born // 10_000


def _is_citizen() -> pl.Expr:
    return pl.col(ID_OK) & ~pl.col("AAC002").str.contains(FOREIGN_PATTERN)


def _person_id(rule: Rule, _context: Context) -> pl.Expr:
    value = pl.col(rule.items[0])
    return ~pl.col(ID_OK) & ~value.str.contains(FOREIGN_PATTERN)


def _id_birth(rule: Rule, _context: Context) -> pl.Expr:
    born, number = rule.items
    said = pl.col(number).str.slice(6, 8).cast(pl.Int64, strict=False)
    return _is_citizen() & (said != pl.col(born))


def _id_sex(rule: Rule, _context: Context) -> pl.Expr:
    sex, number = rule.items
    odd = pl.col(number).str.slice(16, 1).cast(pl.Int64, strict=False) % 2 == 1
    said = pl.when(odd).then(pl.lit("1")).otherwise(pl.lit("2"))
    return _is_citizen() & pl.col(sex).is_in(["1", "2"]) & (said != pl.col(sex))


def _organisation_code(rule: Rule, _context: Context) -> pl.Expr:
    return ~pl.col(rule.items[0]).map_batches(organisation_code_ok, return_dtype=pl.Boolean)


def _referenced(rule: Rule, context: Context) -> pl.Series:
    """Values of the other table's column the rule looks at; rows that did not pass count too.

    An employer in quarantine is still an employer: its staff do not follow it there.
    """
    other = context.others[_text(rule, "table")]
    if "where" in rule.arguments:
        other = other.filter(pl.col(_text(rule, "where")) == _text(rule, "equals"))
    return other.get_column(_text(rule, "foreign")).drop_nulls()


def _count_matches(rule: Rule, context: Context) -> pl.Expr:
    counts = _referenced(rule, context).value_counts()
    key = counts.columns[0]
    said = pl.col(rule.items[0])
    found = pl.col(_text(rule, "foreign")).replace_strict(
        counts.get_column(key), counts.get_column("count").cast(pl.Int64), default=0
    )
    return said != found


def _positive_when(rule: Rule, _context: Context) -> pl.Expr:
    amount, state = rule.items
    return (pl.col(state) == _text(rule, "when")) & (pl.col(amount) <= 0)


def _implies(rule: Rule, _context: Context) -> pl.Expr:
    then, when = rule.items
    return (pl.col(when) == _text(rule, "when")) & (pl.col(then) != _text(rule, "then"))


def _sum_of(rule: Rule, _context: Context) -> pl.Expr:
    whole, *parts = rule.items
    return pl.col(whole) != sum((pl.col(part) for part in parts), start=pl.lit(0))


def _between(rule: Rule, _context: Context) -> pl.Expr:
    return ~pl.col(rule.items[0]).is_between(_number(rule, "minimum"), _number(rule, "maximum"))


def _age_between(rule: Rule, context: Context) -> pl.Expr:
    age = _years_at(context.period, pl.col(rule.items[0]))
    return ~age.is_between(_number(rule, "minimum"), _number(rule, "maximum"))


def _years_after(rule: Rule, _context: Context) -> pl.Expr:
    later, earlier = rule.items
    return pl.col(later) < pl.col(earlier) + _number(rule, "years") * 10_000


def _not_after_period(rule: Rule, context: Context) -> pl.Expr:
    value = pl.col(rule.items[0])
    month = pl.when(value > 999_999).then(value // 100).otherwise(value)
    return month > context.period


CHECKS: dict[str, Check] = {
    "unique": lambda r, _c: pl.col(r.items[0]).is_not_null() & pl.struct(r.items).is_duplicated(),
    "person_id": _person_id,
    "id_birth": _id_birth,
    "id_sex": _id_sex,
    "organisation_code": _organisation_code,
    "equals_period": lambda r, c: pl.col(r.items[0]) != c.period,
    "not_after_period": _not_after_period,
    "not_negative": lambda r, _c: pl.col(r.items[0]) < 0,
    "not_before": lambda r, _c: pl.col(r.items[0]) < pl.col(r.items[1]),
    "month_not_before_date": lambda r, _c: pl.col(r.items[0]) < pl.col(r.items[1]) // 100,
    "arrears_months": lambda r, _c: (pl.col(r.items[0]) > 0) & (pl.col(r.items[1]) == 0),
    "age_between": _age_between,
    "years_after": _years_after,
    "implies": _implies,
    "positive_when": _positive_when,
    "account_part": lambda r, _c: pl.col(r.items[0]) > pl.col(r.items[1]),
    "sum_of": _sum_of,
    "between": _between,
    "reference": lambda r, c: ~pl.col(r.items[0]).is_in(_referenced(r, c).implode()),
    "not_in": lambda r, c: pl.col(r.items[0]).is_in(_referenced(r, c).implode()),
    "count_matches": _count_matches,
}
"""Kinds of checks a standard's rules may name."""

ACROSS = frozenset({"unique", "reference", "not_in", "count_matches"})
"""Those that look at other rows, of the table or of others; all else judges a row by itself."""


def id_column(frame: pl.DataFrame) -> pl.DataFrame:
    """Add whether AAC002 is a right citizen number, where the table has one."""
    if "AAC002" not in frame.columns:
        return frame
    return frame.with_columns(citizen_id_ok(frame.get_column("AAC002")).alias(ID_OK))
