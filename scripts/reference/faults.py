"""The fault table: what goes wrong, what must then hold, and the tests that try it."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .places import TESTS
from .tables import Block, Rows, Tabled
from .words import Lang, Sentences


@cache
def _tried() -> dict[int, Counter[str]]:
    """By the row of the fault table: files of tests, in order, with how many of their tests are marked with it."""
    found: dict[int, Counter[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for row in _marks(path):
            found.setdefault(row, Counter())[str(path.relative_to(TESTS))] += 1
    return found


def _marks(path: Path) -> Iterator[int]:
    """The row of each mark on a test of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            for mark in map(ast.unparse, node.decorator_list):
                if "fault_row(" in mark:
                    yield int(mark.partition("fault_row(")[2].rstrip(")"))


def _said(what: str) -> dict[str, str]:
    """The fault or the outcome of each row, by number."""
    rows = tomllib.loads((TESTS / "faults.toml").read_text(encoding="utf-8"))
    return {row: rows[row][what] for row in sorted(rows, key=int)}


FAULTS_SAID = Sentences("faults", lambda: _said("fault"))
OUTCOMES_SAID = Sentences("outcomes", lambda: _said("outcome"))


def _faults(lang: Lang) -> Rows:
    outcomes = OUTCOMES_SAID.of(lang)
    for row, fault in FAULTS_SAID.of(lang).items():
        tests = (f"`{file} ({count})`" for file, count in _tried().get(int(row), Counter()).items())
        yield row, fault, outcomes[row], ", ".join(tests)


BLOCKS: dict[str, Block] = {
    "faults": Tabled(
        {
            "en": ["row", "what goes wrong", "what must then hold", "tests that try it"],
            "zh": ["行", "哪里出错", "此时必须成立的", "尝试它的测试"],
        },
        _faults,
    ),
}
