"""The plan of a promotion, as the backup site sees it: what would be lost, how long it takes, what is done already."""

from __future__ import annotations

import math
from typing import Any

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.freezing import DECLARED
from jinbao.appliance.guarding import age_s, guarded
from jinbao.appliance.questions.registry import Arguments, Asked, Body, question
from jinbao.model.errors import UsageError
from jinbao.model.topology import NodeRow
from jinbao.model.zone import Border, Endpoint, Zone
from jinbao.standby.cuts import Cut


class OneNode(Arguments):
    """A protected node."""

    node: str


@question("standby.plan", arguments=OneNode)
def plan(asked: Asked, arguments: OneNode) -> Body:
    """What a promotion of a protected node would build and not bring back, and how long a drill took. Null: unknown.

    `paused` are the zones that stand still by a declaration, and are followed again after a promotion.
    """
    zone = asked.zone
    row = _protected(zone, arguments.node)
    cuts = [cut for cut in guarded(zone) if cut.stream.origin.node == row.node]
    drill = next((one for one in zone.cuts.drills() if one.node == row.node), None)
    grant, paused = zone.trust.grant_of(row.node), zone.index.paused()
    followed = [e for e in zone.topology.protected(zone.me) if e.node == row.node]
    sealed_in = max((zone.index.head(cut.stream).epoch for cut in cuts), default=0)
    return {
        "node": row.node,
        "parent": row.parent,
        "backup": zone.me.node,
        "epoch": row.epoch,
        "zones": [_line(zone, cut) for cut in cuts],
        "give_back": [str(e) for e in _givers(zone, row)],
        "drill_s": drill.seconds if drill else None,
        "drill_ok": drill.ok if drill else None,
        "paused": sorted(str(e) for e in followed if paused.get(e, "").startswith(DECLARED)),
        "done": {
            "declared": bool(followed) and all(e in paused for e in followed),
            "granted": grant is not None,
            "promoted": grant is not None and sealed_in >= grant.epoch,
        },
    }


def _protected(zone: OpenZone, node: str) -> NodeRow:
    mine = zone.topology.row(zone.me.node)
    protects = [name for name in (mine.protects if mine else ()) if zone.topology.row(name)]
    row = zone.topology.row(node)
    if row is None or node not in protects or zone.me.zone is not Zone.EXCHANGE:
        raise UsageError(
            "node", expected=" or ".join(protects) or "a backup site that protects some", got=node[:40]
        )
    return row


def _givers(zone: OpenZone, row: NodeRow) -> list[Endpoint]:
    """Neighbours of the node who may have what its copy has not."""
    exchange, topology = Endpoint(row.node, Zone.EXCHANGE), zone.topology
    return [
        e
        for e in topology.neighbours(exchange)
        if e.node != row.node and topology.border(exchange, e) is Border.LINE
    ]


def _line(zone: OpenZone, cut: Cut) -> dict[str, Any]:
    """One zone: both points apart, the journal's and the source's."""
    origin = cut.stream.origin
    held = zone.index.held().get(cut.stream)
    segments, size = zone.index.stored(cut.stream)
    ages = {"rpo_s": age_s(zone, cut.at), "capture_age_s": age_s(zone, cut.captured_at)}
    return {
        "zone": str(origin),
        "acts": cut.lsn,
        "restorable_to": "" if cut.missing else cut.at,
        "captured_at": cut.captured_at,
        "missing": cut.missing,
        "held": held[2] if held else "",
        "segments": segments,
        "bytes": size,
    } | {name: round(age, 1) if math.isfinite(age) else None for name, age in ages.items()}
