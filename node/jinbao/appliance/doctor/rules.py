"""Rules 规则: standards, code lists, quality rules and mappings, read as a zone reads them when it starts."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from jinbao import __version__
from jinbao.appliance.doctor.context import NodeContext
from jinbao.appliance.doctor.findings import Finding, State, Words, same
from jinbao.model.errors import JinbaoError
from jinbao.model.places import tiers_directory
from jinbao.quality.rules import CHECKS
from jinbao.registry.mappings import load_mappings
from jinbao.registry.standards import load_standards


def look(node: NodeContext) -> Iterator[Finding]:
    """One finding: what cannot be read, or what was."""
    tiers = place(node)
    try:
        standards = load_standards(tiers / "standards")
        mappings = load_mappings(tiers / "mappings", standards)
    except (JinbaoError, KeyError, TypeError, ValueError, AttributeError) as exc:
        # A file may be TOML and still no standard: whatever reading it meets is the file's fault.
        expected = same(exc.expected) if isinstance(exc, JinbaoError) else Words("a standard", "标准文件")
        got = same(exc.got) if isinstance(exc, JinbaoError) else same(f"{type(exc).__name__}")
        thing = exc.thing if isinstance(exc, JinbaoError) else str(tiers)
        yield _red(node, "rules.unreadable", expected, got, thing)
        return
    rules = [(s, table, rule) for s in standards.values() for table in s.tables for rule in table.rules]
    strange = sorted(
        {
            f"{s.library}.{table.id} {rule.id}: {rule.check}"
            for s, table, rule in rules
            if rule.check not in CHECKS
        }
    )
    if strange:
        want = Words("kinds of checks the gate knows", "质量关已知的检查种类")
        yield _red(node, "rules.unknown", want, same("; ".join(strange[:3])), str(tiers))
    if not strange:
        got = Words(
            f"{len(standards)} standards, {len(rules)} rules, {len(mappings)} mappings",
            f"{len(standards)} 个标准，{len(rules)} 条规则，{len(mappings)} 个对照表",
        )
        counts = {"standards": len(standards), "rules": len(rules), "mappings": len(mappings)}
        yield Finding("rules.ok", State.OK, got=got, numbers=counts)


def place(node: NodeContext) -> Path:
    """Where the node's standards and mappings lie."""
    return node.settings.standards_directory or tiers_directory()


def renewal(node: NodeContext) -> str:
    """The command by which this release's own files take the place of those in use."""
    installed, used = tiers_directory(), place(node)
    if installed.resolve() != used.resolve():
        names = ("standards", "mappings")
        sources = " ".join(shlex.quote(str(installed / name)) for name in names)
        return f"cp -a {sources} {shlex.quote(str(used))}"
    return f"python3 -m pip install --force-reinstall --no-deps jinbao=={__version__}"


def _red(node: NodeContext, code: str, expected: Words, got: Words, thing: str) -> Finding:
    advice = Words(
        "puts back the files of this release; keep changes of your own beside them",
        "恢复本版本的文件；自己的改动请另行保存",
    )
    return Finding(code, State.RED, expected, got, thing, renewal(node), advice)
