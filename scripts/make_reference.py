"""Renews the tables of `docs/reference/` that follow from code: `.venv/bin/python scripts/make_reference.py`.

A page holds prose and blocks between `<!-- made: name -->` and `<!-- end -->`. Prose is left as it
is; each block is written again from settings, metrics, errors, commands, standards, the contract
or the sample. What speaks English alone where it is written has its Chinese in `docs/reference/zh.toml`.
`tests/house/test_reference.py` holds that the committed pages are what this makes.
"""  # noqa: INP001  # a script, not a package

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import click
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jinbao.appliance.doctor.examine import CHECKS, Check
from jinbao.appliance.doctor.repair import SAFE
from jinbao.appliance.metrics import METRICS, Metric
from jinbao.appliance.questions import QUESTIONS
from jinbao.appliance.questions.quarantine import GENERAL
from jinbao.appliance.questions.registry import Question
from jinbao.appliance.settings import (
    AuditSettings,
    CopySettings,
    EvidenceSettings,
    Limits,
    LineSettings,
    Paces,
    PromotionSettings,
    RoleSettings,
    Settings,
    SourceSettings,
    UpgradeSettings,
    WatchSettings,
    WindowSettings,
    ZoneSettings,
)
from jinbao.decision.indicators import of_library
from jinbao.model import errors
from jinbao.model.standard import CodeList, Item, Rule, Standard, Table
from jinbao.registry.standards import load_code_lists, load_standards
from jinbao.sample.defects import DEFECTS
from jinbao.sample.edit import Editor
from jinbao.sample.odd import ODD_KINDS
from jinbao.sample.people import make_city
from jinbao.sample.schema import KEYS, TABLES
from jinbao.trust import digest, evidence

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "reference"
CHINESE = PAGES / "zh.toml"
STANDARDS = ROOT / "tiers" / "standards"
MONITORING = ROOT / "monitoring"
SHAPES = ROOT / "tests" / "cli" / "golden" / "json"
WIRE = ROOT / "proto" / "jinbao" / "wire" / "v1"
CONTRACTS = (WIRE / "wire.proto", WIRE / "enrolment.proto")
COMMAND = ".venv/bin/python scripts/make_reference.py"

CODES_SHOWN_MAX = 24
"""A longer code list is counted, not printed: regions and industries are tables of their own."""

SHARED = {"--config", "--zone", "--json", "--help"}
"""Options most commands have; described once."""

