"""Every row of the fault table is answered by tests that see it: without its defence they fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from tests.defences import OFF
from tests.house.tree import ROOT

_MARK = re.compile(r"fault_row\((\d+)\)")


def _files(row: int) -> list[str]:
    """Test files in which a test is marked with the row."""
    found = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(p) for p in found if str(row) in _MARK.findall(p.read_text(encoding="utf-8"))]


@pytest.mark.parts
@pytest.mark.parametrize("row", sorted(OFF))
def test_without_its_defence_a_row_turns_red(row: int) -> None:
    """With the defence of a row switched off, its tests run and at least one of them fails."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "tests.defences",
        "-p",
        "no:cacheprovider",
        "--timeout=90",
    ]

    ran = subprocess.run(
        [*command, "-m", "not night and not parts", *_files(row)],
        cwd=ROOT,
        env=os.environ | {"WITHOUT_DEFENCE": str(row), "PYTHONPATH": f"node{os.pathsep}."},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 1, (
        f"row {row}: expected a failing test, got\n{ran.stdout[-2000:]}{ran.stderr[-500:]}"
    )
    assert " failed" in ran.stdout
