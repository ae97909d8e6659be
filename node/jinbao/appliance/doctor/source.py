"""Source 业务库: whether each business database answers, and has the tables and columns that mappings read.

Opened as a capture opens it, read only; no row is read.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from jinbao.appliance.assembly import needed_tables
from jinbao.appliance.doctor.context import ZoneContext
from jinbao.appliance.doctor.findings import Finding, State, UnknownError, Words, same
from jinbao.appliance.doctor.rules import place
from jinbao.appliance.settings import SourceSettings
from jinbao.model.errors import JinbaoError
from jinbao.model.zone import Zone
from jinbao.registry.mappings import load_mappings
from jinbao.registry.standards import load_standards
from jinbao.source.catalogue import TableShape
from jinbao.source.reader import Source

CONNECT_S = "5"


def look(zone: ZoneContext) -> Iterator[Finding]:
    """One finding for each source; of the production zone, which alone reads them."""
    if zone.zone is not Zone.PRODUCTION:
        return
    if not zone.settings.sources:
        yield Finding("source.ok", State.OK, got=Words("none is set", "未设置"))
    needed = _needed(zone) if zone.settings.sources else {}
    there: dict[str, TableShape] = {}
    for source in zone.settings.sources:
        try:
            tables = _tables(source)
        except JinbaoError as exc:
            yield _silent(source, exc)
            return  # what the others lack may be in this one
        there |= tables
        got = Words(f"answers, {len(tables)} tables", f"应答，{len(tables)} 个表")
        yield Finding("source.ok", State.OK, got=got, thing=source.name, numbers={"tables": len(tables)})
    if zone.settings.sources:
        yield from _lacking(zone, needed, there)


def _tables(source: SourceSettings) -> dict[str, TableShape]:
    url = sa.make_url(source.url)
    if url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": CONNECT_S})
    with Source(
        source.name, url.render_as_string(hide_password=False), source.encoding
    ).snapshot() as snapshot:
        return snapshot.tables()


def _needed(zone: ZoneContext) -> dict[str, set[str]]:
    tiers = place(zone.node)
    try:
        standards = load_standards(tiers / "standards")
        return needed_tables(load_mappings(tiers / "mappings", standards))
    except JinbaoError as exc:
        raise UnknownError(Words("the mappings cannot be read", "无法读取对照表"), code="rules") from exc


def _silent(source: SourceSettings, exc: JinbaoError) -> Finding:
    url = sa.make_url(source.url)
    if url.get_backend_name() == "sqlite":
        fix, path = "mount -a", Path(str(url.database))
        advice = Words(f"bring back {path}, or correct sources.url", f"恢复 {path}，或更正 sources.url")
    else:
        host = f"-h {shlex.quote(url.host)} " if url.host else ""
        port = f"-p {url.port} " if url.port else ""
        fix = f"pg_isready {host}{port}-d {shlex.quote(str(url.database))}".strip()
        advice = Words(
            "start it there, or correct sources.url and the password file",
            "在其主机上启动，或更正 sources.url 与口令文件",
        )
    return Finding("source.silent", State.RED, same(exc.expected), same(exc.got), source.name, fix, advice)


def _lacking(
    zone: ZoneContext, needed: dict[str, set[str]], there: dict[str, TableShape]
) -> Iterator[Finding]:
    """Tables and columns that mappings read and no source has."""
    lacks = []
    for table, columns in sorted(needed.items()):
        shape = there.get(table.upper())
        if shape is None:
            lacks.append(table)
        else:
            have = {column.upper() for column in shape.columns}
            lacks += [f"{table}.{column}" for column in sorted(columns) if column.upper() not in have]
    if lacks:
        named = ", ".join(lacks[:3]) + ("…" if lacks[3:] else "")
        yield Finding(
            "source.lacks",
            State.RED,
            Words("every table and column of the mappings", "对照表所需的全部表和列"),
            Words(f"without {named}", f"缺少 {named}"),
            fix=zone.command("capture show"),
            advice=Words(
                "mend the mapping, see docs/how-to/connect-a-source.md",
                "修改对照表，见 docs/how-to/connect-a-source.md",
            ),
            numbers={"lacking": len(lacks)},
        )
