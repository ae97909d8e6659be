"""What a zone's database is like: asked of the zone's process while it runs, looked at under its lock while it does not."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from jinbao.appliance.admin_client import ask, is_running
from jinbao.appliance.database.checking import Finding, look
from jinbao.appliance.database.dumping import tables_of
from jinbao.appliance.database.opening import readings, stopped
from jinbao.appliance.database.usable import database_url, setting_of, shown
from jinbao.appliance.settings import Settings
from jinbao.model.errors import JinbaoError
from jinbao.model.zone import Zone


def check(settings: Settings, zone: Zone) -> dict[str, Any]:
    """`zone`, `running`, `database` (its URL without password) and `findings` of one zone, whatever its state."""
    running = is_running(settings, zone)
    body = {"zone": str(settings.endpoint(zone)), "running": running, "database": "", "findings": []}
    try:
        body["database"] = shown(database_url(settings.database(zone), setting_of(zone)))
        body["findings"] = (
            ask(settings, zone, "database.check")["findings"] if running else _look(settings, zone)
        )
    except JinbaoError as exc:
        body["findings"] = [
            asdict(Finding("reach", "yes", "; ".join(filter(None, (str(exc.got), exc.next_step))), "wrong"))
        ]
    return body


def _look(settings: Settings, zone: Zone) -> list[dict[str, Any]]:
    _, projections, _ = readings(settings, zone)
    with stopped(settings, zone) as store:
        found = look(store, tables_of(projections), settings.limits.disk_reserve_bytes)
    return [asdict(finding) for finding in found]
