"""A mirror, not a gate: how long functions and modules are, and how often all exceptions are caught.

Run by `make check`, which prints it and judges nothing by it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from math import ceil

from tests.house.tree import functions, modules, parsed, suites


def p90(lengths: Iterable[int]) -> int:
    """The length that nine of ten do not exceed; 0 of nothing."""
    ordered = sorted(lengths)
    return ordered[ceil(len(ordered) * 0.9) - 1] if ordered else 0


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Whether a handler takes every exception."""
    return handler.type is None or ast.unparse(handler.type) in {"Exception", "BaseException"}


def report() -> str:
    """One line per measure, with the figure it is held against."""
    sizes = [len(path.read_text(encoding="utf-8").splitlines()) for path in modules()]
    lengths = [(f.end_lineno or f.lineno) - f.lineno + 1 for path in modules() for f in functions(path)]
    handlers = [n for p in modules() for n in ast.walk(parsed(p)) if isinstance(n, ast.ExceptHandler)]
    broad = sum(map(is_broad, handlers)) * 1000 / max(sum(sizes), 1)
    tests = [f for path in suites() for f in functions(path) if f.name.startswith("test_")]
    return (
        f"p90 function {p90(lengths)} lines of {len(lengths)} functions (mirror: 25)\n"
        f"p90 module {p90(sizes)} lines of {len(sizes)} modules (mirror: 350)\n"
        f"broad except {broad:.2f} per 1000 lines (mirror: 0.5)\n"
        f"tests without a promise {sum(ast.get_docstring(f) is None for f in tests)} of {len(tests)} (mirror: 0)\n"
    )


if __name__ == "__main__":
    sys.stdout.write(report())
