"""Borders that import contracts cannot draw: who makes what, and what the model may use."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from tests.house.tree import PACKAGE, modules, name_of, parsed


def _called(path: Path) -> set[str]:
    """Names of everything a module calls, without what they are attributes of."""
    calls = (n.func for n in ast.walk(parsed(path)) if isinstance(n, ast.Call))
    return {c.attr if isinstance(c, ast.Attribute) else getattr(c, "id", "") for c in calls}


def test_only_verify_makes_a_verified_batch() -> None:
    """No module but trust.verify builds a VerifiedBatch, so whoever holds one holds a proof."""
    makers = {name_of(path) for path in modules() if "VerifiedBatch" in _called(path)}

    assert makers == {"node/jinbao/trust/verify.py"}


def _imported(path: Path) -> set[str]:
    """Top names of everything a module imports, and `jinbao.<room>` of its own package."""
    names = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {".".join(n.split(".")[:2]) if n.startswith("jinbao") else n.split(".")[0] for n in names}


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem) for p in modules() if p.parent == PACKAGE / "model"]
)
def test_the_model_needs_nothing_installed(path: Path) -> None:
    """The model imports the standard library and itself, nothing else."""
    foreign = _imported(path) - set(sys.stdlib_module_names) - {"jinbao.model", "__future__"}

    assert not foreign, f"{name_of(path)}: expected the standard library alone, got {sorted(foreign)}"


def test_nothing_forks() -> None:
    """No module starts a process by fork: a forked copy would share locks, sockets and database files."""
    forks = {"fork", "forkpty", "ForkingMixIn"}

    guilty = {name_of(path) for path in modules() if forks & _called(path)}

    assert not guilty
