"""The sample city: its tables, the figures it follows, its odd kinds of people, and the defects planted in it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache

from jinbao.sample.defects import DEFECTS
from jinbao.sample.edit import Editor
from jinbao.sample.odd import ODD_KINDS
from jinbao.sample.people import make_city
from jinbao.sample.schema import KEYS, TABLES

from .places import FIGURES
from .standards import rule_text
from .tables import Block, Rows, Tabled
from .words import Lang, Sentences


def _business(_: Lang) -> Rows:
    for name, columns in TABLES.items():
        yield f"`{name}`", ", ".join(KEYS[name]), ", ".join(f"{c} {kind}" for c, kind in columns.items())


def _figure_lines() -> dict[str, tuple[object, str]]:
    """Value and source of each figure of the sample, by its name."""
    parts = (line.partition("#") for line in FIGURES.read_text(encoding="utf-8").splitlines())
    return {
        name: (value, source.strip())
        for said, _, source in parts
        for name, value in tomllib.loads(said).items()
    }


FIGURES_SAID = Sentences("figures", lambda: {name: source for name, (_, source) in _figure_lines().items()})
ODD_SAID = Sentences("odd", lambda: {kind: kind for kind in ODD_KINDS})


def _figures(lang: Lang) -> Rows:
    said = FIGURES_SAID.of(lang)
    return ((f"`{name}`", value, said[name]) for name, (value, _) in _figure_lines().items())


def _odd(lang: Lang) -> str:
    said = ODD_SAID.of(lang)
    return "".join(f"- {said[kind]}\n" for kind in ODD_KINDS)


@cache
def _planted() -> Sequence[tuple[str, str, str, str, str]]:
    """Business table, library, table of the standard, item and rule of each kind of defect, in a small city."""
    editor = Editor(make_city("140100", 5_000, 1, 202410))
    lines = (line for plant in DEFECTS for line in plant(editor))
    return list(dict.fromkeys((p.source_table, p.library, p.table, p.item, p.rule) for p in lines))


def _defects(lang: Lang) -> Rows:
    for source, library, table, item, rule in _planted():
        yield source, f"{library}.{table}", item, rule, rule_text(library, table, rule, lang)


BLOCKS: dict[str, Block] = {
    "business": Tabled(
        {"en": ["table", "primary key", "columns"], "zh": ["表", "主键", "列"]},
        _business,
    ),
    "figures": Tabled({"en": ["figure", "value", "source"], "zh": ["数字", "值", "来源"]}, _figures),
    "odd": _odd,
    "defects": Tabled(
        {
            "en": ["business table", "found in", "item", "rule", "meaning"],
            "zh": ["业务表", "在何处发现", "数据项", "规则", "含义"],
        },
        _defects,
    ),
}
