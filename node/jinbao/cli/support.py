"""`jinbao support`: what a helper needs to see of this node, and nothing of anybody's data."""

from __future__ import annotations

from pathlib import Path

import click

from jinbao.cli import show
from jinbao.cli.asking import config_option, json_option
from jinbao.cli.words import t


@click.group(
    help=t("For somebody who helps from afar.", "供远程支持人员使用。"),
    epilog="jinbao support bundle /tmp/jinbao.tar.gz",
)
def support() -> None:
    """Group."""


@support.command(
    help=t(
        "Write an archive of versions, limits, the doctor's findings, counts, hashes, metrics and events. It has no key, "
        "no record, no name and no path: only what is listed goes in. Look into it before you send it.",
        "写出一个归档：版本、限值、体检结论、计数、哈希、指标与事件。不含密钥、记录、姓名和路径，只收录列明的内容。发送前请先查看。",
    ),
    epilog="jinbao support bundle /tmp/jinbao.tar.gz --config /etc/jinbao/node.toml",
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--log",
    "logs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=t(
        "a zone's log, one JSON event a line; may be repeated. Of a unit: journalctl -u jinbao-exchange -o cat",
        "分区日志，每行一个 JSON 事件；可重复。取自服务单元：journalctl -u jinbao-exchange -o cat",
    ),
)
@config_option
@json_option
def bundle(file: Path, logs: tuple[Path, ...], config: Path, as_json: bool) -> None:
    """A .tar, or a .tar.gz by its name."""
    from jinbao.appliance.settings import load
    from jinbao.appliance.support.bundle import write

    made = write(file, load(config), config, logs=logs)
    if as_json:
        show.as_json({"file": str(file), "parts": [{"name": name, "bytes": size} for name, size in made]})
        return
    rows = [{"name": name, "bytes": size} for name, size in made]
    show.table(rows, {"name": t("part", "内容"), "bytes": t("bytes", "字节")})
    show.result(t(f"look into it before you send it: tar -xOf {file}", f"发送前请先查看：tar -xOf {file}"))
