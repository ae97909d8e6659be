"""Help of every command, in both languages, and what asking for help does not load."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest
from tests.cli.harness import LOCALES, environment, spawn
from tests.conftest import Golden

from jinbao.cli.main import build

HEAVY = ("polars", "grpc", "sqlalchemy", "duckdb", "pyarrow", "pydantic", "alembic", "cryptography")

# One process per language: words are chosen when a command is made.
ALL_HELP = """
import sys
import click
from jinbao.cli.main import build

def tell(command, path, parent):
    ctx = click.Context(command, info_name=path[-1], parent=parent, **command.context_settings)
    print("$ " + " ".join(path) + " --help\\n" + ctx.get_help() + "\\n")
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            tell(command.get_command(ctx, name), [*path, name], ctx)

root = build()
root.context_settings["terminal_width"] = 110
tell(root, ["jinbao"], None)
"""

LOADED = """
import sys
from jinbao.cli.main import main
try:
    main(["--help"])
finally:
    print(sorted(sys.modules))
"""


def _python(code: str, lang: str) -> str:
    """What a program prints that runs where the locale is this language's."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(LC_ALL=LOCALES[lang], PYTHONUTF8="1"),
        capture_output=True,
        check=True,
        timeout=60,
    )
    return run.stdout.decode()


def _commands() -> list[list[str]]:
    """Every command by its path."""

    def below(command: click.Command, path: list[str]) -> list[list[str]]:
        ctx = click.Context(command)
        if not isinstance(command, click.Group):
            return [path]
        found = [path]
        for name in command.list_commands(ctx):
            child = command.get_command(ctx, name)
            assert child is not None
            found += below(child, [*path, name])
        return found

    return below(build(), ["jinbao"])


@pytest.mark.parametrize("lang", LOCALES)
def test_help_is_the_golden_one(golden: Golden, lang: str) -> None:
    """The help of every command is the golden file's, in the language of the locale."""
    found = _python(ALL_HELP, lang)

    golden(f"{lang}/help.txt", found)


@pytest.mark.parametrize("lang", LOCALES)
def test_every_command_gives_an_example(lang: str) -> None:
    """The help of every command shows at least one line that calls it."""
    pages = dict(page.split(" --help\n", 1) for page in _python(ALL_HELP, lang).split("$ ") if page)

    assert set(pages) == {" ".join(path) for path in _commands()}
    bad = [name for name, page in pages.items() if not re.search(rf"\n  (\S+?[:：] ?)?{name}(?: |\n)", page)]
    assert bad == []


def test_both_languages_have_the_same_commands_and_options() -> None:
    """Chinese help names every command and option the English help names, in the same order."""
    english, chinese = (_python(ALL_HELP, lang) for lang in LOCALES)

    declared = re.compile(r"^(?:[$] .*|  -.*?)(?:  |$)", flags=re.MULTILINE)
    assert declared.findall(english) == declared.findall(chinese)
    assert english != chinese


def test_help_loads_nothing_heavy() -> None:
    """`jinbao --help` starts neither polars nor grpc, sqlalchemy, duckdb or another engine."""
    loaded = _python(LOADED, "en").splitlines()[-1]

    assert "jinbao.cli.main" in loaded
    assert [name for name in HEAVY if f"'{name}'" in loaded] == []


@pytest.mark.parametrize(
    ("locale", "chosen", "opening"),
    [
        ("zh_CN.UTF-8", (), "  金保工程节点软件"),
        ("C.UTF-8", (), "  Node appliance"),
        ("C.UTF-8", ("--lang", "zh"), "  金保工程节点软件"),
        ("zh_CN.UTF-8", ("--lang=en",), "  Node appliance"),
    ],
    ids=["a Chinese locale", "another locale", "Chinese by option", "English by option"],
)
def test_help_speaks_the_readers_language(locale: str, chosen: tuple[str, ...], opening: str) -> None:
    """The locale chooses the language of the help, and `--lang` decides before it."""
    said = spawn(*chosen, "--help", LC_ALL=locale, PYTHONUTF8="1")

    assert said.code == 0
    assert said.out.splitlines()[2].startswith(opening)
