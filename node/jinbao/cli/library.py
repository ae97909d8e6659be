"""`jinbao library`: stored records, masked by default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from jinbao.cli import show
from jinbao.cli.asking import answer, ask, ask_for_file, asking, reason_option
from jinbao.cli.words import is_chinese, t
from jinbao.model.zone import Zone


@click.group(
    help=t("Stored records: list, show, count, export, digest.", "交换库：列表、查看、计数、导出、摘要。"),
    epilog="jinbao library show pension_macro retiree --limit 5",
)
def library() -> None:
    """Group."""


@library.command(
    name="list",
    help=t("Libraries and tables with their rows.", "交换库和表及行数。"),
    epilog="jinbao library list",
)
@asking(Zone.EXCHANGE)
def listing(config: Path, zone: str, as_json: bool) -> None:
    """All tables."""
    name = "name_zh" if is_chinese() else "name_en"
    columns = {
        "library": t("library", "交换库"),
        "table": t("table", "表"),
        name: t("name", "名称"),
        "standard": t("standard", "标准"),
        "rows": t("rows", "行数"),
    }
    answer(ask(config, zone, "library.list"), as_json, "tables", columns)


_LIBRARY, _TABLE = click.argument("library"), click.argument("table")
_ORIGIN = click.option("--origin", default="", help=t("one origin node only", "仅此来源节点"))
_AS_OF = click.option(
    "--as-of", default="", help=t("as of a month, YYYYMM, from the journal", "截至某月（YYYYMM），取自流水")
)


@library.command(
    name="show",
    help=t("The first rows; personal items masked.", "前若干行；个人信息遮盖。"),
    epilog="jinbao library show pension_macro retiree --limit 5",
)
@_LIBRARY
@_TABLE
@_ORIGIN
@_AS_OF
@click.option("--limit", default=20, show_default=True, help=t("rows", "行数"))
@click.option(
    "--unmask", is_flag=True, help=t("show personal values, if this account may", "显示个人信息（需授权）")
)
@reason_option
@asking(Zone.EXCHANGE)
def show_rows(
    library: str,
    table: str,
    origin: str,
    as_of: str,
    limit: int,
    unmask: bool,
    reason: str,
    config: Path,
    zone: str,
    as_json: bool,
) -> None:
    """Rows as a table."""
    asked: dict[str, Any] = {
        "library": library,
        "table": table,
        "origin": origin,
        "as_of": as_of,
        "limit": limit,
        "unmask": unmask,
        "reason": reason,
    }
    found = ask(config, zone, "library.show", **asked)
    answer(found, as_json, "rows", {name: name for name in found["columns"]})


@library.command(
    help=t("Rows per origin node.", "各来源节点的行数。"), epilog="jinbao library count pension_macro retiree"
)
@_LIBRARY
@_TABLE
@asking(Zone.EXCHANGE)
def count(library: str, table: str, config: Path, zone: str, as_json: bool) -> None:
    """Counts."""
    found = ask(config, zone, "library.count", library=library, table=table)
    answer(found, as_json, "origins", {"origin": t("origin", "来源"), "rows": t("rows", "行数")})


@library.command(
    help=t(
        "Canonical digest per origin, computed from stored rows; equal on every tier.",
        "各来源的规范摘要，由已存记录计算，各级相等。",
    ),
    epilog="jinbao library digest pension_macro retiree --origin 140100",
)
@_LIBRARY
@_TABLE
@_ORIGIN
@asking(Zone.EXCHANGE)
def digest(library: str, table: str, origin: str, config: Path, zone: str, as_json: bool) -> None:
    """Digests."""
    found = ask(config, zone, "library.digest", library=library, table=table, origin=origin)
    columns = {"origin": t("origin", "来源"), "rows": t("rows", "行数"), "digest": t("digest", "摘要")}
    answer(found, as_json, "digests", columns)


@library.command(
    help=t("All rows as a Parquet file, for an authorised account.", "导出为 Parquet 文件（需授权）。"),
    epilog="jinbao library export pension_macro retiree --output r.parquet --reason 'request 2024-31'",
)
@_LIBRARY
@_TABLE
@_ORIGIN
@_AS_OF
@click.option("--output", required=True, type=click.Path(path_type=Path), help=t("file", "文件"))
@reason_option
@asking(Zone.EXCHANGE)
def export(
    library: str,
    table: str,
    origin: str,
    as_of: str,
    output: Path,
    reason: str,
    config: Path,
    zone: str,
    as_json: bool,
) -> None:
    """Write the file, readable by this account alone."""
    asked = {"library": library, "table": table, "origin": origin, "as_of": as_of, "reason": reason}
    found = ask_for_file(output, config, zone, "library.export", **asked)
    if as_json:
        show.as_json(found)
    else:
        show.talk(t(f"{found['rows']} rows written to {output}", f"已写入 {found['rows']} 行：{output}"))
