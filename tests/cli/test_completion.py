"""A shell completes our commands: a real bash is asked what it would, and the other scripts are known by heart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.harness import environment
from tests.conftest import Golden

BIN = Path(sys.executable).parent

PRESSED = """
source <(jinbao completion bash)
way=$(complete -p jinbao) && function=${way##*-F } && function=${function%% *}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
"$function" jinbao
printf '%s\\n' "${COMPREPLY[@]}"
"""


def _run(*command: str) -> str:
    """What a command prints with our commands in its path."""
    ran = subprocess.run(
        command,
        env=environment(PATH=f"{BIN}:/usr/bin:/bin", LC_ALL="C.UTF-8"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return ran.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("jinbao", "st"), ["status", "standby"]),
        (("jinbao", "line", "st"), ["status"]),
        (("jinbao", "completion", ""), ["bash", "zsh", "fish"]),
        (("jinbao", "line", "pull", "--pe"), ["--peer"]),
    ],
)
def test_bash_completes_what_was_begun(typed: tuple[str, ...], offered: list[str]) -> None:
    """With the printed script, a real bash offers what begins as it was typed, and nothing else."""
    assert _run("bash", "-c", PRESSED, "bash", *typed).splitlines() == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_the_known_one(shell: str, golden: Golden) -> None:
    """What is printed for a shell is what was looked at, so that a new release of the library cannot change it unseen."""
    golden(f"completion-{shell}.txt", _run(str(BIN / "jinbao"), "completion", shell))
