"""Questions a person asks first: is the zone well, who are its neighbours, where is a record."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import polars as pl

from jinbao import __version__
from jinbao.appliance.questions.registry import Arguments, Asked, Body, Reasoned, question
from jinbao.model.masking import mask
from jinbao.model.stream import LINE, StreamId
from jinbao.model.zone import Zone
from jinbao.source.kept import kept


class NoArguments(Arguments):
    """A question that needs nothing more."""


class Key(Reasoned):
    """The key of a record in a standard table: employer or person number."""

    key: str


@question("status", arguments=NoArguments)
def status(asked: Asked, _arguments: NoArguments) -> Body:
    """Version, readiness with reasons, counts of the journal, neighbours."""
    zone = asked.zone
    reasons = asked.running.readiness() if asked.running else ["the zone is stopped"]
    contacts = asked.running.contacts() if asked.running else {}
    return {
        "zone": str(zone.me),
        "version": __version__,
        "incarnation": zone.index.incarnation(),
        "running": asked.running is not None,
        "ready": not reasons,
        "reasons": reasons,
        "roles_apart": zone.roles.is_separated,
        "journal": asdict(zone.index.overview()),
        "peers": [{"peer": peer} | asdict(contact) for peer, contact in contacts.items()],
    }


@question("topology", arguments=NoArguments)
def topology(asked: Asked, _arguments: NoArguments) -> Body:
    """Every node of the signed topology, and how far this zone follows each stream."""
    zone = asked.zone
    nodes = [
        {
            "node": row.node,
            "name_zh": row.name_zh,
            "name_en": row.name_en,
            "tier": str(row.tier),
            "parent": row.parent,
            "zones": [str(z) for z in row.zones],
            "addresses": {str(z): a for z, a in row.addresses},
            "dials": row.dials,
            "epoch": row.epoch,
        }
        for row in zone.topology.rows
    ]
    return {
        "zone": str(zone.me),
        "version": zone.topology.version,
        "nodes": nodes,
        "streams": _streams(asked),
    }


def _streams(asked: Asked) -> list[dict[str, Any]]:
    """Every stream held here: the newest header, how far it is applied, what holds it."""
    zone = asked.zone
    applied = {mark.stream: mark.seq for mark in zone.index.marks("applied")}
    accepted = {mark.stream: mark.seq for mark in zone.index.marks()}
    held = zone.index.held()
    return [
        {
            "stream": str(mark.stream),
            "seq": mark.seq,
            "accepted": accepted.get(mark.stream, mark.seq),
            "applied": applied.get(mark.stream, 0) if mark.stream in accepted else None,
            "held": held[mark.stream][2] if mark.stream in held else "",
        }
        for mark in zone.index.streams()
    ]


@question("trace", arguments=Key, person="key")
def trace(asked: Asked, arguments: Key) -> Body:
    """Where a record is in this zone: captured, quarantined and why, sealed, stored, and which tiers applied it."""
    zone, key = asked.zone, arguments.key
    steps: list[dict[str, Any]] = []
    if zone.me.zone is Zone.PRODUCTION:
        steps += _captured(asked, key)
        steps += _judged(asked, key)
    if zone.me.zone is Zone.EXCHANGE:
        steps += _stored(asked, key)
    return {"zone": str(zone.me), "key": key, "steps": steps}


def _captured(asked: Asked, key: str) -> list[dict[str, Any]]:
    steps = []
    for table in asked.zone.state.captured_tables():
        file = kept(table, asked.zone.shelf.open_path)
        for column in ("AAC001", "AAB001"):
            if column in file.schema:
                rows = (
                    file.lazy([column])
                    .filter(pl.col(column).str.strip_chars() == key)
                    .select(pl.len())
                    .collect()
                    .item()
                )
                if rows:
                    where = f"{table.source}.{table.table}.{column}"
                    steps.append({"stage": "captured", "where": where, "rows": rows, "why": ""})
    return steps


def _judged(asked: Asked, key: str) -> list[dict[str, Any]]:
    """Per table: stopped with its reasons, or sealed with the tiers that applied it."""
    zone = asked.zone
    steps: list[dict[str, Any]] = []
    for library in sorted(zone.mappings):
        found = [f for f in zone.quarantine.findings(library) if f["key"] == key]
        reasons = "; ".join(f"{f['rule']} {f['item']} ({f['severity']})" for f in found)
        stopped = {f["table"] for f in found if f["severity"] == "error"}
        stream = StreamId(zone.me, library, LINE)
        receipts = zone.index.receipts(stream, zone.index.head(stream).seq)
        for row in zone.state.sealed(library):
            place = f"{library}.{row['table']}"
            if row["table"] in stopped:
                steps.append({"stage": "quarantined", "where": place, "rows": 1, "why": reasons})
                continue
            table = zone.standards[library].table(row["table"])
            frame = zone.shelf.read(row["segment"])
            rows = frame.filter(pl.col(table.key[0]).cast(pl.String) == key).height
            if rows:
                steps.append({"stage": "sealed", "where": place, "rows": rows, "why": reasons})
                steps += [
                    {
                        "stage": str(r.step(is_top=not zone.topology.above(r.receiver))),
                        "where": f"{place} at {r.receiver}",
                        "rows": rows,
                        "why": r.reason,
                    }
                    for r in receipts
                ]
                steps += [
                    {
                        "stage": "missing",
                        "where": f"{place} at {m.receiver}",
                        "rows": rows,
                        "why": f"{m.stage} due {m.due_at}",
                    }
                    for m in zone.index.missing()
                    if m.stream == stream
                ]
    return steps


def _stored(asked: Asked, key: str) -> list[dict[str, Any]]:
    zone, steps = asked.zone, []
    for library, standard in sorted(zone.standards.items()):
        for table in standard.tables:
            frame = zone.library.frame(library, table.id, key={table.key[0]: key})
            for origin, seq in frame.select("_origin", "_seq").iter_rows():
                where = f"{library}.{table.id} from {origin}, submission #{seq}"
                steps.append({"stage": "stored", "where": where, "rows": 1, "why": ""})
    return steps


def masked_rows(rows: list[dict[str, Any]], personal: set[str]) -> list[dict[str, Any]]:
    """Rows with personal items masked."""
    return [
        {name: mask(str(v)) if name in personal and v is not None else v for name, v in row.items()}
        for row in rows
    ]


PERSON_NUMBERS = ("AAC001", "AAC002")
"""Person number and social security number: by either a person asks who has seen their record."""


def numbers_of(rows: list[dict[str, Any]], personal: set[str]) -> tuple[str, ...]:
    """Every number of a person in rows that are shown in clear."""
    names = [name for name in PERSON_NUMBERS if name in personal]
    return tuple(str(row[name]) for row in rows for name in names if row.get(name))
