"""Every command with its words, its options and, of those that speak JSON, the shape of the answer."""

from __future__ import annotations

from typing import Any, NamedTuple

from .commands import commands, speaks_json
from .places import TESTS
from .tables import Block, table
from .words import Lang

SHARED = {"--config", "--zone", "--json", "--help"}
"""Options most commands have; described once."""


class CommandWords(NamedTuple):
    """What stands around the words of commands, in one language."""

    titles: list[str]
    required: str
    repeats: str
    example: str


WORDS: dict[Lang, CommandWords] = {
    "en": CommandWords(["option", "default", "meaning"], "required", "required, may repeat", "Example: "),
    "zh": CommandWords(["选项", "默认", "含义"], "必填", "必填，可重复", "示例："),
}


def _cli(lang: Lang) -> str:
    return "\n".join(_command(one, WORDS[lang]) for one in commands(lang) if one["name"] != "jinbao")


def _command(one: dict[str, Any], words: CommandWords) -> str:
    level = "##" if one["name"].count(" ") == 1 else "###"
    text = f"{level} `{one['name']}`\n\n{one['help']}\n"
    own = [option for option in one["options"] if option["names"] not in SHARED]
    shared = [option for option in one["options"] if option["names"] in SHARED]
    usage = [one["name"], *one["arguments"], *(_usage(option) for option in [*own, *shared])]
    if not one["group"] or own:
        text += f"\n```text\n{' '.join(usage)}\n```\n"
    if own:
        rows = ((f"`{option['names']}`", _default(option, words), option["help"]) for option in own)
        text += f"\n{table(words.titles, rows)}"
    if one["epilog"]:
        text += f"\n{words.example}`{one['epilog']}`\n"
    return text


def _usage(option: dict[str, Any]) -> str:
    name = option["names"] if " / " in option["names"] else option["names"].split(", ")[-1]
    name = f"{name} {option['value']}".strip()
    return name if option["required"] else f"[{name}]"


def _default(option: dict[str, Any], words: CommandWords) -> str:
    if option["required"]:
        return words.repeats if option["multiple"] else words.required
    return "" if option["default"] in (None, "") else f"`{option['default']}`"


def shapes() -> dict[str, str]:
    """The shape of each command's JSON answer, which a golden file holds, by the command."""
    return {
        f"jinbao {path.stem.replace('-', ' ')}": path.read_text(encoding="utf-8")
        for path in (TESTS / "cli" / "golden" / "json").glob("*")
    }


def _cli_json(lang: Lang) -> str:
    """Each command that has `--json`, with its golden shape; KeyError for one that has none."""
    held = shapes()
    return "\n".join(
        f"## `{one['name']}`\n\n{one['help']}\n\n```json\n{held[one['name']]}```\n"
        for one in commands(lang)
        if speaks_json(one)
    )


BLOCKS: dict[str, Block] = {"cli": _cli, "cli-json": _cli_json}
