"""Time zone 时区: this machine's own, by which timers run and logs are read; zones plan by China's in any case."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from jinbao.appliance.assembly import CHINA
from jinbao.appliance.doctor.context import NodeContext
from jinbao.appliance.doctor.findings import Finding, State, Words

OFFSET = timedelta(hours=8)
FIX = "timedatectl set-timezone Asia/Shanghai"


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
        expected = Words("UTC+8: timers and logs go by it", "UTC+8：定时任务与日志以此为准")
        yield Finding("timezone.other", State.RED, expected, _hours(here), fix=FIX, numbers=numbers)
    else:
        yield Finding("timezone.ok", State.OK, got=_hours(here), numbers=numbers)


def _hours(offset: timedelta) -> Words:
    text = f"UTC{offset.total_seconds() / 3600:+g}"
    return Words(text, text)