_BLOCK = re.compile(r"(<!-- made: ([a-z-]+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


_MESSAGE = re.compile(r"((?:^//[^\n]*\n)*)^message (\w+) \{\n(.*?)^\}", flags=re.MULTILINE | re.DOTALL)


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(value: object) -> str:
    """One cell: no bar and no line end of its own, and no tag outside of code."""
    parts = str(value).replace("|", "\\|").replace("\n", " ").split("`")
    return "`".join(part if at % 2 else part.replace("<", "&lt;") for at, part in enumerate(parts))


Words = Callable[[], dict[str, dict[str, str]]]
"""`english` or `chinese`: what the pages say, by kind and name."""


@cache
def chinese() -> dict[str, dict[str, str]]:
    """What the Chinese pages say, by kind and name, as `english()` has it in English; no name can stand there twice."""
    return tomllib.loads(CHINESE.read_text(encoding="utf-8"))


@cache
def english() -> dict[str, dict[str, str]]:
    """What the pages say in English, by kind and name, of what has its Chinese in `zh.toml`, in the order of the pages."""
    faults = sorted(fault_rows().items(), key=lambda item: int(item[0]))
    return {
        "settings": {
            key: field.description or "" for section in SECTIONS.values() for key, field in _keys(*section)
        },
        "tables": setting_tables(),
        "errors": {c.code: _first(c.__doc__) for c in error_classes()},
        "questions": {name: asked.text for name, asked in sorted(QUESTIONS.items())},
        "evidence": evidence_clauses(),
        "clauses": clauses(),
        "messages": message_words(),
        "faults": {row: said["fault"] for row, said in faults},
        "outcomes": {row: said["outcome"] for row, said in faults},
        "figures": {name: source for name, (_, source) in figure_lines().items()},
        "odd": {kind: kind for kind in ODD_KINDS},
    }


# Settings


SECTIONS: dict[str, tuple[str, type[BaseModel]]] = {
    "node": ("", Settings),
    "zone": ("zones.<zone>.", ZoneSettings),
    "line": ("zones.<zone>.line.", LineSettings),
    "window": ("zones.<zone>.line.windows[].", WindowSettings),
    "source": ("sources[].", SourceSettings),
    "limits": ("limits.", Limits),
    "pace": ("pace.", Paces),
    "roles": ("roles.", RoleSettings),
    "audit": ("audit.", AuditSettings),
    "evidence": ("evidence.", EvidenceSettings),
    "copies": ("copies.", CopySettings),
    "promotion": ("promotion.", PromotionSettings),
    "watch": ("watch.", WatchSettings),
    "upgrade": ("upgrade.", UpgradeSettings),
}
"""Each table of settings by the name of its block: what its keys begin with, and its model."""


def setting_keys() -> list[str]:
    """Every key of the settings, as the pages write it, in their order."""
    return [key for section in SECTIONS.values() for key, _ in _keys(*section)]


def _keys(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if not _is_table(field.annotation):
            yield f"{prefix}{field.alias or name}", field


def setting_tables() -> dict[str, str]:
    """What is said of those tables of settings that say anything, by their key; Ansible's options show it."""
    return {
        f"{prefix}{name}": field.description
        for prefix, model in SECTIONS.values()
        for name, field in model.model_fields.items()
        if _is_table(field.annotation) and field.description
    }


def _is_table(annotation: object) -> bool:
    return (
        annotation
        in {
            Limits,
            Paces,
            RoleSettings,
            AuditSettings,
            EvidenceSettings,
            CopySettings,
            PromotionSettings,
            WatchSettings,
            UpgradeSettings,
            LineSettings,
        }
        or "ZoneSettings" in str(annotation)
        or "SourceSettings" in str(annotation)
    )


def _default(field: FieldInfo, required: str, empty: str) -> str:
    if field.is_required():
        return required
    value = field.get_default(call_default_factory=True)
    return empty if value is None or value in ("", (), {}) else f"`{value}`"


def _settings(prefix: str, model: type[BaseModel]) -> Callable[[], str]:
    titles = ["key", "default", "what it is, and why so much"]
    return lambda: table(
        titles,
        (
            (f"`{key}`", _default(field, "required", "empty"), field.description)
            for key, field in _keys(prefix, model)
        ),
    )


def _settings_zh(prefix: str, model: type[BaseModel]) -> Callable[[], str]:
    titles = ["键", "默认", "含义，为何取这个值"]
    return lambda: table(
        titles,
        (
            (f"`{key}`", _default(field, "必填", "空"), chinese()["settings"][key])
            for key, field in _keys(prefix, model)
        ),
    )


# Roles


def _roles() -> str:
    rows = ((f"`{q.name}`", q.kind, _role(q), _why(q), q.text) for _, q in sorted(QUESTIONS.items()))
    return table(["question", "kind", "role", "reason", "what it is"], rows)


def _roles_zh() -> str:
    words = {
        "": "",
        "read": "读取",
        "act": "操作",
        "system": "系统管理员",
        "security": "安全管理员",
        "audit": "安全审计员",
        "security, if in clear": "看原文时须安全管理员",
        "required": "必填",
        "required, if in clear": "看原文时必填",
    }
    rows = (
        (f"`{name}`", words[q.kind], words[_role(q)], words[_why(q)], chinese()["questions"][name])
        for name, q in sorted(QUESTIONS.items())
    )
    return table(["问题", "种类", "角色", "事由", "含义"], rows)


def _role(asked: Question) -> str:
    return asked.role or ("security, if in clear" if asked.unmasks else "")


def _why(asked: Question) -> str:
    always = asked.role == "security" or (asked.person and not asked.role)
    return "required" if always else "required, if in clear" if asked.unmasks else ""


# Metrics and errors


def _metrics(titles: Sequence[str], lang: str) -> Callable[[], str]:
    return lambda: table(titles, (_metric(one, lang) for one in METRICS))


def _metric(one: Metric, lang: str) -> Sequence[str]:
    text = one.text_zh if lang == "zh" else one.text_en
    return f"`{one.name}`", one.kind, ", ".join(one.labels), text, f"`{one.event}`" if one.event else ""


def doctor_codes(check: str) -> list[str]:
    """Codes that a check's module gives its findings, in the order they stand there."""
    path = ROOT / "node" / "jinbao" / "appliance" / "doctor" / f"{check}.py"
    found = re.findall(rf'"({check}[.][a-z]+)"', path.read_text(encoding="utf-8"))
    return list(dict.fromkeys(found))


def _doctor(titles: Sequence[str], lang: str) -> Callable[[], str]:
    return lambda: table(titles, (_check(one, lang) for one in CHECKS))


def _check(one: Check, lang: str) -> Sequence[str]:
    codes = ", ".join(f"`{code}`" + (" *" if code in SAFE else "") for code in doctor_codes(one.name))
    if lang == "zh":
        return f"`{one.name}`", one.what.zh, "节点" if one.of_node else "分区", codes
    return f"`{one.name}`", one.what.en, "node" if one.of_node else "zone", codes


# Alerts


_ENDS = {"en": ".md", "zh": ".zh.md"}
_WAITS = {"en": ", for {}", "zh": "，持续 {}"}
_COLON = {"en": ":", "zh": "："}


def _rules(name: str, kind: str) -> list[dict[str, Any]]:
    body = yaml.safe_load((MONITORING / name).read_text(encoding="utf-8"))
    return [rule for group in body["groups"] for rule in group["rules"] if kind in rule]


def _alerts(titles: Sequence[str], lang: str) -> Callable[[], str]:
    """Each alert once, with its severities and what it says; then its page, as it is served."""

    def made() -> str:
        found: dict[str, list[dict[str, Any]]] = {}
        for rule in _rules("alerts.yml", "alert"):
            found.setdefault(rule["alert"], []).append(rule)
        rows = (
            (
                f"[`{name}`](#{name.lower()})",
                ", ".join(r["labels"]["severity"] for r in rules),
                _title(name, lang),
            )
            for name, rules in found.items()
        )
        pages = (f"\n## {name}\n\n{_alert(name, rules, lang)}" for name, rules in found.items())
        return table(titles, rows) + "".join(pages)

    return made


def _title(name: str, lang: str) -> str:
    return _page_of(name, lang).split("\n", 1)[0].partition("：" if lang == "zh" else ": ")[2]


def _page_of(name: str, lang: str) -> str:
    """The runbook of an alert in one language; its first line names it."""
    return (MONITORING / "runbooks" / f"{name}{_ENDS[lang]}").read_text(encoding="utf-8")


def _alert(name: str, rules: Sequence[dict[str, Any]], lang: str) -> str:
    text = ""
    for rule in rules:
        waits = _WAITS[lang].format(rule["for"]) if "for" in rule else ""
        text += f"**{rule['labels']['severity']}**{waits}{_COLON[lang]}\n\n```text\n{rule['expr']}\n```\n\n"
    return text + re.sub(r"^## (.*)$", r"**\1**", _page_of(name, lang).split("\n", 2)[2], flags=re.MULTILINE)


def _recorded(titles: Sequence[str]) -> Callable[[], str]:
    rules = _rules("rules.yml", "record")
    return lambda: table(titles, ((f"`{r['record']}`", f"`{' '.join(r['expr'].split())}`") for r in rules))


def error_classes() -> list[type[errors.JinbaoError]]:
    """Every error class of the model that has a code of its own, families before their members."""
    found = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.JinbaoError)]
    return [c for c in found if "code" in vars(c)]


