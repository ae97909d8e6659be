"""The proof of a demonstration: every tier's answers from its own stored rows, held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinbao.appliance.demo.processes import DemoNetwork
from jinbao.model.zone import Endpoint, Tier, Zone

REASON = "proof of a demonstration"


def conclude(network: DemoNetwork, seconds: float) -> dict[str, Any]:
    """Verify a network and give the object of the demonstration."""
    proof = verify(network)
    nodes = [
        {"node": node, "tier": str(settings.tier), "zones": [str(z) for z in settings.zones]}
        for node, settings in network.settings.items()
    ]
    root = next(node for node, settings in network.settings.items() if settings.tier is Tier.MINISTRY)
    indicators = network.ask(Endpoint(root, Zone.DECISION), "report.indicators")
    standby = guarded(network)
    ok = (
        bool(proof["tables"])
        and all(line["restorable_to"] and line["drill_ok"] for line in standby)
        and not proof["damage"]
        and all(t["digest_equal"] and not t["missed"] and not t["false_alarms"] for t in proof["tables"])
    )
    return {
        "ok": ok,
        "seconds": round(seconds, 2),
        "nodes": nodes,
        "tables": proof["tables"],
        "line": carried(network),
        "standby": standby,
        "indicators": indicators["count"],
        "differences": proof["differences"],
        "damage": proof["damage"],
        "directory": str(network.directory),
    }


def guarded(network: DemoNetwork) -> list[dict[str, Any]]:
    """Each protected node: what would be lost of its journal now, the age of its capture, and up to when it can be built.

    The worst of its zones counts; then what a drill of it gave, which reads all of its copy. Empty without a backup site.
    """
    network.guard()
    network.drill()
    lines: dict[str, dict[str, Any]] = {}
    for node in network.backups():
        status = network.ask(Endpoint(node, Zone.EXCHANGE), "standby.status")
        drills = {drill["node"]: drill for drill in status["drills"]}
        for line in status["protected"]:
            name = Endpoint.parse(line["zone"]).node
            found = lines.setdefault(name, _new_line(name, drills[name]))
            own = network.ask(Endpoint.parse(line["zone"]), "standby.status")["own"]
            is_known = found["rpo_s"] is not None and own["rpo_s"] is not None
            found["rpo_s"] = max(found["rpo_s"], own["rpo_s"]) if is_known else None
            found["restorable_to"] = min(
                found["restorable_to"] or line["restorable_to"], line["restorable_to"]
            )
            if own["capture_age_s"] is not None:
                found["capture_age_s"] = own["capture_age_s"]
    return list(lines.values())


def _new_line(node: str, drill: dict[str, Any]) -> dict[str, Any]:
    found = {"node": node, "rpo_s": 0.0, "capture_age_s": None, "restorable_to": ""}
    return found | {"verified": drill["ok"], "drill_ok": drill["ok"], "drill_s": drill["seconds"]}


def verify(network: DemoNetwork) -> dict[str, Any]:
    """Restart every zone, ask each for what it stored, and hold the answers against each other."""
    network.restart()
    reports = {
        tier: {
            node: network.ask(Endpoint(node, Zone.EXCHANGE), "report.library")
            for node in network.of_tier(tier)
        }
        for tier in (Tier.CITY, Tier.PROVINCE, Tier.MINISTRY)
    }
    tables, differences = [], []
    for city in network.cities():
        sealed = network.ask(Endpoint(city, Zone.PRODUCTION), "report.sealed", reason=REASON)
        for library, lines in sealed["tables"].items():
            for line in lines:
                row = _table(network, city, library, line, sealed["findings"], reports)
                tables.append(row)
                if not row["digest_equal"]:
                    differences += _differences(network, city, library, line["table"], reports)
    damage = _damage(network)
    return {"tables": tables, "differences": differences, "damage": damage}


def _holders(network: DemoNetwork, city: str) -> dict[Tier, str]:
    """The node of each tier that holds a city's library."""
    return {Tier.CITY: city} | {t: network.of_tier(t)[0] for t in (Tier.PROVINCE, Tier.MINISTRY)}


