"""What may leave a node in a support bundle: words of ours by pattern, numbers that cannot be a person's, nothing else.

Nothing is filtered out: a value is taken only if it is of a kind that is named here. Paths, names, reasons, texts
of errors, addresses of mail, and every number of fifteen digits or more stay where they are.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from jinbao.appliance.doctor.examine import Line
from jinbao.appliance.doctor.facts import Facts
from jinbao.appliance.metrics import METRICS
from jinbao.appliance.observers import ALARMS
from jinbao.appliance.settings import Settings
from jinbao.model import errors
from jinbao.model.places import tiers_directory
from jinbao.model.stream import AUDIT, CUTS, JOURNAL, NOTICES, RECEIPTS, STANDARDS, TRUST, TRUST_UP

SYSTEM_TOPICS = frozenset({AUDIT, CUTS, JOURNAL, NOTICES, RECEIPTS, STANDARDS, TRUST, TRUST_UP})

HIDDEN = "?"
"""Stands for a word that is not let out."""

NUMBER_MAX = 10**14
"""The shortest identity number has fifteen digits."""

_NODE = r"[0-9]{6}(-backup)?"
NODE = re.compile(_NODE)
ENDPOINT = re.compile(rf"{_NODE}(/(production|exchange|decision))?")
REVISION = re.compile(r"[a-z]{1,12}_[0-9]{4}")
VERSION = re.compile(r"[0-9]{1,4}([.][0-9A-Za-z]{1,12}){1,4}")
HASH = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
CODE = re.compile(r"[a-z_]{2,24}([.][a-z_]{2,24})?")
CRON = re.compile(r"([0-9*/,-]{1,9} ){4}[0-9*/,-]{1,9}|")
RULE = re.compile(r"[A-Z]{1,4}-[0-9]{1,3}")


@cache
def libraries() -> frozenset[str]:
    """Libraries of this release: of one that a node made itself only the number is told."""
    return frozenset(path.stem for path in (tiers_directory() / "standards").glob("*_*.toml"))


@cache
def topics() -> frozenset[str]:
    """Names of streams that are no source's."""
    return libraries() | SYSTEM_TOPICS


def standard(value: object) -> str:
    """A standard's id, `library@version`."""
    library, _, version = str(value).partition("@")
    is_known = library in libraries() and re.fullmatch(r"[0-9]{1,4}([.][0-9]{1,4}){0,2}", version)
    return str(value) if is_known else HIDDEN


def _codes() -> frozenset[str]:
    """Codes of every error there is."""
    found, waiting = set[str](), [errors.JinbaoError]
    while waiting:
        kind = waiting.pop()
        found.add(kind.code)
        waiting += kind.__subclasses__()
    return frozenset(found)


EVENTS = (
    frozenset(ALARMS)
    | {metric.event for metric in METRICS if metric.event}
    | {"zone_started", "zone_stopped", "shelf_scrubbed", "library_judged", "submission_attested", "stream_released"}
    | {"mending_failed", "copies_purged", "object_gone", "copy_not_given"}
)  # fmt: skip
"""Events of a zone's log by name; of any other it is only told that there was one."""

_LOGGED = (
    "seq",
    "bytes",
    "rows",
    "failures",
    "retry_in_s",
    "epoch",
    "lsn",
    "segments",
    "damaged",
    "count",
    "waited_s",
)
"""Numbers of an event."""

_WORKERS = frozenset({"apply", "capture", "retention", "trust", "standby", "witness", "scrub", "renewal", "audit"}) | {
    "deadlines", "drill", "follow", "carry", "authorities",
}  # fmt: skip


def word(value: object, pattern: re.Pattern[str]) -> str:
    """A text that is wholly of a pattern; `HIDDEN` for any other."""
    text = str(value)
    return text if pattern.fullmatch(text) else HIDDEN


def among(value: object, known: Iterable[str]) -> str:
    """A text that is one of those known."""
    return str(value) if str(value) in set(known) else HIDDEN


def number(value: object) -> float | int | bool | None:
    """A number that is nobody's; None for anything else."""
    if isinstance(value, bool):
        return value
    is_small = isinstance(value, int | float) and abs(value) < NUMBER_MAX
    return value if is_small and isinstance(value, int | float) else None


