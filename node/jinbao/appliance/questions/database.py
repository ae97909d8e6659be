"""The question after the zone's own database: only the process that has it open may look."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import Field

from jinbao.appliance.database.checking import look
from jinbao.appliance.database.dumping import tables_of
from jinbao.appliance.database.findings import RELEASE
from jinbao.appliance.questions.registry import Arguments, Asked, Body, question


class ForRelease(Arguments):
    """Another release, whether it could run on the schema as it is; empty for none."""

    for_release: str = Field("", pattern=rf"^({RELEASE})?$")


@question("database.check", arguments=ForRelease)
def check(asked: Asked, arguments: ForRelease) -> Body:
    """Server, settings that durability rests on, privileges, schema, size and free space, each with what is expected."""
    zone = asked.zone
    reserve = zone.settings.limits.disk_reserve_bytes
    found = look(zone.store, tables_of(zone.projections), reserve, arguments.for_release)
    return {"zone": str(zone.me), "findings": [asdict(finding) for finding in found]}
