"""`jinbao status`, `topology`, `trace`: the first questions of an operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from jinbao.cli import show
from jinbao.cli.asking import answer, ask, asking, reason_option
from jinbao.cli.words import is_chinese, t
from jinbao.model.zone import Zone

DEGRADED = 3


@click.command(
    help=t(
        "Is the zone well, and if not, why. Exit code 3 when it is not.", "分区是否正常；不正常时退出码为 3。"
    ),
    epilog="jinbao status --config node.toml --zone exchange",
)
@asking(Zone.EXCHANGE)
@click.pass_context
def status(ctx: click.Context, config: Path, zone: str, as_json: bool) -> None:
    """Readiness, counts and neighbours."""
    found = ask(config, zone, "status")
    if as_json:
        show.as_json(found)
    else:
        _show_status(found)
    ctx.exit(0 if found["ready"] else DEGRADED)


def _show_status(found: dict[str, Any]) -> None:
    names = {
        "zone": t("zone", "分区"),
        "version": t("version", "版本"),
        "running": t("running", "运行中"),
        "ready": t("ready", "就绪"),
    }
    show.pairs(found, names)
    for reason in found["reasons"]:
        show.result(f"  - {reason}")
    apart = (
        t("apart", "分立") if found["roles_apart"] else t("held by the zone's own account", "由分区账户兼任")
    )
    show.pairs({"roles": apart}, {"roles": t("roles", "三员")})
    counts = {
        "acts": t("journal acts", "流水条数"),
        "segments": t("segments", "段数"),
        "segment_bytes": t("segment bytes", "段字节数"),
        "unapplied": t("accepted, not applied", "已受理未入库"),
        "receipts_due": t("receipts due", "待签回执"),
        "held": t("streams held", "暂停的流"),
    }
    show.pairs(found["journal"], counts)
    if found["peers"]:
        columns = {
            "peer": t("peer", "对端"),
            "border": t("border", "边界"),
            "seconds_ago": t("seconds since contact", "距上次联系秒数"),
            "accepted": t("accepted", "受理"),
            "clock_offset_s": t("clock offset s", "时钟差秒"),
        }
        show.table(found["peers"], columns)


@click.command(
    help=t("The tree of nodes, and how far each stream is followed here.", "节点树，以及本分区各流的进度。"),
    epilog="jinbao topology --config node.toml",
)
@asking(Zone.EXCHANGE)
def topology(config: Path, zone: str, as_json: bool) -> None:
    """Tree and streams."""
    found = ask(config, zone, "topology")
    if as_json:
        show.as_json(found)
        return
    _tree(found["nodes"], "", "")
    show.result("")
    show.table(found["streams"], stream_columns())


def _tree(nodes: list[dict[str, Any]], parent: str, indent: str) -> None:
    for node in nodes:
        if node["parent"] == parent:
            name = node["name_zh"] if is_chinese() else node["name_en"]
            show.result(f"{indent}{node['node']} {name} ({node['tier']}: {', '.join(node['zones'])})")
            _tree(nodes, node["node"], indent + "  ")


def stream_columns() -> dict[str, str]:
    """Columns of a table of streams."""
    return {
        "stream": t("stream", "流"),
        "seq": t("newest", "最新"),
        "accepted": t("accepted", "受理"),
        "applied": t("applied", "入库"),
        "held": t("held because", "暂停原因"),
    }


@click.command(
    help=t(
        "Where a record is in this zone: captured, stopped and why, sealed, stored, applied by which tier.",
        "一条记录在本分区的位置：采集、隔离及原因、签封、入库、各层级是否入库。",
    ),
    epilog="jinbao trace 1401P000000012 --zone production --reason 'asked by the insured'",
)
@click.argument("key")
@reason_option
@asking(Zone.PRODUCTION)
@click.pass_context
def trace(ctx: click.Context, key: str, reason: str, config: Path, zone: str, as_json: bool) -> None:
    """Steps of one key; exit code 1 when the zone knows nothing of it."""
    found = ask(config, zone, "trace", key=key, reason=reason)
    columns = {
        "stage": t("stage", "阶段"),
        "where": t("where", "位置"),
        "rows": t("rows", "行数"),
        "why": t("why", "原因"),
    }
    answer(found, as_json, "steps", columns)
    ctx.exit(0 if found["steps"] else 1)
