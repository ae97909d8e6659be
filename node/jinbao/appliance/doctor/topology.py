"""Topology 网络拓扑: signed and proved, of a version not older than one known here, and one row of it is this node's.

Says nothing of whether addresses answer: `peers` does.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from jinbao.appliance.doctor.context import ZoneContext
from jinbao.appliance.doctor.findings import Finding, State, UnknownError, Words, same
from jinbao.appliance.trust_keeper import read_topology
from jinbao.model.errors import JinbaoError, RevocationUnknownError
from jinbao.model.topology import NodeRow, Topology
from jinbao.model.zone import Tier


def look(zone: ZoneContext) -> Iterator[Finding]:
    """What is wrong with the file, then with the row; or one finding that nothing is."""
    try:
        trouble = zone.trouble
    except JinbaoError as exc:
        raise UnknownError(
            Words("it cannot be proved without the zone's identity", "没有分区身份，无法验证"),
            code="certificate",
        ) from exc
    found = _file(zone, has_other=trouble is None)
    if found is not None:
        yield found
    if trouble is None:
        wrong = list(_row(zone, zone.keeper.topology()))
        yield from wrong
        if found is None and not wrong:
            topology = zone.keeper.topology()
            got = Words(
                f"version {topology.version}, {len(topology.rows)} nodes",
                f"版本 {topology.version}，{len(topology.rows)} 个节点",
            )
            yield Finding("topology.ok", State.OK, got=got, numbers={"version": topology.version})


def _file(zone: ZoneContext, *, has_other: bool) -> Finding | None:
    """The file, where it proves nothing; the zone still starts if a topology `has_other`wise come to its journal."""
    path = zone.settings.topology_file
    try:
        read_topology(path, zone.keeper.book(), zone.now)
    except RevocationUnknownError as exc:
        raise UnknownError(same(str(exc)), code="certificate") from exc
    except JinbaoError as exc:
        parent = f"{zone.settings.node[:2]}0000" if zone.settings.tier is Tier.CITY else "100000"
        return Finding(
            "topology.unproved",
            State.WARNING if has_other else State.RED,
            same(exc.expected),
            same(exc.got),
            str(path),
            f"scp {parent}:{shlex.quote(str(path))} {shlex.quote(str(path))}",
            Words(
                "copy the newest signed topology from the node above, wherever it lies there",
                "从上级节点复制最新的签名拓扑，路径以上级为准",
            ),
        )
    return None


def _row(zone: ZoneContext, topology: Topology) -> Iterator[Finding]:
    """What of our own row does not fit our settings."""
    row = topology.row(zone.settings.node)
    if row is None or zone.zone not in row.zones:
        yield _misfit(
            zone, "topology.absent", Words(f"a row with {zone.me}", f"含 {zone.me} 的行"), Words("none", "无")
        )
        return
    for code, expected, got in _pairs(zone, row):
        if expected != got:
            yield _misfit(zone, code, same(expected or "-"), same(got or "-"), code.partition(".")[2])


def _pairs(zone: ZoneContext, row: NodeRow) -> Iterator[tuple[str, str, str]]:
    """By code what the row says and what the settings say."""
    settings = zone.settings
    yield "topology.tier", str(row.tier), str(settings.tier)
    yield "topology.role", "backup" if row.protects else "node", settings.role
    yield "topology.zones", ", ".join(sorted(row.zones)), ", ".join(sorted(settings.zones))
    border = "carrier" if zone.zone in row.carrier else "line"
    yield "topology.border", border, str(settings.zones[zone.zone].border)


def _misfit(zone: ZoneContext, code: str, expected: Words, got: Words, thing: str = "") -> Finding:
    return Finding(
        code,
        State.RED,
        expected,
        got,
        thing,
        f"sudoedit {shlex.quote(str(zone.node.config))}",
        Words(
            "let the settings say what the signed row says, or ask for a new topology",
            "使配置与签名拓扑一致，或申请新的拓扑",
        ),
    )
