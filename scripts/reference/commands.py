"""The tree of commands as data, in one language."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import click

from .places import SCRIPT
from .words import Lang


@cache
def commands(lang: Lang) -> tuple[dict[str, Any], ...]:
    """Every command with its words in one language, depth first, from a process that speaks it."""
    command = [sys.executable, str(SCRIPT), "--commands"]
    environment = os.environ | {"JINBAO_LANG": lang, "PYTHONUTF8": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)  # noqa: S603  # ourselves
    return tuple(json.loads(done.stdout))


def commands_here() -> list[dict[str, Any]]:
    """Every command in the language of this process, depth first."""
    from jinbao.cli.main import build  # noqa: PLC0415  # words are chosen when it is imported

    return list(_walk(build(), "jinbao"))


def speaks_json(one: dict[str, Any]) -> bool:
    """Whether a command has `--json`."""
    return any(option["names"] == "--json" for option in one["options"])


def _walk(command: click.Command, name: str) -> Iterator[dict[str, Any]]:
    context = click.Context(command, info_name=name)
    options = [_option(p, context) for p in command.params if isinstance(p, click.Option)]
    arguments = [p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)]
    text = {"name": name, "help": command.help or "", "epilog": command.epilog or ""}
    yield {**text, "options": options, "arguments": arguments, "group": isinstance(command, click.Group)}
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            assert found is not None
            yield from _walk(found, f"{name} {each}")


def _option(option: click.Option, context: click.Context) -> dict[str, Any]:
    names = ", ".join(option.opts) + "".join(f" / {name}" for name in option.secondary_opts)
    kind = option.type.choices if isinstance(option.type, click.Choice) else ()
    default = None if option.is_flag or not isinstance(option.default, (str, int)) else option.default
    return {
        "names": names,
        "value": "" if option.is_flag else "|".join(kind) or option.make_metavar(context),
        "default": default,
        "required": option.required,
        "multiple": option.multiple,
        "help": option.help or "",
    }
