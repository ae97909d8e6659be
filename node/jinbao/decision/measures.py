"""Building blocks of indicators: sums of whole numbers by month and city, and one final division.

No float appears anywhere: amounts stay scaled integers, DuckDB adds them in 128 bits, and
a ratio is one integer division, rounded half up (away from zero) at the stated decimals.
A part is one table's contribution (`num`, `den`) by period, region and group; parts add up,
which is why a total over cities is the indicator of the whole and not a mean of means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any

import ibis

from jinbao.decision.view import ORIGIN

Expr = Any
"""An ibis expression: the library carries no types."""

Tables = Mapping[str, Expr]
"""Views of one library by table id."""

TOTAL = "total"
UNKNOWN = "unknown"
PERCENT = 100 * 10**2
"""Factor of a percentage with two decimals."""


@dataclass(frozen=True, slots=True)
class Indicator:
    """One indicator: `expression` gives period, region, group and `value`, an integer scaled by 10**decimals.

    `id` is that of the indicator system; `dimension` names what `group` holds; `definition`
    is the formula in tables and items.
    """

    id: str
    library: str
    name_zh: str
    name_en: str
    unit: str
    dimension: str
    decimals: int
    definition: str
    expression: Callable[[Tables], Expr]


def _divide(a: int, b: int) -> int:
    """DuckDB's whole-number division: exact in 128 bits, where ibis' `//` would pass through a float."""
    raise NotImplementedError(a, b)  # ibis reads the signature; DuckDB does the work


whole: Callable[[Expr, Expr], Expr] = ibis.udf.scalar.builtin(
    _divide, name="divide", signature=((int, int), int)
)


def flag(condition: Expr) -> Expr:
    """1 where a condition holds, else 0 (also where it is not known)."""
    return ibis.ifelse(condition, 1, 0)


def part(table: Expr, num: Expr, den: Expr = 0, *, where: Expr = None, group: Expr = "") -> Expr:
    """Sums of `num` and `den` by month, city and group; only rows `where` holds."""
    grouped = ibis.literal(group) if isinstance(group, str) else group.coalesce(UNKNOWN)
    named = table.select(
        period=table["AAE002"],
        region=table["AAB301"].substr(0, 4) + "00",
        group=grouped,
        num=_number(num),
        den=_number(den),
        keep=ibis.literal(value=True) if where is None else where,
    )
    kept = named.filter(named["keep"])
    return _summed(kept, kept["region"])


def count(table: Expr, where: Expr = None, group: Expr = None) -> Expr:
    """How many rows; without a group a city with none says 0."""
    if group is None:
        return part(table, 1 if where is None else flag(where))
    return part(table, 1, where=where, group=group)


def total(*parts: Expr) -> Expr:
    """The sum of parts."""
    added = _rolled_up(parts)
    return _valued(added, added["num"])


def ratio(*parts: Expr, factor: int) -> Expr:
    """`num * factor / den`, rounded half up; nothing where `den` is 0."""
    added = _rolled_up(parts)
    some = added.filter(added["den"] > 0)
    scaled, den = some["num"] * factor, some["den"]
    return _valued(some, whole(scaled.abs() * 2 + den, den * 2) * scaled.sign())


def age(table: Expr) -> Expr:
    """Completed years at the end of the month the data speaks of."""
    return whole(table["AAE002"] * 100 + 31 - table["AAC006"], 10_000)


def month(date: Expr) -> Expr:
    """YYYYMM of a date YYYYMMDD."""
    return whole(date, 100)


def bands(value: Expr, *starts: int, below: bool = True) -> Expr:
    """The band a number lies in: `16-19`, `20-24`, …, `60+`; under the first, `-15` or (not `below`) `0`."""
    first = f"-{starts[0] - 1}" if below else "0"
    inner = [(value < b, f"{a}-{b - 1}") for a, b in pairwise(starts)]
    return ibis.cases((value.isnull(), UNKNOWN), (value < starts[0], first), *inner, else_=f"{starts[-1]}+")


def both(first: Expr, second: Expr) -> Expr:
    """Two groups in one: `16-19,1`."""
    return first.coalesce(UNKNOWN) + "," + second.coalesce(UNKNOWN)


def with_employer(tables: Tables, table: str) -> Expr:
    """Persons of a table with their employer's type and economic type."""
    employer = tables["employer"].select(ORIGIN, "AAB001", "AAB019", "AAB020")
    return tables[table].left_join(employer, [ORIGIN, "AAB001"])


def _number(value: Expr) -> Expr:
    return ibis.literal(value, "int64") if isinstance(value, int) else value.coalesce(0)


def _summed(table: Expr, region: Expr) -> Expr:
    keys = {"period": table["period"], "region": region, "group": table["group"]}
    return table.group_by(**keys).aggregate(num=table["num"].sum(), den=table["den"].sum())


def _rolled_up(parts: tuple[Expr, ...]) -> Expr:
    joined = reduce(lambda a, b: a.union(b), parts)
    return _summed(joined, joined["region"]).union(_summed(joined, ibis.literal(TOTAL)))


def _valued(table: Expr, value: Expr) -> Expr:
    # As text: 128-bit integers have no Arrow type of their own.
    return table.select("period", "region", "group", value=value.cast("string"))
