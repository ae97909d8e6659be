"""Every indicator of the decision zone."""

from __future__ import annotations

from functools import partial

from jinbao.decision.indicators import of_library

from .tables import Block, Rows, Tabled
from .words import Lang

TITLES: dict[Lang, list[str]] = {
    "en": ["id", "名称", "name", "unit", "group", "decimals", "definition"],
    "zh": ["编号", "名称", "英文名称", "单位", "分组", "小数位", "定义"],
}


def _indicators(library: str, _: Lang) -> Rows:
    return (
        (one.id, one.name_zh, one.name_en, one.unit, one.dimension, one.decimals, one.definition)
        for one in of_library(library)
    )


BLOCKS: dict[str, Block] = {
    "indicators-pension": Tabled(TITLES, partial(_indicators, "pension_macro")),
    "indicators-unemployment": Tabled(TITLES, partial(_indicators, "unemployment_monitor")),
}
