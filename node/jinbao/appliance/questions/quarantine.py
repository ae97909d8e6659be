"""Questions of city staff: which rows were stopped, why, and which were let go."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from jinbao.appliance.questions.registry import Answer, Asked, Body, Reasoned, question
from jinbao.appliance.questions.status import NoArguments, masked_rows, numbers_of
from jinbao.model.errors import UsageError
from jinbao.model.masking import mask
from jinbao.model.standard import Rule

ROWS_MAX = 10_000

GENERAL = {
    "Q-01": ("必填项缺失", "a mandatory item is empty"),
    "Q-02": ("代码值非法", "the code is not in its list"),
    "Q-08": ("行政区划代码失效", "the region code is not in force in the reported month"),
    "Q-11": ("长度超限", "the value is longer than the item allows"),
    "Q-12": ("日期不存在", "no such day or month"),
    "C-01": ("不是日期", "not a day or month"),
    "C-02": ("本地代码无对照", "the local code has no standard code in the mapping"),
    "C-03": ("字节无法解码，原样保留", "bytes did not decode and are kept raw"),
    "C-04": ("不是数值", "not a number of this item"),
}
"""Rules every table has, in Chinese and English; the others carry their text in the standard."""


class OfLibrary(Reasoned):
    """Stopped rows of a library, of one table if it is named."""

    library: str
    table: str = ""
    limit: int = Field(20, gt=0)
    skip: int = Field(0, ge=0)
    unmask: bool = False


@question("quarantine.list", arguments=NoArguments)
def listing(asked: Asked, _arguments: NoArguments) -> Body:
    """Findings per library, table, rule and item, most first, each with its rule in words."""
    lines = []
    for line in asked.zone.quarantine.summary():
        text_zh, text_en = _words(asked, line)
        lines.append(line | {"text_zh": text_zh, "text_en": text_en})
    return {"zone": str(asked.zone.me), "findings": lines}


def _words(asked: Asked, line: dict[str, Any]) -> tuple[str, str]:
    if line["rule"] in GENERAL:
        return GENERAL[line["rule"]]
    rules: tuple[Rule, ...] = asked.zone.standards[line["library"]].table(line["table"]).rules
    found = next(rule for rule in rules if rule.id == line["rule"])
    return found.text_zh, found.text_en


@question("quarantine.show", arguments=OfLibrary, unmasks=True)
def show(asked: Asked, arguments: OfLibrary) -> Answer:
    """Stopped rows with their findings; values masked unless the caller may see and asks for them."""
    _check(asked, arguments)
    room = asked.zone.quarantine
    limit = min(arguments.limit, ROWS_MAX)
    rows = room.rows(arguments.library, arguments.table, limit=limit, skip=arguments.skip)
    clear = arguments.unmask
    body = {"zone": str(asked.zone.me), "rows": [_row(asked, row, clear=clear) for row in rows]}
    return Answer(body, persons=_numbers(asked, rows) if clear else ())


def _numbers(asked: Asked, rows: list[dict[str, Any]]) -> tuple[str, ...]:
    """Numbers of the persons in stopped rows; a row too broken to have its own is named by its key."""
    found: list[str] = []
    for row in rows:
        personal = _personal(asked, row)
        found += numbers_of([json.loads(row["row"])], personal)
        found += [row["key"]] if _is_person(asked, row) and row["key"] else []
    return tuple(dict.fromkeys(found))


def _personal(asked: Asked, row: dict[str, Any]) -> set[str]:
    table = asked.zone.standards[row["library"]].table(row["table"])
    return {item.code for item in table.items if item.personal}


def _is_person(asked: Asked, row: dict[str, Any]) -> bool:
    """Whether the key of a row is a person's number."""
    key = asked.zone.standards[row["library"]].table(row["table"]).key
    return key[0] in _personal(asked, row)


def _check(asked: Asked, arguments: OfLibrary) -> None:
    """Raise UsageError for a library or table there is not, which is not the same as one without findings."""
    standards = asked.zone.standards
    if arguments.library not in standards:
        raise UsageError("library", expected=" or ".join(sorted(standards)), got=arguments.library)
    tables = ["", *(table.id for table in standards[arguments.library].tables)]
    if arguments.table not in tables:
        raise UsageError(
            f"table of {arguments.library}", expected=" or ".join(tables[1:]), got=arguments.table
        )


def _row(asked: Asked, row: dict[str, Any], *, clear: bool) -> dict[str, Any]:
    personal = _personal(asked, row)
    record = json.loads(row["row"])
    findings = []
    for found in row["findings"]:
        text_zh, text_en = _words(asked, found)
        value = found["value"] if clear or found["item"] not in personal else mask(str(found["value"] or ""))
        findings.append(
            {k: found[k] for k in ("item", "rule", "severity")}
            | {"value": value, "zh": text_zh, "en": text_en}
        )
    shown = record if clear else masked_rows([record], personal)[0]
    return {
        "table": row["table"],
        "key": _key(asked, row, clear=clear),
        "run": row["run"],
        "row": shown,
        "findings": findings,
    }


def _key(asked: Asked, row: dict[str, Any], *, clear: bool) -> str:
    """A row's key: an employer's for whoever may mend it, a person's only in clear."""
    key = str(row["key"])
    return key if clear or (asked.authorised and not _is_person(asked, row)) else mask(key)


@question("quarantine.releases", arguments=OfLibrary, unmasks=True)
def releases(asked: Asked, arguments: OfLibrary) -> Answer:
    """Rows that left quarantine, newest first; a person's key masked unless the caller may see and asks for it."""
    _check(asked, arguments)
    clear = arguments.unmask
    found = asked.zone.quarantine.releases(arguments.library)[: arguments.limit]
    shown = [row | {"key": _key(asked, row, clear=clear)} for row in found]
    numbers = tuple(str(row["key"]) for row in found if _is_person(asked, row))
    return Answer({"zone": str(asked.zone.me), "releases": shown}, persons=numbers if clear else ())
