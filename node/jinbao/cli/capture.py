"""`jinbao capture`: what the business databases gave last, and a run on command."""

from __future__ import annotations

from pathlib import Path

import click

from jinbao.cli import show
from jinbao.cli.asking import ask, asking
from jinbao.cli.words import t
from jinbao.model.zone import Zone


@click.group(
    help=t("Capture from the business databases: show, run.", "业务库采集：查看、立即执行。"),
    epilog="jinbao capture show",
)
def capture() -> None:
    """Group."""


@capture.command(
    name="show",
    help=t(
        "The newest run of every table and verdict of every library.", "各表最近一次采集和各交换库的结论。"
    ),
    epilog="jinbao capture show --config node.toml",
)
@asking(Zone.PRODUCTION)
def show_last(config: Path, zone: str, as_json: bool) -> None:
    """Tables, then verdicts."""
    found = ask(config, zone, "capture.show")
    if as_json:
        show.as_json(found)
        return
    tables = {
        "source": t("source", "来源库"),
        "table": t("table", "表"),
        "rows": t("rows", "行数"),
        "upserts": t("changed", "变更"),
        "deletes": t("gone", "删除"),
    }
    show.table(found["tables"], tables)
    show.result("")
    verdicts = {
        "library": t("library", "交换库"),
        "period": t("period", "所属期"),
        "run": t("run", "采集批次"),
        "verdict": t("verdict", "结论"),
    }
    show.table(found["verdicts"], verdicts)


@capture.command(
    help=t(
        "Capture, judge and submit as soon as the last run is done, outside the calendar.",
        "上一次采集结束后立即采集、校验并报送，不等计划时间。",
    ),
    epilog="jinbao capture run --config node.toml",
)
@asking(Zone.PRODUCTION)
def run(config: Path, zone: str, as_json: bool) -> None:
    """Ask the running zone for a run."""
    found = ask(config, zone, "capture.run")
    if as_json:
        show.as_json(found)
        return
    show.result(
        t(
            "asked for; it follows run {after_run}. See: jinbao capture show",
            "已请求；将在第 {after_run} 次采集之后执行。查看：jinbao capture show",
        ).format(**found)
    )
