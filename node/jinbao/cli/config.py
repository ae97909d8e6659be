"""`jinbao config`: what is set, where it comes from, whether it would start."""

from __future__ import annotations

from pathlib import Path

import click

from jinbao.cli import show
from jinbao.cli.asking import config_option, json_option
from jinbao.cli.words import t


@click.group(
    help=t("Check and show settings.", "检查和显示配置。"),
    epilog="jinbao config show --origin --config node.toml",
)
def config() -> None:
    """Group."""


@config.command(
    help=t(
        "Whether a settings file would start; names the first thing that is wrong.",
        "配置能否启动；指出第一处错误。",
    ),
    epilog="jinbao config check tiers/city.toml",
)
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Load and say so."""
    from jinbao.appliance.settings import load

    settings = load(file)
    zones = ", ".join(settings.zones)
    show.result(
        t(
            f"{file}: ok: {settings.tier} {settings.node} ({zones})",
            f"{file}：正确：{settings.tier} {settings.node}（{zones}）",
        )
    )


@config.command(
    name="show",
    help=t(
        "Every setting in force; passwords in URLs are not shown.",
        "显示生效的全部配置；不显示 URL 中的口令。",
    ),
    epilog="jinbao config show --origin --config node.toml",
)
@config_option
@click.option("--origin", is_flag=True, help=t("where each value comes from", "每个值的来源"))
@json_option
def show_settings(config: Path, origin: bool, as_json: bool) -> None:
    """Key, value, and origin where asked."""
    from jinbao.appliance.settings import origins

    rows = [{"key": key, "value": value, "origin": source} for key, value, source in origins(config)]
    if as_json:
        show.as_json(rows)
        return
    columns = {"key": t("key", "键"), "value": t("value", "值")}
    show.table(rows, columns | ({"origin": t("origin", "来源")} if origin else {}))
