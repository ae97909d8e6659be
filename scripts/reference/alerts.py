"""Every alert with its rules and its runbook, and every series that is recorded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from .places import MONITORING
from .tables import Block, Rows, Tabled, table
from .words import Lang

TITLES: dict[Lang, list[str]] = {"en": ["alert", "severity", "meaning"], "zh": ["告警", "级别", "含义"]}

_ENDS: dict[Lang, str] = {"en": ".md", "zh": ".zh.md"}
_WAITS: dict[Lang, str] = {"en": ", for {}", "zh": "，持续 {}"}
_COLON: dict[Lang, str] = {"en": ":", "zh": "："}


def _rules(name: str, kind: str) -> list[dict[str, Any]]:
    body = yaml.safe_load((MONITORING / name).read_text(encoding="utf-8"))
    return [rule for group in body["groups"] for rule in group["rules"] if kind in rule]


def _alerts(lang: Lang) -> str:
    """Each alert once, with its severities and what it says; then its page, as it is served."""
    found: dict[str, list[dict[str, Any]]] = {}
    for rule in _rules("alerts.yml", "alert"):
        found.setdefault(rule["alert"], []).append(rule)
    rows = (_row(name, rules, lang) for name, rules in found.items())
    pages = (f"\n## {name}\n\n{_page(name, rules, lang)}" for name, rules in found.items())
    return table(TITLES[lang], rows) + "".join(pages)


def _row(name: str, rules: Sequence[dict[str, Any]], lang: Lang) -> Sequence[str]:
    title, _ = _runbook(name, lang)
    return f"[`{name}`](#{name.lower()})", ", ".join(rule["labels"]["severity"] for rule in rules), title


def _runbook(name: str, lang: Lang) -> tuple[str, str]:
    """What the first line of an alert's runbook says after the alert's name, and all that stands below that line."""
    text = (MONITORING / "runbooks" / f"{name}{_ENDS[lang]}").read_text(encoding="utf-8")
    first, _, below = text.split("\n", 2)
    return first.partition("：" if lang == "zh" else ": ")[2], below


def _page(name: str, rules: Sequence[dict[str, Any]], lang: Lang) -> str:
    text = ""
    for rule in rules:
        waits = _WAITS[lang].format(rule["for"]) if "for" in rule else ""
        text += f"**{rule['labels']['severity']}**{waits}{_COLON[lang]}\n\n```text\n{rule['expr']}\n```\n\n"
    _, runbook = _runbook(name, lang)
    return text + re.sub(r"^## (.*)$", r"**\1**", runbook, flags=re.MULTILINE)


def _recorded(_: Lang) -> Rows:
    rules = _rules("rules.yml", "record")
    return ((f"`{rule['record']}`", f"`{' '.join(rule['expr'].split())}`") for rule in rules)


BLOCKS: dict[str, Block] = {
    "alerts": _alerts,
    "recorded": Tabled({"en": ["series", "made of"], "zh": ["序列", "由什么算出"]}, _recorded),
}