def _errors() -> str:
    rows = ((*_error(c), _first(c.__doc__)) for c in error_classes())
    return table(["code", "belongs to", "exit code", "meaning"], rows)


def _errors_zh() -> str:
    rows = ((*_error(c), chinese()["errors"][c.code]) for c in error_classes())
    return table(["代码", "属于", "退出码", "含义"], rows)


def _error(kind: type[errors.JinbaoError]) -> Sequence[object]:
    return f"[`{kind.code}`](#{kind.code})", _family(kind), kind.exit_code


def _family(kind: type[errors.JinbaoError]) -> str:
    parent = kind.__mro__[1]
    return f"`{parent.code}`" if issubclass(parent, errors.JinbaoError) else ""


def _first(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]


# Commands


def _commands_here() -> list[dict[str, Any]]:
    """Every command in the language of this process, depth first."""
    from jinbao.cli.main import build  # noqa: PLC0415  # words are chosen when it is imported

    return list(_walk(build(), "jinbao"))


def _walk(command: click.Command, name: str) -> Iterator[dict[str, Any]]:
    context = click.Context(command, info_name=name)
    options = [_option(p, context) for p in command.params if isinstance(p, click.Option)]
    arguments = [p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)]
    text = {"name": name, "help": command.help or "", "epilog": command.epilog or ""}
    yield {**text, "options": options, "arguments": arguments, "group": isinstance(command, click.Group)}
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            assert found is not None
            yield from _walk(found, f"{name} {each}")


