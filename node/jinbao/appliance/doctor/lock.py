"""Lock 锁: who has a zone open, and whether whoever it is keeps the zone from starting, or does not answer.

The lock is the kernel's and ends with its process: one that is left behind has a process that was left behind.
"""

from __future__ import annotations

from collections.abc import Iterator

from jinbao.appliance.assembly import LOCK_WAIT_S
from jinbao.appliance.doctor.context import ZoneContext
from jinbao.appliance.doctor.findings import Finding, State, Words
from jinbao.appliance.ending import FILE as OPEN
from jinbao.appliance.zone_lock import Holder, Purpose

STARTING_S = 120.0
"""A zone looks at its database after a bad end before it answers; one that takes longer is looked after."""


def look(zone: ZoneContext) -> Iterator[Finding]:
    """One finding."""
    held = zone.holder
    if held is None:
        yield _free(zone)
    elif held.purpose == Purpose.SERVE:
        yield _serving(zone, held)
    else:
        yield _asked(zone, held)


def _free(zone: ZoneContext) -> Finding:
    if (zone.directory / OPEN).exists():
        return Finding(
            "lock.killed",
            State.WARNING,
            Words("a zone that was closed", "正常关闭"),
            Words("its process was killed, or the power failed", "进程被杀死或断电"),
            fix=f"systemctl start jinbao-{zone.zone}",
            advice=Words(
                "the start looks at every page and act of the database first",
                "启动时会先检查数据库的每一页和每条流水",
            ),
        )
    return Finding("lock.ok", State.OK, got=Words("nobody has it open", "无人占用"))


def _serving(zone: ZoneContext, held: Holder) -> Finding:
    got, numbers = Words(f"process {held.pid} serves it", f"进程 {held.pid} 正在运行"), _age(zone, held)
    if zone.is_running:
        return Finding("lock.ok", State.OK, got=got, numbers=numbers)
    expected, silent = (
        Words("an answer", "应答"),
        Words(f"none of process {held.pid}", f"进程 {held.pid} 未应答"),
    )
    if numbers["held_s"] < STARTING_S:
        wait = Words("it is starting: look again in a minute", "正在启动：一分钟后再查")
        return Finding("lock.starting", State.WARNING, expected, silent, "", "", wait, numbers)
    return Finding(
        "lock.silent",
        State.RED,
        expected,
        silent,
        fix=f"systemctl restart jinbao-{zone.zone}",
        advice=Words(
            f"first see what it does: journalctl -u jinbao-{zone.zone} -n 50",
            f"先查看其日志：journalctl -u jinbao-{zone.zone} -n 50",
        ),
        numbers=numbers,
    )


def _asked(zone: ZoneContext, held: Holder) -> Finding:
    numbers = _age(zone, held)
    got = Words(
        f"process {held.pid} ({held.purpose or '?'}) for {numbers['held_s']:.0f} s",
        f"进程 {held.pid}（{held.purpose or '?'}）已占用 {numbers['held_s']:.0f} 秒",
    )
    if numbers["held_s"] <= LOCK_WAIT_S:
        return Finding("lock.ok", State.OK, got=got, numbers=numbers)
    return Finding(
        "lock.kept",
        State.RED,
        Words(
            f"nobody for more than {LOCK_WAIT_S:.0f} s: a start waits no longer",
            f"占用不超过 {LOCK_WAIT_S:.0f} 秒：启动只等这么久",
        ),
        got,
        fix=f"kill {held.pid}",
        advice=Words(
            "unless somebody waits for its answer; nothing is lost", "若无人等待其结果；不会丢失数据"
        ),
        numbers=numbers,
    )


def _age(zone: ZoneContext, held: Holder) -> dict[str, float]:
    return {"held_s": max(0.0, round(zone.now.timestamp() - held.since, 1))}
