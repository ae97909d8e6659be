"""Segments 数据段: files that batches name and that are gone, and files that nobody ever named.

By name only: whether their bytes are what was written is scrubbing's matter, whose word is repeated here.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from jinbao.appliance.doctor.context import ZoneContext
from jinbao.appliance.doctor.facts import Facts
from jinbao.appliance.doctor.findings import Finding, State, UnknownError, Words, same

NONE = Words("none", "无")


def look(zone: ZoneContext) -> Iterator[Finding]:
    """One finding for each kind of trouble; one that there is none."""
    facts = zone.facts
    if facts.segments is None:
        if not facts.present:
            yield Finding("segments.ok", State.OK, got=Words("none yet", "尚无"))
            return
        raise UnknownError(
            Words("the schema is an older one", "表结构较旧"), zone.command("database migrate")
        )
    found = [*_gone(zone, facts), *_orphans(zone, facts), *_strays(zone, facts)]
    yield from found
    if not found:
        got = Words(f"all {facts.segments} are there", f"{facts.segments} 个全部在")
        yield Finding("segments.ok", State.OK, got=got, numbers={"segments": facts.segments})


def _gone(zone: ZoneContext, facts: Facts) -> Iterator[Finding]:
    bad = max(facts.missing_count, facts.damaged)
    if not bad:
        return
    first = f", {facts.missing[0][:12]}…" if facts.missing else ""
    yield Finding(
        "segments.missing",
        State.RED,
        NONE,
        Words(
            f"{facts.missing_count} missing, {facts.damaged} damaged{first}",
            f"缺失 {facts.missing_count}，损坏 {facts.damaged}{first}",
        ),
        str(zone.directory / "segments"),
        zone.command("journal mend"),
        Words(
            "brings them again from whoever was shown the same batch; what nobody has: jinbao backup restore",
            "向看到同一批次的邻居重新取得；无人持有的用 jinbao backup restore",
        ),
        {"missing": facts.missing_count, "damaged": facts.damaged},
    )


def _orphans(zone: ZoneContext, facts: Facts) -> Iterator[Finding]:
    if facts.orphans is None:
        raise UnknownError(
            Words("reading all acts takes longer than a start may wait", "读完全部流水超过启动可等待的时间"),
            zone.command("journal retention"),
        )
    if facts.orphans:
        yield Finding(
            "segments.orphans",
            State.WARNING,
            NONE,
            Words(
                f"{facts.orphans} files nobody named, {facts.orphan_bytes} bytes",
                f"{facts.orphans} 个无人引用的文件，{facts.orphan_bytes} 字节",
            ),
            str(zone.directory / "segments"),
            zone.command("journal retention --apply"),
            numbers={"orphans": facts.orphans, "bytes": facts.orphan_bytes},
        )


def _strays(zone: ZoneContext, facts: Facts) -> Iterator[Finding]:
    if facts.stray_count:
        root = zone.directory / "segments"
        yield Finding(
            "segments.strays",
            State.WARNING,
            NONE,
            same(", ".join(facts.strays[:3])),
            str(root),
            _aside(root, facts.strays),
            Words(
                "files that can be no segments: nothing here reads them", "不可能是数据段的文件：不会被读取"
            ),
            {"strays": facts.stray_count},
        )


def _aside(root: Path, strays: Sequence[str]) -> str:
    """The command that lays strays with what scrubbing laid aside, for a person to look at."""
    names, damaged = (shlex.quote(str(root / name)) for name in strays), shlex.quote(str(root / "damaged"))
    return f"mkdir -p {damaged} && mv -t {damaged} {' '.join(names)}"