def _stored(
    network: DemoNetwork, reports: dict[Tier, dict[str, dict[str, Any]]], city: str, library: str, table: str
) -> dict[Tier, dict[str, Any]]:
    """What each tier stored of one table of one city."""
    found = {}
    place = (library, table, city)
    for tier, node in _holders(network, city).items():
        lines = reports[tier][node]["tables"]
        mine = [x for x in lines if (x["library"], x["table"], x["origin"]) == place]
        found[tier] = mine[0] if mine else {"rows": 0, "root": "", "buckets": {}}
    return found


def _table(
    network: DemoNetwork,
    city: str,
    library: str,
    line: dict[str, Any],
    findings: Sequence[Sequence[str]],
    reports: dict[Tier, dict[str, dict[str, Any]]],
) -> dict[str, Any]:
    stored = _stored(network, reports, city, library, line["table"])
    mine = (library, line["table"])
    planted = {p for p in network.planted[city] if p[:2] == mine}
    caught = {(f[0], f[1], f[2], f[3], f[4]) for f in findings if (f[0], f[1]) == mine}
    return {
        "library": library,
        "table": line["table"],
        "city": city,
        "source_rows": line["source_rows"],
        "passed": line["rows"],
        "quarantined": line["quarantined"],
        "rows": {str(tier): found["rows"] for tier, found in stored.items()},
        "digest": line["digest"],
        "digest_equal": all(found["root"] == line["digest"] for found in stored.values()),
        "planted_defects": len(planted),
        "caught_defects": len(planted & caught),
        "missed": sorted("/".join(p[1:]) for p in planted - caught),
        "false_alarms": sorted("/".join(c[1:]) for c in caught - planted),
    }


def _differences(
    network: DemoNetwork, city: str, library: str, table: str, reports: dict[Tier, dict[str, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Which tier differs from the city, in which keys."""
    stored = _stored(network, reports, city, library, table)
    right, found = stored[Tier.CITY]["buckets"], []
    for tier in (Tier.PROVINCE, Tier.MINISTRY):
        other = stored[tier]["buckets"]
        buckets = sorted(b for b in right.keys() | other.keys() if right.get(b) != other.get(b))
        if buckets:
            keys = _keys(network, city, library, table, buckets, _holders(network, city)[tier])
            place = {"tier": str(tier), "city": city, "library": library, "table": table}
            found.append(place | {"keys": len(keys), "key_min": min(keys), "key_max": max(keys)})
    return found


def _keys(
    network: DemoNetwork, city: str, library: str, table: str, buckets: list[str], node: str
) -> list[str]:
    """Keys whose rows are not the same at the city and at another node."""
    sets = []
    for holder in (city, node):
        arguments = {"library": library, "table": table, "origin": city, "buckets": buckets}
        arguments["reason"] = REASON
        answer = network.ask(Endpoint(holder, Zone.EXCHANGE), "report.leaves", **arguments)
        sets.append({(key, leaf) for key, leaf in answer["leaves"]})
    return sorted({key for key, _ in sets[0] ^ sets[1]})


def _damage(network: DemoNetwork) -> list[dict[str, Any]]:
    """Damage in any zone's journal."""
    return [
        {"zone": str(endpoint)} | damage
        for endpoint in network.endpoints()
        for damage in network.ask(endpoint, "report.line")["damage"]
    ]


def carried(network: DemoNetwork) -> dict[str, int]:
    """Segments and bytes the parents took over the line: what province and ministry hold in their journals."""
    answers = [
        network.ask(Endpoint(node, Zone.EXCHANGE), "report.line")
        for tier in (Tier.PROVINCE, Tier.MINISTRY)
        for node in network.of_tier(tier)
    ]
    return {"bytes": sum(a["bytes"] for a in answers), "segments": sum(a["segments"] for a in answers)}
