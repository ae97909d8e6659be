"""Questions about the backup site: how far it is behind, what can be built again, and the copy of one zone."""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field

from jinbao.appliance.drill_process import EVERY
from jinbao.appliance.guarding import age_s, capture_age_s, copy_of, exposure, guarded
from jinbao.appliance.purging import may_go, purge
from jinbao.appliance.questions.registry import Answer, Arguments, Asked, Body, Reasoned, question
from jinbao.appliance.questions.status import NoArguments
from jinbao.model import acts
from jinbao.model.acts import envelope_json
from jinbao.model.audit import Role
from jinbao.model.batch import VerifiedBatch
from jinbao.model.errors import LinkError, SettingsError, UsageError
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.cuts import Cut
from jinbao.standby.objects import openers, read_ring, ring_path

REPORT_CHARACTERS_MAX = 500_000
"""A report has a line for each zone, and at most some twenty for what is wrong with it."""


DRILL = "drill"
"""The worker of a running backup site that drills."""


class OneProtected(Arguments):
    """A protected zone, NODE/ZONE."""

    protected: str


@question("standby.status", arguments=NoArguments)
def status(asked: Asked, _arguments: NoArguments) -> Body:
    """What would be lost with this zone now, each zone it protects, and what backups below said. Null: unknown."""
    zone = asked.zone
    lost = exposure(zone)
    own: Body = {"backup": lost.backup if lost else "", "rpo_s": None, "rpo_rows": None, "rpo_bytes": None}
    if lost is not None and math.isfinite(lost.rpo_s):
        own |= {"rpo_s": round(lost.rpo_s, 1), "rpo_rows": lost.rows, "rpo_bytes": lost.bytes}
    captured = capture_age_s(zone)
    own["capture_age_s"] = round(captured, 1) if captured is not None and math.isfinite(captured) else None
    witnessed = [
        {
            "zone": str(w.stream.origin),
            "backup": w.backup,
            "batch": w.seq,
            "at": w.at,
            "went_back_at": w.went_back_at,
        }
        for w in zone.cuts.witnessed()
    ]
    protected = [_line(asked, cut) for cut in guarded(zone)]
    drills = [asdict(drill) | {"ok": drill.ok} for drill in zone.cuts.drills()]
    return {
        "zone": str(zone.me),
        "own": own,
        "protected": protected,
        "witnessed": witnessed,
        "drills": drills,
        "drilling": asdict(asked.running.drilling.doing)
        if asked.running and DRILL in asked.running.workers
        else None,
    }


def _line(asked: Asked, cut: Cut) -> Body:
    zone, origin = asked.zone, cut.stream.origin
    topology = zone.topology
    row = topology.row(origin.node)
    by = Endpoint(origin.node, Zone.EXCHANGE) if row and origin.zone in row.carrier else origin
    contact = asked.running.contacts().get(str(by)) if asked.running else None
    held = zone.index.held().get(cut.stream)
    captured = age_s(zone, cut.captured_at)
    return {
        "zone": str(origin),
        "acts": cut.lsn,
        "restorable_to": "" if cut.missing else cut.at,
        "missing": cut.missing,
        "verified_at": zone.scrub.progress().done_begun_at,
        "captured_at": cut.captured_at,
        "capture_age_s": round(captured, 1) if math.isfinite(captured) else None,
        "seen_s_ago": contact.seconds_ago if contact else None,
        "held": held[2] if held else "",
        "opened_by": openers(read_ring(ring_path(zone.shelf.rings, by))),
    }


class OneReport(Arguments):
    """What came of a drill, as `drilling.Report` gives it."""

    report: dict[str, Any]


def signed_over(report: str) -> bytes:
    """The bytes a report's signature is over: a word that no other signature begins with, LF, and the report."""
    return f"jinbao-drill-v1\n{report}".encode()


