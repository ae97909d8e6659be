"""What a zone's database is like: asked of the zone's process while it runs, looked at under its lock while it does not."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from jinbao.appliance.admin_client import ask, is_running
from jinbao.appliance.database.findings import RELEASE, Finding
from jinbao.appliance.database.urls import database_url, setting_of, shown
from jinbao.appliance.settings import Settings
from jinbao.model.errors import JinbaoError, UsageError
from jinbao.model.zone import Zone


def check(settings: Settings, zone: Zone, for_release: str = "") -> dict[str, Any]:
    """`zone`, `running`, `database` (its URL without password) and `findings` of one zone, whatever its state.

    Raises UsageError where `for_release`, another release that may come to run on it, is none.
    """
    if for_release and not re.fullmatch(RELEASE, for_release):
        raise UsageError("--for-release", expected="a release, 1.2.0", got=for_release[:40])
    running = is_running(settings, zone)
    arguments = {"for_release": for_release} if for_release else {}  # an older zone knows no such argument
    body = {"zone": str(settings.endpoint(zone)), "running": running, "database": "", "findings": []}
    try:
        body["database"] = shown(database_url(settings.database(zone), setting_of(zone)))
        body["findings"] = (
            ask(settings, zone, "database.check", arguments)["findings"]
            if running
            else _look(settings, zone, for_release)
        )
    except JinbaoError as exc:
        body["findings"] = [
            asdict(Finding("reach", "yes", "; ".join(filter(None, (str(exc.got), exc.next_step))), "wrong"))
        ]
    return body


def _look(settings: Settings, zone: Zone, for_release: str) -> list[dict[str, Any]]:
    from jinbao.appliance.database.checking import look  # noqa: PLC0415  # the store: only where no zone answers
    from jinbao.appliance.database.dumping import tables_of  # noqa: PLC0415  # as above
    from jinbao.appliance.database.opening import readings, stopped  # noqa: PLC0415  # as above

    _, projections, _ = readings(settings, zone)
    with stopped(settings, zone) as store:
        reserve = settings.limits.disk_reserve_bytes
        found = look(store, tables_of(projections), reserve, for_release)
    return [asdict(finding) for finding in found]
