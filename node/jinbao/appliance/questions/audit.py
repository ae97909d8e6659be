"""Questions of the security auditor 安全审计员: who did what, whether the trail is unchanged, all of it as a file."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

from pydantic import Field

from jinbao.appliance.auditing import export_lines, verify_trail
from jinbao.appliance.questions.registry import Answer, Arguments, Asked, Body, question
from jinbao.appliance.questions.status import NoArguments
from jinbao.audit.lookup import Wanted, lines
from jinbao.model.audit import Outcome, Role

LINES_MAX = 10_000


class Filters(Arguments):
    """What to look for; empty means all. Times are RFC 3339 in UTC, or their beginning."""

    since: str = Field("", pattern=r"^[0-9TZ:.+-]*$")
    until: str = Field("", pattern=r"^[0-9TZ:.+-]*$")
    who: str = ""
    person: str = ""
    action: str = ""
    outcome: Outcome | None = None
    limit: int = Field(50, gt=0, le=LINES_MAX)


@question("audit.list", arguments=Filters, role=Role.AUDIT, person="person")
def listing(asked: Asked, arguments: Filters) -> Body:
    """Lines of the trail, newest first; a person is found by their number and shown masked."""
    wanted = Wanted(
        since=arguments.since,
        until=arguments.until,
        who=arguments.who,
        person=asked.zone.trail.key.mac(arguments.person) if arguments.person else "",
        action=arguments.action,
        outcome=arguments.outcome or "",
    )
    return {"zone": str(asked.zone.me), "entries": lines(asked.zone.store, wanted, arguments.limit)}


@question("audit.verify", arguments=NoArguments, role=Role.AUDIT)
def verify(asked: Asked, _arguments: NoArguments) -> Body:
    """The trail's chain computed anew and held against every sealed head; what differs is named."""
    faults, heads = verify_trail(asked.zone)
    return {
        "zone": str(asked.zone.me),
        "ok": not faults,
        "entries": asked.zone.trail.head()[0],
        "cut": asked.zone.trail.cut_away()[0],
        "heads": heads,
        "sealed": asked.zone.heads.sealed(),
        "faults": [asdict(fault) for fault in faults],
    }


@question("audit.export", arguments=NoArguments, role=Role.AUDIT)
def export(asked: Asked, _arguments: NoArguments) -> Answer:
    """Every entry left and every sealed head, as a file that verifies elsewhere."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=asked.zone.shelf.incoming, suffix=".export", delete=False
    ) as file:
        count = sum(file.write(f"{line}\n") > 0 for line in export_lines(asked.zone))
    return Answer({"zone": str(asked.zone.me), "lines": count}, Path(file.name))