def time_of(value: object) -> str:
    """A moment, UTC to the second; empty for anything else."""
    try:
        return datetime.fromisoformat(str(value)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return ""


def _kind(url: str) -> str:
    return among(url.partition(":")[0].partition("+")[0], ("sqlite", "postgresql", "mysql", "oracle"))


def _setting(value: object) -> object:
    return word(value, CRON) if isinstance(value, str) else number(value)


def settings(found: Settings) -> dict[str, Any]:
    """Limits, paces and kinds; no path, no account, no URL, no name of a source or of a person."""
    sections = ("limits", "pace", "audit", "evidence")
    numbers = {
        section: {key: _setting(value) for key, value in getattr(found, section).model_dump().items()}
        for section in sections
    }
    zones = {
        str(zone): {
            "border": str(one.border),
            "listens_by_setting": bool(one.listen),
            "database": _kind(found.database(zone)),
        }
        for zone, one in found.zones.items()
    }
    sources = [
        {"kind": _kind(s.url), "encoding": s.encoding, "change": s.change, "check_days": s.check_days}
        for s in found.sources
    ]
    return numbers | {
        "node": word(found.node, NODE),
        "tier": str(found.tier),
        "role": found.role,
        "zones": zones,
        "sources": sources,
        "roles_apart": found.roles.is_separated,
        "promotion_persons": len(found.promotion.persons),
        "copies": {"escrow": bool(found.copies.escrow_key), "drill": bool(found.copies.drill_key)},
        "own_standards": found.standards_directory is not None,
        "trust_directory": found.trust_directory is not None,
        "authorities": len(found.authorities),
    }


def findings(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """What the doctor found, as codes and numbers."""
    return [
        {
            "check": line.check,
            "zone": word(line.zone, ENDPOINT),
            "state": str(line.finding.state),
            "code": word(line.finding.code, CODE) if "." in line.finding.code else HIDDEN,
            "numbers": {key: number(value) for key, value in line.finding.numbers.items()},
        }
        for line in lines
    ]


def status(body: Mapping[str, Any]) -> dict[str, Any]:
    """Readiness, counts and neighbours; of reasons only how many there are."""
    return {
        "zone": word(body["zone"], ENDPOINT),
        "version": word(body["version"], VERSION),
        "incarnation": word(body["incarnation"], HASH),
        "running": bool(body["running"]),
        "ready": bool(body["ready"]),
        "reasons": len(body["reasons"]),
        "journal": {key: number(value) for key, value in body["journal"].items()},
        "peers": [
            {
                "peer": word(peer["peer"], ENDPOINT),
                "border": among(peer["border"], ("line", "carrier")),
                "seconds_ago": number(peer["seconds_ago"]),
                "accepted": number(peer["accepted"]),
                "clock_offset_s": number(peer["clock_offset_s"]),
            }
            for peer in body["peers"]
        ],
    }


def facts(found: Facts) -> dict[str, Any]:
    """Schema, head of the journal and counts."""
    return {
        "schema": {
            "present": [word(name, REVISION) for name in found.present],
            "pending": [word(name, REVISION) for name in found.pending],
            "unknown": len(found.unknown),
        },
        "acts": number(found.acts),
        "act_hash": word(found.act_hash, HASH),
        "act_at": time_of(found.act_at),
        "incarnation": word(found.incarnation, HASH),
        "segments": number(found.segments),
        "missing": [word(sha256, HASH) for sha256 in found.missing],
        "missing_count": number(found.missing_count),
        "damaged": number(found.damaged),
        "orphans": number(found.orphans),
        "orphan_bytes": number(found.orphan_bytes),
        "strays": number(found.stray_count),
        "backup_at": time_of(found.backup_at or ""),
        "standards": [standard(name) for name in found.standards or ()],
        "held": [{"seq": number(seq), "code": among(code, _codes())} for _, seq, code in found.held or ()],
        "trust_documents": len(found.documents or ()),
    }


def topology(body: Mapping[str, Any]) -> dict[str, Any]:
    """Nodes with parents, zones and epochs; no names and no addresses."""
    return {
        "version": number(body["version"]),
        "nodes": [
            {
                "node": word(node["node"], NODE),
                "tier": among(node["tier"], ("ministry", "province", "city")),
                "parent": word(node["parent"], NODE) if node["parent"] else "",
                "zones": [among(zone, ("production", "exchange", "decision")) for zone in node["zones"]],
                "dials": among(node["dials"], ("parent", "child")),
                "epoch": number(node["epoch"]),
            }
            for node in body["nodes"]
        ],
    }


def _worker(value: str) -> str:
    name, _, peer = value.partition(" ")
    known = among(name, _WORKERS)
    return f"{known} {word(peer, ENDPOINT)}" if peer and known != HIDDEN else known


_LABELS: Mapping[str, Callable[[str], str]] = {
    **{name: lambda v: word(v, ENDPOINT) for name in ("peer", "zone", "node", "backup")},
    "topic": lambda v: among(v, topics()),
    "library": lambda v: among(v, libraries()),
    "version": lambda v: word(v, VERSION),
    "rule": lambda v: word(v, RULE),
    "code": lambda v: among(v, _codes()),
    "place": lambda v: among(v, ("segments", "database")),
    "ok": lambda v: among(v, ("True", "False", "true", "false")),
    "stage": lambda v: among(v, ("accepted", "applied", "refused", "held", "overdue")),
    "direction": lambda v: among(v, ("ahead", "back")),
    "worker": _worker,
}
"""Labels whose values are looked at; every other is hidden."""


def metrics(text: str) -> str:
    """A metrics page of ours: known names, known labels, numbers."""
    known, lines = {metric.name for metric in METRICS}, list[str]()
    families = text_string_to_metric_families(text)
    for family in families:
        for sample in family.samples:
            value = sample.value if math.isinf(sample.value) else number(sample.value)
            if sample.name in known and value is not None:
                shown = {key: _LABELS.get(key, lambda _: HIDDEN)(v) for key, v in sample.labels.items()}  # type: ignore[no-untyped-call]
                labels = ",".join(f'{key}="{shown[key]}"' for key in sorted(shown))
                lines.append(f"{sample.name}{{{labels}}} {value:.15g}\n")
    return "".join(lines)


def log(lines: Iterable[str]) -> str:
    """Events of a zone's log by name, time, neighbour, code and numbers; what is no event of ours is counted."""
    told, others = list[str](), 0
    for line in lines:
        event = _event(line)
        if event is None:
            others += 1
        else:
            told.append(json.dumps(event) + "\n")
    return "".join(told) + (json.dumps({"others": others}) + "\n" if others else "")


def _event(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
        name = found["event"]
    except (ValueError, TypeError, KeyError):
        return None
    if name not in EVENTS:
        return None
    event: dict[str, Any] = {"event": name, "at": time_of(found.get("timestamp", ""))}
    event |= {key: word(found[key], ENDPOINT) for key in ("zone", "peer", "caller") if key in found}
    if "code" in found:
        event["code"] = among(found["code"], _codes())
    if "worker" in found:
        event["worker"] = _worker(str(found["worker"]))
    return event | {key: number(found[key]) for key in _LOGGED if key in found}
