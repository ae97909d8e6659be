"""Questions that prove a run: what a zone holds, counted and digested from its stored rows."""

from __future__ import annotations

from typing import Any

from jinbao.appliance.questions.registry import Answer, Arguments, Asked, Body, Reasoned, question
from jinbao.journal.verify import verify_journal
from jinbao.model.audit import Role
from jinbao.model.receipt import Stage
from jinbao.model.stream import LINE, StreamId
from jinbao.trust.digest import leaves


class NoArguments(Arguments):
    """A question that needs nothing more."""


class LeavesOf(Reasoned):
    """Buckets of one origin's table."""

    library: str
    table: str
    origin: str
    buckets: tuple[str, ...]


@question("report.progress", arguments=NoArguments)
def progress(asked: Asked, _arguments: NoArguments) -> Body:
    """Which tiers applied the newest submission of each library this zone sealed."""
    zone, found = asked.zone, {}
    for library in sorted(zone.mappings):
        stream = StreamId(zone.me, library, LINE)
        head = zone.index.head(stream)
        receipts = zone.index.receipts(stream, head.seq) if head.seq else []
        found[library] = {
            "sealed": head.seq,
            "applied": sorted(str(r.receiver) for r in receipts if r.stage is Stage.APPLIED),
            "refused": sorted(f"{r.receiver}: {r.reason}" for r in receipts if r.stage is Stage.REFUSED),
        }
    verdicts = {line["library"]: line["verdict"] for line in zone.state.verdicts()}
    return {"zone": str(zone.me), "libraries": found, "verdicts": verdicts}


@question("report.sealed", arguments=Reasoned, role=Role.SECURITY)
def sealed(asked: Asked, _arguments: Reasoned) -> Answer:
    """What the production zone sealed last, per table, and every finding of its gate without values."""
    zone = asked.zone
    names = ("table", "rows", "digest", "source_rows", "quarantined", "period")
    tables = {
        library: [{name: row[name] for name in names} for row in zone.state.sealed(library)]
        for library in sorted(zone.mappings)
    }
    findings = [
        [line["library"], line["table"], line["key"], line["item"], line["rule"]]
        for library in sorted(zone.mappings)
        for line in zone.quarantine.findings(library)
    ]
    body = {"zone": str(zone.me), "tables": tables, "findings": findings}
    return Answer(body, everyone="keys of every stopped row")


@question("report.library", arguments=NoArguments)
def library(asked: Asked, _arguments: NoArguments) -> Body:
    """Rows, roots and buckets of every table and origin, recomputed from the rows stored here."""
    zone = asked.zone
    lines: list[dict[str, Any]] = []
    for name, standard in sorted(zone.standards.items()):
        origins = sorted({origin for t in standard.tables for origin in zone.library.origins(name, t.id)})
        for origin in origins:
            for table, digest in zone.library.digests(name, origin).items():
                line = {"library": name, "table": table, "origin": origin, "rows": digest.rows}
                lines.append(line | {"root": digest.root, "buckets": digest.buckets})
    held = {str(stream): reason for stream, (_, _, reason) in zone.index.held().items()}
    return {"zone": str(zone.me), "tables": lines, "held": held}


@question("report.leaves", arguments=LeavesOf, role=Role.SECURITY)
def leaves_of(asked: Asked, arguments: LeavesOf) -> Answer:
    """Key and row hash of every row in the named buckets: where two tiers differ, by key."""
    standard = asked.zone.standards[arguments.library].table(arguments.table)
    frame = asked.zone.library.frame(arguments.library, arguments.table, origin=arguments.origin)
    found = leaves(frame, standard.columns, standard.key).with_columns(
        frame.get_column(standard.key[0]).alias("key")
    )
    chosen = found.filter(found.get_column("bucket").is_in(arguments.buckets))
    body = {"leaves": chosen.select("key", "leaf").sort("key", "leaf").rows()}
    return Answer(
        body, everyone=f"keys of {arguments.library}.{arguments.table} in {len(arguments.buckets)} buckets"
    )


@question("report.line", arguments=NoArguments)
def line(asked: Asked, _arguments: NoArguments) -> Body:
    """Segments and bytes in this zone's journal, and whether all of it is what was written."""
    counts = asked.zone.index.overview()
    damage = verify_journal(asked.zone.store, asked.zone.shelf)
    named = [{"thing": d.thing, "kind": d.kind, "detail": d.detail} for d in damage]
    return {
        "zone": str(asked.zone.me),
        "segments": counts.segments,
        "bytes": counts.segment_bytes,
        "damage": named,
    }


@question("report.segments", arguments=NoArguments)
def segments(asked: Asked, _arguments: NoArguments) -> Body:
    """Every segment a header of this journal names: hash, stream, seq, table and bytes."""
    return {"zone": str(asked.zone.me), "segments": asked.zone.index.segments()}


@question("report.packages", arguments=NoArguments)
def packages(asked: Asked, _arguments: NoArguments) -> Body:
    """Origins whose library this decision zone has taken in, by library."""
    zone = asked.zone
    found = {name: sorted({s.origin for s in zone.decision.segments(name)}) for name in sorted(zone.mappings)}
    return {"zone": str(zone.me), "origins": found}


@question("report.indicators", arguments=NoArguments)
def indicators(asked: Asked, _arguments: NoArguments) -> Body:
    """How many indicators the packages here give a value for."""
    from jinbao.decision.publish import evaluate  # noqa: PLC0415  # an engine only this question starts

    zone = asked.zone
    segments = [s for name in sorted(zone.mappings) for s in zone.decision.segments(name)]
    frame = evaluate(segments, zone.standards, path=zone.shelf.open_path)
    return {"zone": str(zone.me), "count": frame.get_column("indicator").n_unique(), "values": frame.height}
