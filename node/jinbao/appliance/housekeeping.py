"""What of a zone's shelf may go: asks every room which files it still names, and removes the rest."""

from __future__ import annotations

from collections.abc import Sequence

from jinbao.appliance.assembly import OpenZone
from jinbao.journal.retention import Line, plan, sweep
from jinbao.model.errors import LocalError

BEING_WRITTEN_S = 3600.0
"""A file younger than this may be one whose act is not recorded yet."""


def retention_plan(zone: OpenZone) -> list[Line]:
    """Every file on the zone's shelf with who needs it."""
    in_use = [sha256 for table in zone.state.captured_tables() for sha256 in table.segments]
    for library in zone.standards:
        in_use += [row["segment"] for row in zone.state.sealed(library)]
    after = 0
    while acts := zone.ledger.acts(kind="converted", after=after):
        after = acts[-1].lsn
        in_use += [a.act.body[name] for a in acts for name in ("quarantine", "findings")]
    settled = zone.ports.now().timestamp() - BEING_WRITTEN_S
    return plan(
        zone.me,
        zone.store,
        zone.shelf,
        zone.topology,
        in_use,
        settled_before=settled,
        journals={stream: mark.seq for stream, mark in dict(zone.counter.journals).items()},
    )


def watch_disk(zone: OpenZone) -> float:
    """Seconds until the disk's reserve is reached at the present pace; told while it is less than the setting.

    What no neighbour has fetched is never removed to make room: who is away is named by
    `jinbao journal retention`, and what waits for it is what fills the disk.
    """
    free = zone.ports.files.free_bytes(zone.shelf.root)
    left_s = zone.forecast.look(zone.ports.now().timestamp(), free)
    if left_s < zone.settings.limits.disk_warning_s:
        zone.observer.event("disk_filling", free_bytes=free, left_s=round(left_s))
    return left_s


def sweep_shelf(zone: OpenZone) -> tuple[list[Line], int]:
    """Remove what nobody needs; the plan it was done by, and the bytes that came free.

    Raises LocalError while a capture writes.
    """
    with zone.shelving:
        lines = retention_plan(zone)
        return lines, clear(zone, lines)


def clear(zone: OpenZone, lines: Sequence[Line]) -> int:
    """Remove what a plan says nobody needs; returns the bytes that came free. Raises LocalError while a capture writes."""
    if not zone.writing.acquire(blocking=False):
        raise LocalError(
            f"retention of {zone.me}",
            expected="no capture under way",
            got="one that writes files no act names yet",
            next_step="try again when it is done",
        )
    try:
        freed = sweep(lines, zone.store, zone.shelf)
    finally:
        zone.writing.release()
    if freed:
        zone.observer.event("retention_swept", bytes=freed)
    return freed
