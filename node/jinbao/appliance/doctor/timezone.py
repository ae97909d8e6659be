"""Time zone 时区: this machine's own, which zones ask nothing of: calendars and windows are by China's, times are UTC.

What goes by it is others' work: timers of systemd, cron, the times journalctl shows. So another one is a warning. That
Asia/Shanghai is known at all is needed: without it no calendar can be told.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from jinbao.appliance.assembly import CHINA
from jinbao.appliance.doctor.context import NodeContext
from jinbao.appliance.doctor.findings import Finding, State, Words

OFFSET = timedelta(hours=8)
FIX = "timedatectl set-timezone Asia/Shanghai"
KEPT = Words(
    "Nothing of a zone depends on it: captures, drills and the line's windows go by Asia/Shanghai, records by UTC. A timer "
    "of your own written for UTC+8 runs at another hour.",
    "分区不依赖本机时区：采集、演练与线路时段按 Asia/Shanghai，记录按 UTC。按 UTC+8 编写的自有定时任务会在另一时刻运行。",
)


def look(node: NodeContext) -> Iterator[Finding]:
    """One finding."""
    known = node.around.now().astimezone(CHINA).utcoffset()
    if known != OFFSET:
        yield Finding(
            "timezone.data",
            State.RED,
            Words("Asia/Shanghai is UTC+8", "Asia/Shanghai 为 UTC+8"),
            _hours(known or timedelta()),
            fix="apt-get install --reinstall tzdata",
        )
        return
    here = node.around.local_offset()
    numbers = {"hours": here.total_seconds() / 3600}
    if here != OFFSET:
        yield Finding(
            "timezone.other",
            State.WARNING,
            Words(
                "UTC+8: systemd's timers and journalctl go by it",
                "UTC+8：systemd 定时任务与 journalctl 以此为准",
            ),
            _hours(here),
            fix=FIX,
            advice=KEPT,
            numbers=numbers,
        )
    else:
        yield Finding("timezone.ok", State.OK, got=_hours(here), numbers=numbers)


def _hours(offset: timedelta) -> Words:
    text = f"UTC{offset.total_seconds() / 3600:+g}"
    return Words(text, text)
