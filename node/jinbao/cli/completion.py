"""`jinbao completion`: the script by which a shell completes commands and options; click makes it, this prints it.

Installs nothing and reads no settings. What is completed is asked of `jinbao` itself, at each TAB.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from jinbao.cli import show
from jinbao.cli.words import t

SHELLS = ("bash", "zsh", "fish")


@click.command(
    help=t(
        "Print what makes a shell complete jinbao's commands and options on TAB.",
        "输出 shell 补全脚本：按 TAB 补全命令和选项。",
    ),
    epilog="jinbao completion bash > /etc/bash_completion.d/jinbao",
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """The script of one shell, for the command by the name `jinbao`."""
    made = get_completion_class(shell)
    assert made is not None, "click knows the three"
    show.result(made(ctx.find_root().command, {}, "jinbao", "_JINBAO_COMPLETE").source().rstrip())
