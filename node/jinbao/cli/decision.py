"""`jinbao decision`: indicators as table, CSV or JSON."""

from __future__ import annotations

from pathlib import Path

import click

from jinbao.cli import show
from jinbao.cli.asking import ask, asking
from jinbao.cli.words import is_chinese, t
from jinbao.model.zone import Zone


@click.group(
    help=t("Indicators of the decision zone.", "决策区指标。"), epilog="jinbao decision show --region total"
)
def decision() -> None:
    """Group."""


@decision.command(
    name="show",
    help=t("Indicators by region and period.", "按地区和所属期显示指标。"),
    epilog="jinbao decision show --indicator PEN-009 --region total --format csv",
)
@click.option("--library", default="", help=t("one library", "交换库"))
@click.option("--indicator", default="", help=t("one indicator, e.g. PEN-009", "指标，如 PEN-009"))
@click.option("--period", default="", help=t("month, YYYYMM", "所属期 YYYYMM"))
@click.option("--region", default="", help=t("city code, or total", "城市代码，或 total"))
@click.option(
    "--format", "layout", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True
)
@asking(Zone.DECISION)
def show_values(
    library: str,
    indicator: str,
    period: str,
    region: str,
    layout: str,
    config: Path,
    zone: str,
    as_json: bool,
) -> None:
    """Values."""
    found = ask(
        config, zone, "decision.show", library=library, indicator=indicator, period=period, region=region
    )
    rows = found["values"]
    if as_json or layout == "json":
        show.as_json(found)
        return
    name = "name_zh" if is_chinese() else "name_en"
    columns = {
        "indicator": t("indicator", "指标"),
        name: t("name", "名称"),
        "period": t("period", "所属期"),
        "region": t("region", "地区"),
        "group": t("group", "分组"),
        "value": t("value", "数值"),
        "unit": t("unit", "单位"),
    }
    if layout == "csv":
        show.result(show.as_csv(rows, list(columns)).rstrip("\n"))
    else:
        show.table(rows, columns)
