"""Disk 磁盘: room beside the reserve that a zone keeps free, and free names. Forecasts nothing: metrics do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jinbao.appliance.doctor.context import Room, ZoneContext
from jinbao.appliance.doctor.findings import Finding, State, Words

LOW = 2
"""Times the reserve: below that somebody should look before it is reached."""

NAMES_FREE_MIN = 0.01
"""Share of a disk's names: a shelf has a file for each segment."""


def look(zone: ZoneContext) -> Iterator[Finding]:
    """One finding for each disk the zone writes to."""
    places = {zone.directory, zone.database.parent if zone.database else zone.directory}
    seen = set[int]()
    for place in sorted(map(_existing, places)):
        device = place.stat().st_dev
        if device not in seen:
            seen.add(device)
            yield _judged(zone, place, zone.node.around.room(place))


def _existing(path: Path) -> Path:
    return next(one for one in (path, *path.parents) if one.is_dir())


def _judged(zone: ZoneContext, place: Path, room: Room) -> Finding:
    reserve = zone.settings.limits.disk_reserve_bytes
    numbers = {"free_bytes": room.free, "reserve_bytes": reserve, "total_bytes": room.total}
    got = Words(f"{_mib(room.free)} MiB free", f"剩余 {_mib(room.free)} MiB")
    expected = Words(f"{_mib(reserve)} MiB kept free", f"保留 {_mib(reserve)} MiB")
    fix = zone.command("journal retention --apply")
    more = Words("then free other files on this disk, or enlarge it", "随后清理该磁盘上的其他文件，或扩容")
    if room.free < reserve:
        return Finding("disk.full", State.RED, expected, got, str(place), fix, more, numbers)
    if room.names_free < NAMES_FREE_MIN:
        few = Words(f"{room.names_free:.1%} of its inodes free", f"索引节点剩余 {room.names_free:.1%}")
        want = Words(f"{NAMES_FREE_MIN:.0%} or more", f"不少于 {NAMES_FREE_MIN:.0%}")
        return Finding("disk.names", State.RED, want, few, str(place), fix, more, numbers)
    if room.free < LOW * reserve:
        return Finding("disk.low", State.WARNING, expected, got, str(place), fix, more, numbers)
    return Finding("disk.ok", State.OK, got=got, thing=str(place), numbers=numbers)


def _mib(size: int) -> int:
    return size >> 20
