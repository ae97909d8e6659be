"""`jinbao quarantine`: what city staff must see and mend."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from jinbao.cli import show
from jinbao.cli.asking import answer, ask, asking, reason_option
from jinbao.cli.words import is_chinese, t
from jinbao.model.zone import Zone

_PAGE = 5_000


@click.group(
    help=t("Rows the gate stopped, why, and how many.", "被质量关隔离的记录、原因和数量。"),
    epilog="jinbao quarantine list",
)
def quarantine() -> None:
    """Group."""


@quarantine.command(
    name="list",
    help=t("Findings by rule and item, most first.", "按规则和数据项统计问题。"),
    epilog="jinbao quarantine list",
)
@asking(Zone.PRODUCTION)
def listing(config: Path, zone: str, as_json: bool) -> None:
    """Summary."""
    found = ask(config, zone, "quarantine.list")
    columns = {
        "library": t("library", "交换库"),
        "table": t("table", "表"),
        "rule": t("rule", "规则"),
        "item": t("item", "数据项"),
        "severity": t("severity", "级别"),
        "rows": t("rows", "行数"),
        "text_zh" if is_chinese() else "text_en": t("meaning", "含义"),
    }
    answer(found, as_json, "findings", columns)


_LIBRARY = click.argument("library")
_TABLE = click.option("--table", default="", help=t("one table only", "仅此表"))


@quarantine.command(
    name="show",
    help=t(
        "Stopped rows with their findings; personal values masked unless --unmask.",
        "被隔离的记录及问题；个人信息遮盖，除非 --unmask。",
    ),
    epilog="jinbao quarantine show pension_macro --table retiree --limit 5 --unmask --reason mending",
)
@_LIBRARY
@_TABLE
@click.option("--limit", default=20, show_default=True, help=t("rows", "行数"))
@click.option(
    "--unmask", is_flag=True, help=t("show personal values, if this account may", "显示个人信息（需授权）")
)
@reason_option
@asking(Zone.PRODUCTION)
def show_rows(
    library: str, table: str, limit: int, unmask: bool, reason: str, config: Path, zone: str, as_json: bool
) -> None:
    """One line per finding."""
    asked: dict[str, Any] = {
        "library": library,
        "table": table,
        "limit": limit,
        "unmask": unmask,
        "reason": reason,
    }
    found = ask(config, zone, "quarantine.show", **asked)
    if as_json:
        show.as_json(found)
        return
    lines = [
        {"table": row["table"], "key": row["key"]}
        | finding
        | {"text": finding["zh"] if is_chinese() else finding["en"]}
        for row in found["rows"]
        for finding in row["findings"]
    ]
    columns = {
        "table": t("table", "表"),
        "key": t("key", "主键"),
        "item": t("item", "数据项"),
        "rule": t("rule", "规则"),
        "value": t("value", "值"),
        "text": t("meaning", "含义"),
    }
    show.table(lines, columns)


@quarantine.command(
    help=t(
        "All stopped rows as CSV, one line per finding, to stdout or a file.",
        "以 CSV 导出全部隔离记录，每个问题一行。",
    ),
    epilog="jinbao quarantine export pension_macro --output bad.csv",
)
@_LIBRARY
@_TABLE
@click.option(
    "--output", type=click.Path(path_type=Path), help=t("file; stdout if not named", "文件；缺省为标准输出")
)
@click.option(
    "--unmask", is_flag=True, help=t("with personal values, if this account may", "包含个人信息（需授权）")
)
@reason_option
@asking(Zone.PRODUCTION)
def export(
    library: str,
    table: str,
    output: Path | None,
    unmask: bool,
    reason: str,
    config: Path,
    zone: str,
    as_json: bool,
) -> None:
    """CSV that no spreadsheet executes."""
    rows = list(_pages(config, zone, library=library, table=table, unmask=unmask, reason=reason))
    lines = [
        {"table": row["table"], "key": row["key"], "run": row["run"]}
        | finding
        | {"row": json.dumps(row["row"], ensure_ascii=False)}
        for row in rows
        for finding in row["findings"]
    ]
    if as_json and output is None:
        show.as_json({"zone": zone, "findings": lines})
        return
    text = show.as_csv(lines, ["table", "key", "item", "rule", "severity", "value", "zh", "en", "run", "row"])
    if output is None:
        show.result(text.rstrip("\n"))
        return
    output.touch(mode=0o600)  # a new file is this account's alone
    output.write_text(text, encoding="utf-8-sig")
    if as_json:
        show.as_json({"zone": zone, "findings": len(lines)})
    else:
        show.talk(t(f"{len(lines)} findings written to {output}", f"已写入 {len(lines)} 个问题：{output}"))


@quarantine.command(
    help=t("Rows that left quarantine, newest first.", "已离开隔离区的记录，最近的在前。"),
    epilog="jinbao quarantine releases pension_macro",
)
@_LIBRARY
@click.option("--limit", default=20, show_default=True, help=t("rows", "行数"))
@click.option(
    "--unmask", is_flag=True, help=t("show persons' keys, if this account may", "显示个人主键（需授权）")
)
@reason_option
@asking(Zone.PRODUCTION)
def releases(
    library: str, limit: int, unmask: bool, reason: str, config: Path, zone: str, as_json: bool
) -> None:
    """What was mended, and by which run."""
    asked: dict[str, Any] = {"library": library, "limit": limit, "unmask": unmask, "reason": reason}
    found = ask(config, zone, "quarantine.releases", **asked)
    columns = {
        "table": t("table", "表"),
        "key": t("key", "主键"),
        "quarantined_in": t("stopped in", "隔离于"),
        "run": t("released in", "放行于"),
        "at": t("at", "时间"),
    }
    answer(found, as_json, "releases", columns)


def _pages(config: Path, zone: str, **wanted: Any) -> Iterator[dict[str, Any]]:
    """Every stopped row, asked for page by page."""
    skip = 0
    while True:
        rows = ask(config, zone, "quarantine.show", limit=_PAGE, skip=skip, **wanted)["rows"]
        yield from rows
        if len(rows) < _PAGE:
            return
        skip += _PAGE