def _option(option: click.Option, context: click.Context) -> dict[str, Any]:
    names = ", ".join(option.opts) + "".join(f" / {name}" for name in option.secondary_opts)
    kind = option.type.choices if isinstance(option.type, click.Choice) else ()
    default = None if option.is_flag or not isinstance(option.default, (str, int)) else option.default
    return {
        "names": names,
        "value": "" if option.is_flag else "|".join(kind) or option.make_metavar(context),
        "default": default,
        "required": option.required,
        "multiple": option.multiple,
        "help": option.help or "",
    }


@cache
def commands() -> tuple[dict[str, Any], ...]:
    """Every command with its words in English and Chinese, each language from a process of its own."""
    told = {}
    for lang in ("en", "zh"):
        command = [sys.executable, __file__, "--commands"]
        environment = os.environ | {"JINBAO_LANG": lang, "PYTHONUTF8": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, check=True)  # noqa: S603  # ourselves
        told[lang] = json.loads(done.stdout)
    both = zip(told["en"], told["zh"], strict=True)
    return tuple(en | {"help_zh": zh["help"], "options_zh": zh["options"]} for en, zh in both)


def _cli(words: Mapping[str, str]) -> Callable[[], str]:
    return lambda: "\n".join(_command(each, words) for each in commands() if each["name"] != "jinbao")


CLI_WORDS: dict[str, dict[str, str]] = {
    "en": {
        "help": "help",
        "options": "options",
        "titles": "option, default, meaning",
        "required": "required",
        "repeats": "required, may repeat",
        "example": "Example: ",
    },
    "zh": {
        "help": "help_zh",
        "options": "options_zh",
        "titles": "选项, 默认, 含义",
        "required": "必填",
        "repeats": "必填，可重复",
        "example": "示例：",
    },
}
"""Of each language: where `commands()` has its words, and the words around them."""