@question("standby.drilled", kind="act", role=Role.SYSTEM, arguments=OneReport)
def drilled(asked: Asked, arguments: OneReport) -> Body:
    """Sign and record what came of a drill of a node this one protects."""
    zone, report = asked.zone, arguments.report
    row = zone.topology.row(zone.me.node)
    node = str(report.get("node", ""))
    if row is None or node not in row.protects:
        raise UsageError("report", expected="a node that is protected here", got=node[:40] or "none")
    text = json.dumps(report, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    zones = report.get("zones") or []
    if len(text) > REPORT_CHARACTERS_MAX or not zones or not all(isinstance(z, dict) for z in zones):
        raise UsageError(
            "report", expected=f"zones, in at most {REPORT_CHARACTERS_MAX} characters", got=len(text)
        )
    wrong = sum(len(z.get("wrong") or []) for z in zones)
    mine = zone.identity
    act = acts.drilled(
        node=node,
        milliseconds=round(float(report.get("seconds") or 0.0) * 1000),
        restored_to=min(str(z.get("restored_to", "")) for z in zones),
        wrong=wrong,
        report=text,
        signed=acts.SealedReport(mine.suite, mine.sign(signed_over(text)), tuple(mine.certificates)),
    )
    zone.ledger.record(act)
    zone.observer.event("node_drilled", node=node, ok=not wrong, seconds=report.get("seconds"), wrong=wrong)
    return {"node": node, "ok": not wrong, "wrong": wrong}


class OneNode(Arguments):
    """A node that is protected here; empty: every one."""

    node: str = ""


@question("standby.drill", kind="act", changes=True, role=Role.SYSTEM, arguments=OneNode)
def drill(asked: Asked, arguments: OneNode) -> Body:
    """Have the running backup site drill as soon as the drill under way is done; the number of that run."""
    zone, running, thing = asked.zone, asked.running, f"drill by zone {asked.zone.me}"
    if zone.settings.role != "backup" or zone.me.zone is not Zone.EXCHANGE:
        step = "ask the backup site of the node: jinbao topology"
        raise UsageError(thing, expected="the exchange zone of a backup site", got="none", next_step=step)
    row = zone.topology.row(zone.me.node)
    nodes = row.protects if row is not None else ()
    if not nodes or (arguments.node and arguments.node not in nodes):
        got = arguments.node[:40] or "none"
        raise UsageError("--node", expected=" or ".join(nodes) or "a node that is protected here", got=got)
    if zone.settings.copies.drill_key_file is None:
        step = "jinbao standby key create drill, then name the file in the settings"
        raise SettingsError("copies.drill_key_file", expected="the key of drills", got="none", next_step=step)
    if running is None or DRILL not in running.workers:
        step = "start it: jinbao serve --zone exchange"
        raise LinkError(thing, expected="a zone that runs and follows", got="none", next_step=step)
    return {"zone": str(zone.me), "run": running.drill_now(arguments.node or EVERY)}


@question("standby.rotate", kind="act", changes=True, role=Role.SYSTEM, arguments=NoArguments)
def rotate(asked: Asked, _arguments: NoArguments) -> Body:
    """Encrypt by another key from now on what the site that protects this node fetches."""
    return {"zone": str(asked.zone.me), "key": asked.zone.giver.rotate()}


class Older(Reasoned):
    """Spare segments that were last named more than `days` ago, and why; with `apply` they are removed."""

    days: float = Field(gt=0)
    apply: bool = False


@question("standby.purge", kind="act", changes=True, role=Role.SECURITY, arguments=Older)
def purging(asked: Asked, arguments: Older) -> Body:
    """What of the copies may go, by zone, and what of it went."""
    spares = may_go(asked.zone, arguments.days)
    zones: dict[str, tuple[int, int]] = {}
    for spare in spares:
        count, size = zones.get(spare.zone, (0, 0))
        zones[spare.zone] = count + 1, size + spare.bytes
    lines = [{"zone": z, "segments": n, "bytes": size} for z, (n, size) in sorted(zones.items())]
    freed = purge(asked.zone, spares) if arguments.apply else 0
    return {"may_go": lines, "hold": list(asked.zone.settings.copies.hold), "freed_bytes": freed}


@question("standby.copy", kind="act", role=Role.SYSTEM, arguments=OneProtected)
def copy(asked: Asked, arguments: OneProtected) -> Answer:
    """The sealed batches of one zone's copy as lines of JSON; its segments lie on this zone's shelf."""
    try:
        endpoint = Endpoint.parse(arguments.protected)
    except ValueError as exc:
        raise UsageError("zone", expected="NODE/ZONE", got=arguments.protected[:80]) from exc
    found = copy_of(asked.zone, endpoint)
    descriptor, name = tempfile.mkstemp(prefix="copy-", dir=asked.zone.shelf.incoming)
    batches = 0
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        for batch in found.batches:
            assert isinstance(batch, VerifiedBatch), "a backup site's copy is of sealed batches"
            file.write(json.dumps(envelope_json(batch.sealed)) + "\n")
            batches += 1
    body: dict[str, Any] = {
        "zone": str(endpoint),
        "acts": found.acts,
        "batches": batches,
        "stream": str(found.stream),
        "shelf": str(asked.zone.shelf.root),
        "rings": str(asked.zone.shelf.rings),
        "hash": asked.zone.cuts.of(found.stream).hash,
    }
    return Answer(body, Path(name))
