"""How the house is written: what every module and every test says of itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tests.house.measures import is_broad, p90
from tests.house.tree import functions, modules, name_of, parsed, suites


@pytest.mark.parametrize("path", [pytest.param(p, id=name_of(p)) for p in modules()])
def test_a_module_says_what_it_is(path: Path) -> None:
    """Every module of the package opens with a docstring."""
    opening = ast.get_docstring(parsed(path))

    assert opening, f"{name_of(path)}: expected a docstring that says what the module is, got none"


@pytest.mark.parametrize("path", [pytest.param(p, id=name_of(p)) for p in suites()])
def test_a_test_makes_one_promise(path: Path) -> None:
    """Every test carries its promise as a docstring that opens with one full sentence."""
    tests = [f for f in functions(path) if f.name.startswith("test_")]

    bad = [f.name for f in tests if not (ast.get_docstring(f) or "").split("\n")[0].endswith((".", "。"))]

    assert not bad, f"{name_of(path)}: expected one sentence of promise, got none in {bad}"


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [([], 0), ([7], 7), (range(1, 11), 9), ([1] * 9 + [99], 1), ([1] * 8 + [99, 99], 99)],
    ids=["nothing", "one", "ten", "one long in ten", "two long in ten"],
)
def test_the_ninetieth_of_a_hundred(lengths: list[int], expected: int) -> None:
    """The mirror shows the length nine of ten stay within."""
    assert p90(lengths) == expected


@pytest.mark.parametrize(
    ("text", "broad"),
    [("except:", True), ("except Exception:", True), ("except ValueError:", False)],
    ids=["bare", "all", "one family"],
)
def test_a_broad_fence_is_seen(text: str, broad: bool) -> None:
    """The mirror counts a handler that takes every exception, and no other."""
    tree = ast.parse(f"try:\n    pass\n{text}\n    pass\n")
    [handler] = [n for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler)]

    assert is_broad(handler) is broad
