"""The repository as the house's own tests read it: tracked files and parsed modules."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "node" / "jinbao"
GENERATED = PACKAGE / "wire" / "gen"


@cache
def tracked() -> tuple[Path, ...]:
    """Every tracked file; without a git directory (an unpacked archive), every file of the sources."""
    if not (ROOT / ".git").exists():
        folders = (
            *(
                "node",
                "tests",
                "docs",
                "proto",
                "tiers",
                "monitoring",
                "requirements",
                "ansible",
                "benchmarks",
            ),
            *("scripts", "units"),
        )
        inside = (p for folder in folders for p in (ROOT / folder).rglob("*") if "__pycache__" not in p.parts)
        return tuple(sorted(p for p in (*inside, *ROOT.glob("*.*")) if p.is_file()))
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    paths = (ROOT / name for name in listed.stdout.decode().split("\0") if name)
    return tuple(path for path in paths if path.is_file())


@cache
def parsed(path: Path) -> ast.Module:
    """One module as a tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def modules() -> Iterator[Path]:
    """Modules of the package that a person wrote."""
    return (p for p in tracked() if p.suffix == ".py" and PACKAGE in p.parents and GENERATED not in p.parents)


def suites() -> Iterator[Path]:
    """Files that hold tests."""
    return (p for p in tracked() if p.name.startswith("test_") and ROOT / "tests" in p.parents)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a module."""
    return (n for n in ast.walk(parsed(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def name_of(path: Path) -> str:
    """Path from the top of the repository, for messages."""
    return str(path.relative_to(ROOT))
