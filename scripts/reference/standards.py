"""Every item, rule and code list of the standards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from jinbao.appliance.questions.quarantine import GENERAL
from jinbao.model.standard import CodeList, Item, Rule, Standard, Table
from jinbao.registry.standards import load_code_lists, load_standards

from .places import ROOT, STANDARDS
from .tables import Block, Rows, Tabled, table
from .words import Lang

CODES_SHOWN_MAX = 24
"""A longer code list is counted, not printed: regions and industries are tables of their own."""

CODE_LISTS = STANDARDS / "code_lists.toml"


class StandardWords(NamedTuple):
    """What stands around the facts of standards, in one language."""

    of_library: str
    of_table: str
    none: str
    item_titles: Sequence[str]
    rule_titles: Sequence[str]
    counted: str
    said: Mapping[str, str]


WORDS: dict[Lang, StandardWords] = {
    "en": StandardWords(
        of_library="{name_en}, version {version}, in force from {valid_from}.",
        of_table=(
            "{name}. Key: {key}. Control totals: {totals}. Refused whole with more than {most:,} bad rows, or with "
            "more than {some} that are more than {share:.0%} of the table."
        ),
        none="none",
        item_titles=["item", "名称", "name", "type", "code list", "mandatory", "personal"],
        rule_titles=["rule", "items", "check", "scope", "severity", "meaning"],
        counted="{} codes, see `{}`",
        said={},
    ),
    "zh": StandardWords(
        of_library="{version} 版，自 {valid_from} 起施行。",
        of_table=(
            "键：{key}。控制合计：{totals}。有问题的行多于 {most:,}，或多于 {some} 且超过全表的 {share:.0%}，整张表拒绝。"
        ),
        none="无",
        item_titles=["数据项", "名称", "英文名称", "类型", "代码表", "必填", "个人信息"],
        rule_titles=["规则", "数据项", "检查", "范围", "严重程度", "含义"],
        counted="{} 个代码，见 `{}`",
        said={
            "yes": "是",
            "row": "行",
            "batch": "批次",
            "submission": "报送",
            "error": "错误",
            "warning": "警告",
        },
    ),
}


@cache
def standards() -> tuple[Standard, ...]:
    """The standards of `tiers/`, by library."""
    return tuple(standard for _, standard in sorted(load_standards(STANDARDS).items()))


def rule_text(library: str, table_id: str, rule: str, lang: Lang) -> str:
    """What a rule of a table, or one of all tables, says."""
    if rule in GENERAL:
        return _general_text(rule, lang)
    [standard] = [standard for standard in standards() if standard.library == library]
    return _text(next(one for one in standard.table(table_id).rules if one.id == rule), lang)


def _general_text(rule: str, lang: Lang) -> str:
    zh, en = GENERAL[rule]
    return zh if lang == "zh" else en


def _text(rule: Rule, lang: Lang) -> str:
    return rule.text_zh if lang == "zh" else rule.text_en


def _standards(lang: Lang) -> str:
    return "\n".join(_standard(standard, lang) for standard in standards())


def _standard(standard: Standard, lang: Lang) -> str:
    said = WORDS[lang].of_library.format(
        name_en=standard.name_en, version=standard.version, valid_from=standard.valid_from
    )
    head = f"## {standard.library} {standard.name_zh}\n\n{said}\n"
    return head + "".join(_table(one, lang) for one in standard.tables)


def _table(one: Table, lang: Lang) -> str:
    words, limits = WORDS[lang], one.limits
    said = words.of_table.format(
        name=one.name_en.capitalize(),
        key=", ".join(one.key),
        totals=", ".join(one.totals) or words.none,
        most=limits.bad_rows_max,
        some=limits.bad_rows_min,
        share=limits.bad_share_max,
    )
    items = table(words.item_titles, (_item(item, words.said) for item in one.items))
    rules = table(words.rule_titles, (_rule(rule, lang) for rule in one.rules))
    return f"\n### {one.id} {one.name_zh}\n\n{said}\n\n{items}\n{rules}"


def _item(item: Item, said: Mapping[str, str]) -> Sequence[object]:
    size = f"{item.type} {item.length}" + (f",{item.scale}" if item.scale else "")
    yes = {True: said.get("yes", "yes"), False: ""}
    names = (item.code, item.name_zh, item.name_en)
    return *names, size, item.code_list, yes[item.mandatory], yes[item.personal]


def _rule(rule: Rule, lang: Lang) -> Sequence[object]:
    said = WORDS[lang].said
    more = ", ".join(f"{name} {value}" for name, value in rule.arguments.items())
    check = f"`{rule.check}`" + (f" ({more})" if more else "")
    scope, severity = said.get(rule.scope, rule.scope), said.get(rule.severity, rule.severity)
    return rule.id, ", ".join(rule.items), check, scope, severity, _text(rule, lang)


def _general(lang: Lang) -> Rows:
    return ((rule, _general_text(rule, lang)) for rule in GENERAL)


def _code_lists(lang: Lang) -> Rows:
    used: dict[str, set[str]] = {}
    for standard in standards():
        for item in (item for one in standard.tables for item in one.items if item.code_list):
            used.setdefault(item.code_list, set()).add(item.code)
    lists = load_code_lists(CODE_LISTS)
    return (
        (name, ", ".join(sorted(used.get(name, ()))), _codes(found, lang)) for name, found in lists.items()
    )


def _codes(found: CodeList, lang: Lang) -> str:
    if len(found.codes) > CODES_SHOWN_MAX:
        return WORDS[lang].counted.format(len(found.codes), CODE_LISTS.relative_to(ROOT))
    return ", ".join(f"{code.code} {code.name_zh}" for code in found.codes)


BLOCKS: dict[str, Block] = {
    "standards": _standards,
    "general": Tabled({"en": ["rule", "meaning"], "zh": ["规则", "含义"]}, _general),
    "code-lists": Tabled(
        {"en": ["code list", "items", "codes"], "zh": ["代码表", "数据项", "代码"]}, _code_lists
    ),
}
