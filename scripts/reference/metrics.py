"""Every metric of a zone."""

from __future__ import annotations

from jinbao.appliance.metrics import METRICS

from .tables import Block, Rows, Tabled
from .words import Lang


def _metrics(lang: Lang) -> Rows:
    for one in METRICS:
        text = one.text_zh if lang == "zh" else one.text_en
        yield f"`{one.name}`", one.kind, ", ".join(one.labels), text, f"`{one.event}`" if one.event else ""


BLOCKS: dict[str, Block] = {
    "metrics": Tabled(
        {
            "en": ["name", "kind", "labels", "meaning", "counts the log event"],
            "zh": ["名称", "种类", "标签", "含义", "所计的日志事件"],
        },
        _metrics,
    ),
}
