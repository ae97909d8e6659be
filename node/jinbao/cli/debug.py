"""`jinbao debug`: what developers and testers need to know of the code itself."""

from __future__ import annotations

import click

from jinbao.cli import show
from jinbao.cli.asking import json_option
from jinbao.cli.words import t


@click.group(help=t("For developers.", "开发用。"), epilog="jinbao debug failpoints")
def debug() -> None:
    """Group."""


@debug.command(
    help=t(
        "Places where JINBAO_FAILPOINT=name kills a zone.", "JINBAO_FAILPOINT=名称 可使分区在此处被杀死。"
    ),
    epilog="jinbao debug failpoints",
)
@json_option
def failpoints(as_json: bool) -> None:
    """The list is made by the code that hits them."""
    import jinbao.appliance.backing_up  # as below, of a backup and a restore
    import jinbao.appliance.promoting  # as below, of a node that is taken over
    import jinbao.appliance.rejoining  # as below, of an old node that gives up its place
    import jinbao.appliance.serve  # importing a zone declares all of its failpoints
    import jinbao.standby.reviewing  # noqa: F401  # as above, of a divergence file laid out
    from jinbao.model.failpoint import FAILPOINTS

    rows = [{"name": name, "text": text} for name, text in sorted(FAILPOINTS.items())]
    if as_json:
        show.as_json(rows)
    else:
        show.table(rows, {"name": t("name", "名称"), "text": t("what is durable there", "此处已持久的内容")})
