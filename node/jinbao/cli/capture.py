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


_CHINESE = {
    "rows repeat a key": "行主键重复",
    "rows hold bytes that do not decode": "行含无法解码的字节",
    'rows changed under the same token: set change = "content" for this source': (
        '行内容已变而变更标记未变：请将该来源设为 change = "content"'
    ),
}


def _worded(finding: str) -> str:
    """A finding of capture in the reader's language; the number stands before it in both."""
    count, _, said = finding.partition(" ")
    return f"{count} {t(said, _CHINESE.get(said, said))}"


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
        "findings": t("found", "发现"),
    }
    rows = [table | {"findings": "; ".join(map(_worded, table["findings"]))} for table in found["tables"]]
    show.table(rows, tables)
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
