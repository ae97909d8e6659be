"""Backup 备份: how old the newest copy of a zone is, at its backup site or in a repository. Makes none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from jinbao.appliance import admin_client
from jinbao.appliance.doctor.context import ZoneContext
from jinbao.appliance.doctor.findings import Finding, State, UnknownError, Words
from jinbao.model.errors import JinbaoError

_DAY_S = 86_400


def look(zone: ZoneContext) -> Iterator[Finding]:
    """One finding: of the backup site where one protects this node, else of the newest backup that was made."""
    if zone.settings.role == "backup":
        got = Words("a backup site is created anew and follows again", "灾备节点可重新建立并再次跟随")
        yield Finding("backup.ok", State.OK, got=got)
        return
    facts = zone.facts
    if not facts.present:
        yield Finding("backup.ok", State.OK, got=Words("nothing to back up yet", "尚无可备份内容"))
        return
    if facts.backup_at is None:
        raise UnknownError(
            Words("the schema is an older one", "表结构较旧"), zone.command("database migrate")
        )
    age_s = (zone.now - datetime.fromisoformat(facts.backup_at)).total_seconds() if facts.backup_at else None
    site = _site(zone)
    if site:
        yield _followed(zone, site, age_s)
    else:
        yield _copied(zone, age_s)


def _site(zone: ZoneContext) -> str:
    with suppress(UnknownError):
        return zone.topology.backup(zone.settings.node)
    return ""


def _days_max(zone: ZoneContext) -> float:
    watch = zone.settings.watch
    return watch.late_runs * (watch.backup_s or _DAY_S) / _DAY_S


def _copied(zone: ZoneContext, age_s: float | None) -> Finding:
    days_max = _days_max(zone)
    expected = Words(f"one of the last {days_max:g} days", f"最近 {days_max:g} 天内的备份")
    fix = zone.command("backup create DIRECTORY")
    if age_s is None:
        advice = Words("on another disk; then by a timer", "建在另一磁盘；随后定时执行")
        return Finding("backup.none", State.RED, expected, Words("none", "无"), fix=fix, advice=advice)
    days = round(age_s / _DAY_S, 1)
    got, numbers = Words(f"{days:g} days ago", f"{days:g} 天前"), {"days": days}
    if days > days_max:
        advice = Words(
            "see why the timer does not: systemctl status jinbao-backup",
            "查看定时备份未执行的原因：systemctl status jinbao-backup",
        )
        return Finding("backup.old", State.RED, expected, got, fix=fix, advice=advice, numbers=numbers)
    return Finding("backup.ok", State.OK, got=got, numbers=numbers)


def _followed(zone: ZoneContext, site: str, age_s: float | None) -> Finding:
    """What the backup site lacks, as the running zone knows it; a young backup elsewhere stands in for its word."""
    days_max = _days_max(zone)
    lag_s = _lag_s(zone)
    if lag_s is None:
        if age_s is not None and age_s <= days_max * _DAY_S:
            return _copied(zone, age_s)
        raise UnknownError(
            Words(f"only the running zone hears how far {site} is", f"仅运行中的分区知道 {site} 的进度"),
            f"systemctl start jinbao-{zone.zone}",
            code="stopped",
        )
    numbers = {"rpo_s": round(lag_s)}
    got = Words(f"{site} lacks the last {lag_s:.0f} s", f"{site} 缺最近 {lag_s:.0f} 秒")
    if lag_s > days_max * _DAY_S:
        expected = Words(f"at most {days_max:g} days", f"不超过 {days_max:g} 天")
        advice = Words(f"at {site}", f"在 {site} 上执行")
        return Finding(
            "backup.behind",
            State.RED,
            expected,
            got,
            site,
            "systemctl start jinbao-exchange",
            advice,
            numbers,
        )
    return Finding("backup.ok", State.OK, got=got, numbers=numbers)


def _lag_s(zone: ZoneContext) -> float | None:
    if not zone.is_running:
        return None
    try:
        found = admin_client.ask(zone.settings, zone.zone, "standby.status")["own"]["rpo_s"]
    except JinbaoError:
        return None
    return None if found is None else float(found)
