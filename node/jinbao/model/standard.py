"""Standards 标准: libraries 交换库, tables, items 数据项, code lists 代码表 and rules 规则, as values.

Loading them from `tiers/standards/` is the registry's work; judging with them the
gate's. Only two physical types exist, text and 64-bit integers, so that a row means
the same in Polars, SQLite and PostgreSQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from jinbao.model.finding import Scope, Severity, Verdict


class ItemType(StrEnum):
    """Logical type of an item, by the indicator system's letters."""

    TEXT = "C"
    INTEGER = "N"
    DATE = "D"  # YYYYMMDD as an integer
    MONTH = "M"  # YYYYMM as an integer
    AMOUNT = "A"  # yuan, scaled by 10**scale
    RATE = "R"  # scaled by 10**scale


@dataclass(frozen=True, slots=True)
class Item:
    """One column. `length` counts characters (text) or digits; `scale` decimals of A and R."""

    code: str
    name_zh: str
    name_en: str
    type: ItemType
    length: int
    scale: int = 0
    code_list: str = ""
    mandatory: bool = False
    personal: bool = False

    @property
    def is_text(self) -> bool:
        """Whether the stored type is text; every other item is a 64-bit integer."""
        return self.type is ItemType.TEXT


@dataclass(frozen=True, slots=True)
class Code:
    """One entry of a code list; `valid_from`/`valid_to` are YYYYMMDD, 0 and 99991231 when open."""

    code: str
    name_zh: str
    valid_from: int = 0
    valid_to: int = 99991231
    successors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CodeList:
    """A code list, its entries valid by date."""

    id: str
    codes: tuple[Code, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: `check` names a kind the gate knows, `arguments` are its parameters."""

    id: str
    table: str
    check: str
    scope: Scope
    severity: Severity
    items: tuple[str, ...]
    text_zh: str
    text_en: str
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """When the gate refuses a table whole, by count and by share.

    More than `bad_rows_max` bad rows, or a larger share than `bad_share_max` once there are
    more than `bad_rows_min`: below that a share of a small table says nothing.
    """

    bad_rows_min: int
    bad_rows_max: int
    bad_share_max: float

    def refuse(self, rows: int, bad: int) -> bool:
        """Whether a table of `rows` rows with `bad` bad ones is refused whole."""
        return bad > self.bad_rows_max or (bad > self.bad_rows_min and bad > self.bad_share_max * rows)

    def verdict(self, rows: int, bad: int) -> Verdict:
        """The gate's word on a table of `rows` rows with `bad` bad ones."""
        if self.refuse(rows, bad):
            return Verdict.REFUSED
        return Verdict.WITH_QUARANTINE if bad else Verdict.ACCEPTED


@dataclass(frozen=True)
class Table:
    """One table: items in the standard's order, its key, and the columns summed for control."""

    id: str
    name_zh: str
    name_en: str
    items: tuple[Item, ...]
    key: tuple[str, ...]
    totals: tuple[str, ...]
    rules: tuple[Rule, ...]
    limits: Limits

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Item codes in the standard's order: the order of canonical encoding."""
        return tuple(item.code for item in self.items)

    @cached_property
    def segment_columns(self) -> Mapping[str, bool]:
        """Columns of a segment of this table, in order, and whether each is text: the items, then `op`."""
        return {item.code: item.is_text for item in self.items} | {"op": True}


def version_order(version: str) -> tuple[tuple[int, str], ...]:
    """What versions of a standard are ordered by: numbers by their value, words by their letters and before numbers."""
    parts = re.findall(r"\d+|[A-Za-z]+", version)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def newest_versions(ids: Iterable[str]) -> dict[str, str]:
    """The newest version of each library among ids `library@version`."""
    newest: dict[str, str] = {}
    for library, _, version in (one.partition("@") for one in ids):
        if version_order(version) > version_order(newest.get(library, "")):
            newest[library] = version
    return newest


@dataclass(frozen=True)
class Standard:
    """One version of one library: `id@version`, in force from `valid_from` (YYYYMM)."""

    library: str
    version: str
    name_zh: str
    name_en: str
    valid_from: int
    tables: tuple[Table, ...]
    code_lists: Mapping[str, CodeList]

    @property
    def id(self) -> str:
        """Return `pension_macro@1.0`."""
        return f"{self.library}@{self.version}"

    def table(self, table_id: str) -> Table:
        """Return one table; KeyError if the standard has none of that name."""
        for table in self.tables:
            if table.id == table_id:
                return table
        raise KeyError(table_id)
