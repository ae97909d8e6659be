"""The question after the zone's own database: only the process that has it open may look."""

from __future__ import annotations

from dataclasses import asdict

from jinbao.appliance.database.checking import look
from jinbao.appliance.database.dumping import tables_of
from jinbao.appliance.questions.registry import Arguments, Asked, Body, question


class NoArguments(Arguments):
    """A question that needs nothing more."""


@question("database.check", arguments=NoArguments)
def check(asked: Asked, _arguments: NoArguments) -> Body:
    """Server, settings that durability rests on, privileges, schema, size and free space, each with what is expected."""
    zone = asked.zone
    found = look(zone.store, tables_of(zone.projections), zone.settings.limits.disk_reserve_bytes)
    return {"zone": str(zone.me), "findings": [asdict(finding) for finding in found]}
