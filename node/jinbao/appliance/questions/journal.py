"""Questions about the journal: acts, one act, verification, retention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from pydantic import Field

from jinbao.appliance.housekeeping import retention_plan, sweep_shelf
from jinbao.appliance.mending import holders, mend
from jinbao.appliance.questions.registry import Arguments, Asked, Body, question
from jinbao.appliance.questions.status import NoArguments
from jinbao.journal.scrub import Use
from jinbao.journal.verify import verify_journal
from jinbao.link.limits import LinkLimits
from jinbao.model.audit import Role
from jinbao.model.errors import UsageError


class Page(Arguments):
    """Acts after a place, at most `limit`, of one kind if one is named."""

    after: int = Field(0, ge=0)
    limit: int = Field(50, gt=0)
    kind: str = ""


class Place(Arguments):
    """One act."""

    lsn: int = Field(gt=0)


class Sweep(Arguments):
    """With `apply`, files nobody needs are removed."""

    apply: bool = False


@question("journal.list", arguments=Page)
def listing(asked: Asked, arguments: Page) -> Body:
    """Acts in order, without their bodies."""
    acts = asked.zone.ledger.acts(after=arguments.after, limit=arguments.limit, kind=arguments.kind)
    lines = [{"lsn": a.lsn, "at": a.at, "kind": a.act.kind, "about": _about(a.act.body)} for a in acts]
    return {"zone": str(asked.zone.me), "acts": lines}


def _about(body: object) -> str:
    assert isinstance(body, dict)
    for name in ("stream", "library", "run", "peer", "endpoint"):
        if name in body:
            seq = f"#{body['seq']}" if "seq" in body else ""
            return f"{body[name]}{seq}"
    return ""


@question("journal.show", arguments=Place)
def show(asked: Asked, arguments: Place) -> Body:
    """One act with its body."""
    found = asked.zone.ledger.acts(after=arguments.lsn - 1, limit=1)
    if not found or found[0].lsn != arguments.lsn:
        raise UsageError(
            "act", expected="one of the journal", got=arguments.lsn, next_step="jinbao journal list"
        )
    if found[0].act.kind == "audited":
        step = "jinbao audit list, in the role audit"
        raise UsageError("act", expected="one that is no audit entry", got=arguments.lsn, next_step=step)
    return {
        "lsn": found[0].lsn,
        "at": found[0].at,
        "kind": found[0].act.kind,
        "body": dict(found[0].act.body),
    }


@question("journal.verify", arguments=NoArguments)
def verify(asked: Asked, _arguments: NoArguments) -> Body:
    """Every act, header and segment read again; each one that is damaged is named."""
    damage = verify_journal(asked.zone.store, asked.zone.shelf, indexes=True)
    counts = asked.zone.index.overview()
    return {
        "zone": str(asked.zone.me),
        "ok": not damage,
        "acts": counts.acts,
        "segments": counts.segments,
        "damage": [asdict(d) for d in damage],
    }


@question("journal.scrub", arguments=NoArguments)
def scrub(asked: Asked, _arguments: NoArguments) -> Body:
    """How far the pass over all segments is, what the last whole one read, and what is damaged and not mended."""
    progress = asked.zone.scrub.progress()
    return {
        "zone": str(asked.zone.me),
        "begun_at": progress.begun_at,
        "segments": progress.objects,
        "bytes": progress.bytes,
        "last_begun_at": progress.done_begun_at,
        "last_ended_at": progress.done_at,
        "last_segments": progress.done_objects,
        "last_bytes": progress.done_bytes,
        "damaged": [{"segment": sha256, "kind": kind} for sha256, kind in sorted(progress.bad.items())],
        "within_days": asked.zone.settings.limits.scrub_days,
    }


@question("journal.mend", kind="act", role=Role.SYSTEM, arguments=NoArguments)
def mend_known(asked: Asked, _arguments: NoArguments) -> Body:
    """Bring segments that are missing or known to be damaged again from neighbours, without waiting for their turn."""
    zone = asked.zone
    standing, limits = zone.trust.standing(), LinkLimits()

    def bring(sha256: str, size: int, uses: Sequence[Use]) -> bool:
        return mend(zone, holders(zone, standing, limits, uses), sha256, size, uses)

    mended, left = zone.scrub.mend_known(bring)
    return {"zone": str(zone.me), "mended": mended, "left": left}


@question("journal.retention", kind="act", changes=True, role=Role.SYSTEM, arguments=Sweep)
def retention(asked: Asked, arguments: Sweep) -> Body:
    """Bytes by who still needs them, and what may go; with `apply`, what may go is removed."""
    zone = asked.zone
    lines, freed = sweep_shelf(zone) if arguments.apply else (retention_plan(zone), 0)
    needs: dict[str, int] = {}
    for line in lines:
        for who in line.needed_by or ("nobody",):
            needs[who] = needs.get(who, 0) + line.bytes
    return {
        "zone": str(zone.me),
        "files": len(lines),
        "bytes": sum(line.bytes for line in lines),
        "needed_by": [{"who": who, "bytes": size} for who, size in sorted(needs.items())],
        "may_go_bytes": sum(line.bytes for line in lines if not line.needed_by),
        "freed_bytes": freed,
        "reserve_bytes": zone.settings.limits.disk_reserve_bytes,
    }
