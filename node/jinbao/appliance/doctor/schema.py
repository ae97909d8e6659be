"""Schema 表结构: whether a zone's database is of this release. Migrates nothing."""

from __future__ import annotations

from collections.abc import Iterator

from jinbao.appliance.doctor.context import ZoneContext
from jinbao.appliance.doctor.findings import Finding, State, Words, same

NEWEST = Words("the newest of this release", "本版本的最新结构")


def look(zone: ZoneContext) -> Iterator[Finding]:
    """One finding."""
    facts = zone.facts
    if facts.unknown:
        yield Finding(
            "schema.newer",
            State.RED,
            NEWEST,
            same(", ".join(facts.unknown)),
            fix="ls -d /opt/jinbao*",
            advice=Words(
                "a schema never goes back: start the release that made it",
                "表结构不会回退：请启动建立它的版本",
            ),
            numbers={"unknown": len(facts.unknown)},
        )
    elif facts.pending and facts.present:
        got = Words(f"lacks {', '.join(facts.pending)}", f"缺少 {', '.join(facts.pending)}")
        fix, count = zone.command("database migrate"), {"pending": len(facts.pending)}
        yield Finding("schema.older", State.RED, NEWEST, got, fix=fix, numbers=count)
    else:
        got = NEWEST if facts.present else Words("none yet: the first start makes it", "尚无：首次启动时建立")
        yield Finding("schema.ok", State.OK, got=got)
