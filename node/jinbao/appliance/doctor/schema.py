"""Schema 表结构: whether a zone's database is of this release, or of one it can run on. Migrates nothing."""

from __future__ import annotations

from collections.abc import Iterator

from jinbao.appliance.doctor.context import ZoneContext
from jinbao.appliance.doctor.facts import Facts
from jinbao.appliance.doctor.findings import Finding, State, Words, same

NEWEST = Words("the newest of this release", "本版本的最新结构")


def look(zone: ZoneContext) -> Iterator[Finding]:
    """One finding."""
    facts = zone.facts
    if not facts.is_borne:
        yield Finding(
            "schema.newer",
            State.RED,
            NEWEST,
            same(", ".join(facts.unknown)),
            fix="ls -d /opt/jinbao*",
            advice=_way_back(facts),
            numbers={"unknown": len(facts.unknown)},
        )
    elif facts.ahead:
        yield Finding(
            "schema.ahead",
            State.WARNING,
            NEWEST,
            same(", ".join(facts.ahead)),
            advice=Words(
                "a newer release expanded it and this one runs on it: go forward again once what sent you back is mended",
                "较新版本已扩展表结构，本版本可继续运行；回退原因排除后请重新升级",
            ),
            numbers={"ahead": len(facts.ahead)},
        )
    elif facts.pending and facts.present:
        yield _older(zone, facts)
    else:
        got = NEWEST if facts.present else Words("none yet: the first start makes it", "尚无：首次启动时建立")
        yield Finding("schema.ok", State.OK, got=got)


def _way_back(facts: Facts) -> Words:
    """The newer release, and the copy it made before."""
    en, zh = same(facts.made_by) if facts.made_by else Words("that made it", "建立该结构的")
    older = Words(
        f", or restore the copy {facts.copy} by jinbao backup restore",
        f"，或用 jinbao backup restore 恢复副本 {facts.copy}",
    )
    return Words(
        f"this release cannot run on it: start release {en}{older.en if facts.copy else ''}",
        f"本版本无法在其上运行：请启动版本 {zh}{older.zh if facts.copy else ''}",
    )


def _older(zone: ZoneContext, facts: Facts) -> Finding:
    """Steps that were not done: those that only add are done by --fix too, others by a person who reads the command."""
    got = Words(f"lacks {', '.join(facts.pending)}", f"缺少 {', '.join(facts.pending)}")
    fix, count = zone.command("database migrate"), {"pending": len(facts.pending)}
    if not facts.moving:
        advice = Words(
            "it only adds, and a SQLite database is copied before: jinbao doctor --fix does it too",
            "仅增加内容，SQLite 数据库会先行复制；jinbao doctor --fix 亦可完成",
        )
        return Finding("schema.older", State.RED, NEWEST, got, fix=fix, advice=advice, numbers=count)
    names = ", ".join(facts.moving)
    advice = Words(
        f"{names} moves or removes data: --fix leaves it; a server is copied by its own means, see upgrade.server_copied",
        f"{names} 会迁移或删除数据，--fix 不处理；服务器数据库须自行备份，见 upgrade.server_copied",
    )
    return Finding("schema.moving", State.RED, NEWEST, got, fix=fix, advice=advice, numbers=count)
