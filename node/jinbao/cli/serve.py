"""`jinbao serve`: run one zone until it is told to stop."""

from __future__ import annotations

from pathlib import Path

import click

from jinbao.cli.asking import config_option, zone_option
from jinbao.cli.loading import loading
from jinbao.cli.words import t
from jinbao.model.zone import Zone


@click.command(
    help=t(
        "Run one zone of this node: its listener, workers, web port and admin sockets.",
        "运行本节点的一个分区：监听、工作线程、网页端口和管理套接字。",
    ),
    epilog="jinbao serve --config /etc/jinbao/node.toml --zone exchange",
)
@config_option
@zone_option(Zone.EXCHANGE)
@click.pass_context
def serve(ctx: click.Context, config: Path, zone: str) -> None:
    """Serve until SIGTERM."""
    with loading():
        from jinbao.appliance.observers import configure_logging
        from jinbao.appliance.serve import run
        from jinbao.appliance.settings import load

    configure_logging()
    ctx.exit(run(load(config), Zone(zone)))
