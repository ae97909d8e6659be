"""What `jinbao backup` shows and does of the copies a zone makes of its database before an upgrade changes it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from jinbao.cli import show
from jinbao.cli.words import t
from jinbao.model.errors import UsageError
from jinbao.model.zone import Zone

if TYPE_CHECKING:
    from jinbao.model.zone import Endpoint


def show_copies(config: Path, zone: str | None, *, as_json: bool) -> None:
    """Copies of this node's zones, oldest first, with the directory each lies in."""
    from jinbao.appliance.database.copies import listed, place_of
    from jinbao.appliance.settings import load

    settings = load(config)
    chosen = [Zone(zone)] if zone else list(settings.zones)
    for one in chosen:
        settings.endpoint(one)
    places = [place_of(settings, one) for one in chosen]
    rows = [asdict(copy) | {"directory": str(place)} for place in places for copy in listed(place)]
    if as_json:
        show.as_json({"copies": rows})
        return
    if not rows:
        show.result(t("no upgrade changed a database here yet", "尚无升级修改过本节点的数据库"))
        return
    columns = {
        "zone": t("zone", "分区"),
        "name": t("copy", "副本"),
        "made_at": t("made at", "时刻"),
        "acts": t("acts", "流水条数"),
        "bytes": t("bytes", "字节"),
        "directory": t("directory", "目录"),
    }
    show.table(rows, columns)


def restore_copy(
    directory: Path, zone: Endpoint, at: str, target: Path, database: str, *, as_json: bool
) -> None:
    """Lay one copy into an empty directory, and say how it becomes the zone's database."""
    from jinbao.appliance.database.copies import restore

    if database:
        raise UsageError("--database", expected="none for a copy of a SQLite database", got="a URL")
    copy, file = restore(directory, zone, at, target.absolute())
    if as_json:
        show.as_json(asdict(copy) | {"file": str(file)})
        return
    text = t(
        "{zone} as of act {acts}, before release {release}, is in {file}. Stop the zone, move its zone.db, zone.db-wal and "
        "zone.db-shm away, lay this file in their place, and start the release before. What the zone recorded since is not "
        "in it: its neighbours notice, and it then does not start.",
        "{zone} 截至第 {acts} 条流水、升级到 {release} 之前的数据库已恢复于 {file}。请停止分区，移走 zone.db、zone.db-wal 和 "
        "zone.db-shm，放入此文件，再启动上一版本。此后的流水不在其中：邻居会发现，分区将拒绝启动。",
    )
    show.result(text.format(**asdict(copy), file=file))
