"""A backup to a directory is watched by its age: from the newest that was made, or from the zone's beginning."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.cli.conftest import Say
from tests.sim.world import Plan
from tests.standby.network import standby_net

from jinbao.appliance.assembly import open_zone
from jinbao.appliance.settings import Settings, load
from jinbao.appliance.watching import Backups, stored
from jinbao.model.zone import Zone

CITY, HOUR_S = "140100", 3600.0


def _task(settings: Settings) -> dict[str, float]:
    """What a zone says of its backup: when one was last made, and from when on it is late; nothing if none is due."""
    zone = open_zone(settings, Zone.EXCHANGE)
    try:
        samples = list(stored(zone, Backups(zone)))
    finally:
        zone.close()
    return {name: value for name, labels, value in samples if labels.get("task") == "backup"}


def test_a_backup_counts_from_when_it_was_made(guarded_plan: Plan, tmp_path: Path, say: Say) -> None:
    """A node that expects backups tells when the last was made, also after a restart; another tells nothing."""
    config = standby_net(guarded_plan, tmp_path / "net").config(CITY)
    expecting = load(Path(config), {"watch": {"backup_s": 24 * HOUR_S}})

    before = _task(expecting)
    began = datetime.now(UTC).timestamp()
    made = say("backup", "create", str(tmp_path / "backup"), "--config", config)
    after = _task(expecting)

    assert made.code == 0
    name = "jinbao_task_last_success_timestamp_seconds"
    assert before[name] < began - HOUR_S
    assert began - 1 <= after[name] <= datetime.now(UTC).timestamp()
    assert after["jinbao_task_limit_seconds"] == 2 * 24 * HOUR_S + HOUR_S
    assert _task(load(Path(config))) == {}
