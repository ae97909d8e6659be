"""The repository keeps its word: commands, versions, files and pages that name each other agree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.version import Version
from tests.house.tree import GENERATED, ROOT, name_of, parsed, suites, tracked

from jinbao import __version__

TIER_LINES_MAX = 40

# Folders of the machine a file was written on, and package indexes: neither is the reader's.
FOREIGN = re.compile(r"/(?:work|root)/[a-z]|/home/[a-z]+/|/Users/[a-z]|pypi[.](?:org|io)|python[h]osted")

TEXT = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".proto", ".sh", ".mako", ".csv", ".json", ""}


def _make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))


@pytest.mark.parametrize("name", ["README.md", "README.zh.md", ".ci/run"])
def test_every_make_command_exists(name: str) -> None:
    """Whatever a page or CI calls by make is a target of the Makefile."""
    text = (ROOT / name).read_text(encoding="utf-8")

    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.MULTILINE))

    assert named, f"{name}: expected at least one make command, got none"
    assert named <= _make_targets()


def test_the_twins_show_the_same_commands() -> None:
    """The Chinese README gives the same commands as the English one."""
    blocks = [
        re.findall(
            r"^(?:make|jinbao|\.venv/bin/jinbao) .*$", (ROOT / name).read_text("utf-8"), flags=re.MULTILINE
        )
        for name in ("README.md", "README.zh.md")
    ]

    assert blocks[0] == blocks[1]


def test_the_changelog_knows_this_version() -> None:
    """The version the package says has a section in the changelog, or is newer than all that have one."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## \[(.+?)\]", changelog, flags=re.MULTILINE)
    released = [Version(head) for head in heads[1:]]

    assert heads[0] == "Unreleased"
    assert Version(__version__) in released or Version(__version__) > released[0]
    assert released == sorted(released, reverse=True)


def test_no_file_names_a_machine() -> None:
    """No tracked file names a folder of somebody's machine or a package index."""
    found = [
        f"{name_of(path)}:{number}"
        for path in tracked()
        if path.suffix in TEXT
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if FOREIGN.search(line)
    ]

    assert not found


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem) for p in sorted((ROOT / "tiers").glob("*.toml"))]
)
def test_a_tier_fits_one_page(path: Path) -> None:
    """A tier's file is under forty lines, and TOML."""
    text = path.read_text(encoding="utf-8")

    assert len(text.splitlines()) < TIER_LINES_MAX
    assert tomllib.loads(text)["tier"] in {"ministry", "province", "city"}


def test_every_requirement_is_locked_by_hash() -> None:
    """Each locked package carries an exact version and at least one hash."""
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        entries = re.split(r"\n(?=[a-z0-9])", path.read_text(encoding="utf-8").strip())

        loose = [
            e.split("\n")[0] for e in entries if "==" not in e.split("\n")[0] or "--hash=sha256:" not in e
        ]

        assert not loose, f"{name_of(path)}: expected exact versions with hashes, got {loose}"


def _fault_rows() -> Iterator[tuple[str, int]]:
    for path in suites():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("fault_row"):
                yield name_of(path), ast.literal_eval(node.args[0])


def test_every_fault_row_is_answered() -> None:
    """Each row of the fault table has a test marked with it, and each mark a row."""
    rows = set(map(int, tomllib.loads((ROOT / "tests" / "faults.toml").read_text(encoding="utf-8"))))

    marked = {row for _, row in _fault_rows()}

    assert marked == rows


def test_the_generated_wire_is_the_contract(tmp_path: Path) -> None:
    """The committed modules of the contract are what `proto/` says today; `make wire` renews them."""
    contracts = [str(p.relative_to(ROOT / "proto")) for p in sorted((ROOT / "proto").rglob("*.proto"))]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "proto"]

    subprocess.run([*command, f"--python_out={tmp_path}", *contracts], cwd=ROOT, check=True)

    for made in sorted(tmp_path.rglob("*_pb2.py")):
        committed = (GENERATED / made.relative_to(tmp_path)).read_text(encoding="utf-8")
        expected = made.read_text(encoding="utf-8")
        expected = re.sub(r"^from jinbao\.", "from jinbao.wire.gen.jinbao.", expected, flags=re.MULTILINE)
        assert committed == expected, f"{made.name}: expected what proto/ says, got an older one: make wire"
