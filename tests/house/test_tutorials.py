"""A newcomer types what a tutorial says and sees what it shows: its blocks are run in an empty directory.

A block of the kind `console` is not run; the page says why.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.harness import environment
from tests.house.tree import ROOT

from jinbao.appliance.loopback import free_port

TUTORIALS = ROOT / "docs" / "tutorial"
WITHIN_S = 900
"""A minute or two on a machine with nothing else to do."""

_BLOCK = re.compile(r"^```(shell|text)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"127\.0\.0\.1:(\d+)")
_MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z"), "<time>"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "<hash>"),
    (_PORT, "<address>"),
    (re.compile(r" +\n"), "\n"),
)
_END = "=== end of block"


def blocks(page: Path) -> list[tuple[str, str]]:
    """Kind and text of each block that is typed or shown."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def masked(text: str) -> str:
    """What is the same each time it is run."""
    for pattern, name in _MASKS:
        text = pattern.sub(name, text)
    return text.strip()


def run(page: Path, directory: Path) -> list[str]:
    """What each typed block prints, all of them in one bash that ends at the first failure."""
    typed = [text for kind, text in blocks(page) if kind == "shell"]
    script = "".join(f"{text}echo '{_END}'\n" for text in typed)
    for port in dict.fromkeys(_PORT.findall(script)):
        script = script.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}")
    ran = subprocess.run(
        ["bash", "-c", f"set -e; trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n{script}"],
        cwd=directory,
        env=environment(
            PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            LC_ALL="C.UTF-8",
            XDG_RUNTIME_DIR=str(directory),  # where a demonstration says that it runs: ours is nobody else's
        ),
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout.split(f"{_END}\n")[:-1]


@pytest.mark.processes
@pytest.mark.timeout(WITHIN_S + 60)
@pytest.mark.parametrize("name", ["first-ten-minutes", "three-tiers"])
def test_a_tutorial_does_what_it_shows(name: str, tmp_path: Path) -> None:
    """Each block of a page does what it says, and prints what the page shows but for times, hashes and ports."""
    page = TUTORIALS / f"{name}.md"
    found = run(page, tmp_path)
    shown, at = [""] * len(found), -1
    for kind, text in blocks(page):
        if kind == "shell":
            at += 1
        else:
            shown[at] = text

    assert [masked(text) for text in found] == [masked(text) for text in shown]


@pytest.mark.parametrize("page", sorted(TUTORIALS.glob("*.md")), ids=lambda page: page.name)
def test_every_typed_block_is_shell(page: Path) -> None:
    """Whatever a tutorial has to be typed, bash can read."""
    for kind, text in blocks(page):
        if kind == "shell":
            subprocess.run(["bash", "-n", "-c", text], check=True, timeout=20)
