"""What every noun needs: the node's settings, the zone to ask, and how to answer."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click

from jinbao.cli import show
from jinbao.cli.words import t
from jinbao.model.zone import Zone

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_CONFIG = "/etc/jinbao/node.toml"
STANDARD = Path("-")
"""A file of this name is standard input or output."""


def end_tidily() -> None:
    """Let SIGTERM end this process as Ctrl-C does: through every context, so that nothing is left behind."""
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))


def config_option(command: F) -> F:
    """`--config`: the node's settings file."""
    text = t("settings of the node", "节点配置文件")
    kind = click.Path(path_type=Path)
    return click.option(
        "--config", type=kind, envvar="JINBAO_CONFIG", default=DEFAULT_CONFIG, show_default=True, help=text
    )(command)


def json_option(command: F) -> F:
    """`--json`: the answer as JSON."""
    return click.option("--json", "as_json", is_flag=True, help=t("answer as JSON", "以 JSON 输出"))(command)


def reason_option(command: F) -> F:
    """`--reason`: why somebody is to see a person's record."""
    text = t(
        "why; recorded in the audit trail, needed to see persons", "原因，记入审计日志；查看个人信息时必填"
    )
    return click.option("--reason", default="", help=text)(command)


def zone_option(default: Zone) -> Callable[[F], F]:
    """`--zone`: which zone of the node is asked."""
    text = t("zone to ask", "询问的分区")
    kinds = click.Choice([str(zone) for zone in Zone])
    return click.option(
        "--zone", type=kinds, default=str(default), show_default=True, envvar="JINBAO_ZONE", help=text
    )


def asking(default: Zone) -> Callable[[F], F]:
    """All three options of a question."""

    def add(command: F) -> F:
        return config_option(zone_option(default)(json_option(command)))

    return add


def ask(
    config: Path,
    zone: str,
    question: str,
    attachment: BinaryIO | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    """Ask a zone of the node whose settings are at `config`."""
    from jinbao.appliance import admin_client
    from jinbao.appliance.settings import load

    return admin_client.ask(load(config), Zone(zone), question, arguments, attachment=attachment)


def ask_for_file(output: Path, config: Path, zone: str, question: str, **arguments: Any) -> dict[str, Any]:
    """Ask for a file, written whole to `output` or not at all, readable by this account alone."""
    part = output.with_name(f"{output.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    try:
        with part.open("wb") as file:
            found = ask(config, zone, question, file, **arguments)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    return found


def answer(found: Mapping[str, Any], as_json: bool, key: str, columns: Mapping[str, str]) -> None:
    """Show the rows under `key` of an answer as a table, or the whole answer as JSON."""
    if as_json:
        show.as_json(found)
    else:
        show.table(found[key], columns)