def _command(one: dict[str, Any], words: Mapping[str, str]) -> str:
    level = "##" if one["name"].count(" ") == 1 else "###"
    text = f"{level} `{one['name']}`\n\n{one[words['help']]}\n"
    own = [option for option in one[words["options"]] if option["names"] not in SHARED]
    shared = [option for option in one[words["options"]] if option["names"] in SHARED]
    usage = [one["name"], *one["arguments"], *(_usage(o) for o in [*own, *shared])]
    if not one["group"] or own:
        text += f"\n```text\n{' '.join(usage)}\n```\n"
    if own:
        rows = ((f"`{option['names']}`", _says(option, words), option["help"]) for option in own)
        text += f"\n{table(words['titles'].split(', '), rows)}"
    if one["epilog"]:
        text += f"\n{words['example']}`{one['epilog']}`\n"
    return text


def _usage(option: dict[str, Any]) -> str:
    name = option["names"] if " / " in option["names"] else option["names"].split(", ")[-1]
    name = f"{name} {option['value']}".strip()
    return name if option["required"] else f"[{name}]"


def _says(option: dict[str, Any], words: Mapping[str, str]) -> str:
    if option["required"]:
        return words["repeats" if option["multiple"] else "required"]
    return "" if option["default"] in (None, "") else f"`{option['default']}`"


def shapes() -> dict[str, str]:
    """The shape of each command's JSON answer, which a golden file holds, by the command."""
    return {
        f"jinbao {path.stem.replace('-', ' ')}": path.read_text(encoding="utf-8") for path in SHAPES.glob("*")
    }


def speaks_json(one: dict[str, Any]) -> bool:
    """Whether a command has `--json`."""
    return any(option["names"] == "--json" for option in one["options"])


def _cli_json(words: Mapping[str, str]) -> Callable[[], str]:
    """Each command that has `--json`, with its golden shape; KeyError for one that has none."""

    def made() -> str:
        held, speaking = shapes(), [each for each in commands() if speaks_json(each)]
        return "\n".join(
            f"## `{each['name']}`\n\n{each[words['help']]}\n\n```json\n{held[each['name']]}```\n"
            for each in speaking
        )

    return made


# Standards


@cache
def standards() -> tuple[Standard, ...]:
    """The standards of `tiers/`, by library."""
    return tuple(standard for _, standard in sorted(load_standards(STANDARDS).items()))


class StandardWords(NamedTuple):
    """What stands around the facts of standards, in one language."""

    of_library: str
    of_table: str
    none: str
    item_titles: Sequence[str]
    rule_titles: Sequence[str]
    counted: str
    said: Mapping[str, str]


STANDARD_WORDS = {
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


def _standards(lang: str) -> Callable[[], str]:
    return lambda: "\n".join(_standard(standard, lang) for standard in standards())


def _standard(standard: Standard, lang: str) -> str:
    said = STANDARD_WORDS[lang].of_library.format(
        name_en=standard.name_en, version=standard.version, valid_from=standard.valid_from
    )
    head = f"## {standard.library} {standard.name_zh}\n\n{said}\n"
    return head + "".join(_standard_table(one, lang) for one in standard.tables)


def _standard_table(one: Table, lang: str) -> str:
    words, limits = STANDARD_WORDS[lang], one.limits
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
    return (
        item.code,
        item.name_zh,
        item.name_en,
        size,
        item.code_list,
        yes[item.mandatory],
        yes[item.personal],
    )


def _rule(rule: Rule, lang: str) -> Sequence[object]:
    said = STANDARD_WORDS[lang].said
    more = ", ".join(f"{name} {value}" for name, value in rule.arguments.items())
    check = f"`{rule.check}`" + (f" ({more})" if more else "")
    scope, severity = said.get(rule.scope, rule.scope), said.get(rule.severity, rule.severity)
    text = rule.text_zh if lang == "zh" else rule.text_en
    return rule.id, ", ".join(rule.items), check, scope, severity, text


def _general(titles: Sequence[str], lang: str) -> Callable[[], str]:
    return lambda: table(titles, ((rule, zh if lang == "zh" else en) for rule, (zh, en) in GENERAL.items()))


def _code_lists(titles: Sequence[str], lang: str) -> Callable[[], str]:
    def made() -> str:
        used: dict[str, set[str]] = {}
        for standard in standards():
            for item in (item for one in standard.tables for item in one.items if item.code_list):
                used.setdefault(item.code_list, set()).add(item.code)
        lists = load_code_lists(STANDARDS / "code_lists.toml")
        rows = (
            (name, ", ".join(sorted(used.get(name, ()))), _codes(found, lang))
            for name, found in lists.items()
        )
        return table(titles, rows)

    return made


def _codes(found: CodeList, lang: str) -> str:
    if len(found.codes) > CODES_SHOWN_MAX:
        return STANDARD_WORDS[lang].counted.format(len(found.codes), "tiers/standards/code_lists.toml")
    return ", ".join(f"{code.code} {code.name_zh}" for code in found.codes)


# Indicators


INDICATOR_TITLES = {
    "en": ["id", "名称", "name", "unit", "group", "decimals", "definition"],
    "zh": ["编号", "名称", "英文名称", "单位", "分组", "小数位", "定义"],
}


def _indicators(library: str, lang: str) -> Callable[[], str]:
    return lambda: table(
        INDICATOR_TITLES[lang],
        (
            (i.id, i.name_zh, i.name_en, i.unit, i.dimension, i.decimals, i.definition)
            for i in of_library(library)
        ),
    )


# The contract


def clauses() -> dict[str, str]:
    """The numbered clauses of the contract, chapters among them."""
    found: dict[str, str] = {}
    for path in CONTRACTS:
        opening = path.read_text(encoding="utf-8").split("syntax =")[0]
        number = ""  # what a file says before its first number is no clause
        for line in opening.splitlines():
            if begun := re.match(r"//  (\d(?:\.\d+)?) +(.*)", line):
                number = begun[1]
                found[number] = begun[2]
            elif number:
                found[number] += " " + line.removeprefix("//").strip()
    return found


def _clauses(titles: Sequence[str], said: Words) -> Callable[[], str]:
    return lambda: table(titles, (_clause(number, text) for number, text in said()["clauses"].items()))


def _clause(number: str, text: str) -> Sequence[str]:
    return (number, text) if "." in number else (f"**{number}**", f"**{text}**")


def _messages() -> list[tuple[str, str, list[Sequence[str]]]]:
    """Every message of the contract: its name, what is said of it, and its fields."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in CONTRACTS)
    return [(name, _comment(said), list(_fields(body))) for said, name, body in _MESSAGE.findall(text)]


def message_words() -> dict[str, str]:
    """What the contract says of messages and, as `message.field`, of fields; some say nothing."""
    found: dict[str, str] = {}
    for name, said, fields in _messages():
        found |= {name: said} | {f"{name}.{field}": words for _, field, _, words in fields}
    return {name: words for name, words in found.items() if words}


def _wire(titles: Sequence[str], said: Words) -> Callable[[], str]:
    return lambda: "\n".join(
        _message(name, fields, titles, said()["messages"]) for name, _, fields in _messages()
    )


def _message(name: str, fields: list[Sequence[str]], titles: Sequence[str], words: dict[str, str]) -> str:
    head = f"### {name}\n\n" + (f"{words[name]}\n\n" if name in words else "")
    rows = (
        (number, f"`{field}`", f"`{kind}`", words.get(f"{name}.{field}", ""))
        for number, field, kind, _ in fields
    )
    return head + table(titles, rows)


def _comment(said: str) -> str:
    return " ".join(line.removeprefix("//").strip() for line in said.splitlines())


def _fields(body: str) -> Iterator[Sequence[str]]:
    """Number, name, type and words of each field of a message."""
    said: list[str] = []
    for line in body.splitlines():
        if line.strip().startswith("//"):
            said.append(line.strip().removeprefix("//").strip())
        elif field := re.match(r"\s*(.+?) (\w+) = (\d+);", line):
            yield field[3], field[2], field[1], " ".join(said)
            said = []


# The sample


def _business(titles: Sequence[str]) -> Callable[[], str]:
    return lambda: table(
        titles,
        (
            (f"`{name}`", ", ".join(KEYS[name]), ", ".join(f"{c} {kind}" for c, kind in columns.items()))
            for name, columns in TABLES.items()
        ),
    )


def figure_lines() -> dict[str, tuple[object, str]]:
    """Value and source of each figure of the sample, by its name."""
    lines = (ROOT / "node" / "jinbao" / "sample" / "figures.toml").read_text(encoding="utf-8").splitlines()
    parts = (line.partition("#") for line in lines if "=" in line.partition("#")[0])
    return {
        name: (value, source.strip())
        for said, _, source in parts
        for name, value in tomllib.loads(said).items()
    }


def _figures(titles: Sequence[str], said: Words) -> Callable[[], str]:
    return lambda: table(
        titles, ((f"`{name}`", value, said()["figures"][name]) for name, (value, _) in figure_lines().items())
    )


def _odd(said: Words) -> Callable[[], str]:
    return lambda: "".join(f"- {said()['odd'][kind]}\n" for kind in ODD_KINDS)


def _defects(titles: Sequence[str], lang: str) -> Callable[[], str]:
    def made() -> str:
        editor = Editor(make_city("140100", 5_000, 1, 202410))
        lines = dict.fromkeys(line for plant in DEFECTS for line in plant(editor))
        rows = dict.fromkeys(
            (
                p.source_table,
                f"{p.library}.{p.table}",
                p.item,
                p.rule,
                rule_text(p.library, p.table, p.rule, lang),
            )
            for p in lines
        )
        return table(titles, rows)

    return made


def rule_text(library: str, table_id: str, rule: str, lang: str) -> str:
    """What a rule of a table says, in one language."""
    if rule in GENERAL:
        zh, en = GENERAL[rule]
        return zh if lang == "zh" else en
    [standard] = [standard for standard in standards() if standard.library == library]
    found = next(one for one in standard.table(table_id).rules if one.id == rule)
    return found.text_zh if lang == "zh" else found.text_en


# Faults


def fault_marks() -> dict[int, list[str]]:
    """Tests by the row of the fault table they are marked with, each `file: test`, in order."""
    found: dict[int, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for mark in map(ast.unparse, node.decorator_list):
                    if "fault_row(" in mark:
                        row = int(mark.partition("fault_row(")[2].rstrip(")"))
                        found.setdefault(row, []).append(f"{path.relative_to(ROOT / 'tests')}: {node.name}")
    return found


def fault_rows() -> dict[str, dict[str, str]]:
    """Rows of the fault table by number, as the tests have them."""
    return tomllib.loads((ROOT / "tests" / "faults.toml").read_text(encoding="utf-8"))


def _faults(titles: Sequence[str], said: Words) -> Callable[[], str]:
    def made() -> str:
        marks, words = fault_marks(), said()
        lines = (
            (
                row,
                fault,
                words["outcomes"][row],
                ", ".join(f"`{test}`" for test in _by_file(marks.get(int(row), []))),
            )
            for row, fault in words["faults"].items()
        )
        return table(titles, lines)

    return made


def _by_file(tests: Iterable[str]) -> list[str]:
    """Files with how many of their tests."""
    files = [test.partition(":")[0] for test in tests]
    return [f"{file} ({files.count(file)})" for file in dict.fromkeys(files)]


def evidence_clauses() -> dict[str, str]:
    """Clauses of digest and evidence by number, as their modules' docstrings say them."""
    found = {}
    for text in (digest.__doc__, evidence.__doc__):
        for number, said in re.findall(
            r"^([DE]\d+)\s+(.*?)(?=\n[DE]\d+ |\n\n|\Z)", text or "", re.MULTILINE | re.DOTALL
        ):
            found[number] = " ".join(said.split())
    return found


def _evidence(titles: Sequence[str], said: Words) -> Callable[[], str]:
    return lambda: table(titles, said()["evidence"].items())


BLOCKS: dict[str, Callable[[], str]] = {
    **{f"settings-{name}": _settings(*section) for name, section in SECTIONS.items()},
    **{f"settings-{name}-zh": _settings_zh(*section) for name, section in SECTIONS.items()},
    "roles": _roles,
    "roles-zh": _roles_zh,
    "metrics": _metrics(["name", "kind", "labels", "meaning", "counts the log event"], "en"),
    "metrics-zh": _metrics(["名称", "种类", "标签", "含义", "所计的日志事件"], "zh"),
    "alerts": _alerts(["alert", "severity", "meaning"], "en"),
    "alerts-zh": _alerts(["告警", "级别", "含义"], "zh"),
    "recorded": _recorded(["series", "made of"]),
    "recorded-zh": _recorded(["序列", "由什么算出"]),
    "errors": _errors,
    "errors-zh": _errors_zh,
    "doctor": _doctor(["check", "what is looked at", "once a", "codes (*: mended by `--fix`)"], "en"),
    "doctor-zh": _doctor(["检查项", "查看什么", "按什么各查一次", "代码（*：由 `--fix` 修复）"], "zh"),
    "cli": _cli(CLI_WORDS["en"]),
    "cli-zh": _cli(CLI_WORDS["zh"]),
    "cli-json": _cli_json(CLI_WORDS["en"]),
    "cli-json-zh": _cli_json(CLI_WORDS["zh"]),
    "standards": _standards("en"),
    "standards-zh": _standards("zh"),
    "general": _general(["rule", "meaning"], "en"),
    "general-zh": _general(["规则", "含义"], "zh"),
    "code-lists": _code_lists(["code list", "items", "codes"], "en"),
    "code-lists-zh": _code_lists(["代码表", "数据项", "代码"], "zh"),
    "indicators-pension": _indicators("pension_macro", "en"),
    "indicators-pension-zh": _indicators("pension_macro", "zh"),
    "indicators-unemployment": _indicators("unemployment_monitor", "en"),
    "indicators-unemployment-zh": _indicators("unemployment_monitor", "zh"),
    "clauses": _clauses(["clause", "text"], english),
    "clauses-zh": _clauses(["条款", "内容"], chinese),
    "messages": _wire(["no.", "field", "type", "meaning"], english),
    "messages-zh": _wire(["编号", "字段", "类型", "含义"], chinese),
    "evidence-clauses": _evidence(["clause", ""], english),
    "evidence-clauses-zh": _evidence(["条款", ""], chinese),
    "business": _business(["table", "primary key", "columns"]),
    "business-zh": _business(["表", "主键", "列"]),
    "figures": _figures(["figure", "value", "source"], english),
    "figures-zh": _figures(["数字", "值", "来源"], chinese),
    "odd": _odd(english),
    "odd-zh": _odd(chinese),
    "defects": _defects(["business table", "found in", "item", "rule", "meaning"], "en"),
    "defects-zh": _defects(["业务表", "在何处发现", "数据项", "规则", "含义"], "zh"),
    "faults": _faults(["row", "what goes wrong", "what must then hold", "tests that try it"], english),
    "faults-zh": _faults(["行", "哪里出错", "此时必须成立的", "尝试它的测试"], chinese),
}


def renewed(page: str) -> str:
    """The page with every block made again; KeyError for a block nobody makes."""
    return _BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n{found[3]}", page)


def made_pages() -> list[Path]:
    """Pages that hold at least one block."""
    return [page for page in sorted(PAGES.glob("*.md")) if _BLOCK.search(page.read_text(encoding="utf-8"))]


def main() -> None:
    """Write every page again, and say which changed."""
    if sys.argv[1:] == ["--commands"]:
        sys.stdout.write(json.dumps(_commands_here(), ensure_ascii=False))
        return
    for page in made_pages():
        before = page.read_text(encoding="utf-8")
        after = renewed(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            sys.stderr.write(f"renewed {page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
