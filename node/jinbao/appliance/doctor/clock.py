"""Clock 时钟: against the zone's own past, its certificates and its neighbours' clocks.

A clock that is a year off makes every certificate look wrong: checks that judge by time wait until it is right.
Does not ask a time server, and does not set the clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta

from jinbao.appliance.doctor.context import Hello, ZoneContext
from jinbao.appliance.doctor.findings import Finding, State, UnknownError, Words, same
from jinbao.model.errors import JinbaoError
from jinbao.model.zone import Endpoint

STOOD_STILL = timedelta(days=180)
"""A zone that recorded nothing for so long and whose certificate ended: more likely it is the clock that went ahead."""

SET = "timedatectl set-ntp true"
_SET_BY_HAND = Words(
    "an isolated network keeps its own time server: set it in /etc/systemd/timesyncd.conf",
    "隔离网络使用自己的时间服务器：在 /etc/systemd/timesyncd.conf 中设置",
)


def look(zone: ZoneContext) -> Iterator[Finding]:
    """One finding of the clock against the past, or one of it against the neighbours."""
    wrong = misled(zone)
    if wrong is not None:
        yield wrong
        return
    offsets = _offsets(zone)
    if not offsets and not _has_past(zone):
        raise UnknownError(
            Words("no neighbour answers and nothing is recorded yet", "没有邻居应答，也尚无流水可比")
        )
    yield from _against(zone, offsets)


def misled(zone: ZoneContext) -> Finding | None:
    """What shows that the clock cannot be believed at all; None where nothing does."""
    now, past, until = zone.now, _recorded_at(zone), None
    with suppress(JinbaoError):
        first = max(c.not_valid_before_utc for c in (zone.identity.chain[0], *zone.identity.seal_chain[:1]))
        past, until = max(first, past or first), zone.identity.until
    limit = timedelta(seconds=zone.settings.watch.clock_offset_s)
    if past is not None and past > now + limit:
        return _wrong(
            "clock.behind",
            now,
            Words(f"after {past:%Y-%m-%d %H:%M} UTC", f"晚于 {past:%Y-%m-%d %H:%M} UTC"),
            past,
        )
    recorded = _recorded_at(zone)
    if until is not None and recorded is not None and now > until and now - recorded > STOOD_STILL:
        about = Words(
            f"about {recorded:%Y-%m-%d}, when the zone last recorded anything",
            f"约为 {recorded:%Y-%m-%d}，分区最近一次记录的日期",
        )
        return _wrong("clock.ahead", now, about, recorded)
    return None


def _wrong(code: str, now: datetime, expected: Words, than: datetime) -> Finding:
    return Finding(
        code,
        State.RED,
        expected,
        same(f"{now:%Y-%m-%d %H:%M} UTC"),
        fix=SET,
        advice=_SET_BY_HAND,
        numbers={"seconds": round((now - than).total_seconds())},
    )


def _recorded_at(zone: ZoneContext) -> datetime | None:
    with suppress(UnknownError, ValueError):
        return datetime.fromisoformat(zone.facts.act_at) if zone.facts.act_at else None
    return None


def _has_past(zone: ZoneContext) -> bool:
    """Whether anything here has a time: an act, or a certificate."""
    try:
        return bool(zone.identity.chain)
    except JinbaoError:
        return _recorded_at(zone) is not None


def _offsets(zone: ZoneContext) -> dict[Endpoint, float]:
    with suppress(UnknownError):
        return {o: h.clock_offset_s for o, h in zone.hellos.items() if isinstance(h, Hello)}
    return {}


def _against(zone: ZoneContext, offsets: dict[Endpoint, float]) -> Iterator[Finding]:
    """Ours is wrong where most neighbours disagree with it, else theirs is."""
    limit = zone.settings.watch.clock_offset_s
    far = {other: offset for other, offset in offsets.items() if abs(offset) > limit}
    is_ours = 2 * len(far) > len(offsets)
    for other, offset in far.items():
        expected = Words(f"within {limit:g} s of ours", f"与本机相差不超过 {limit:g} 秒")
        got = Words(f"{offset:+.0f} s", f"{offset:+.0f} 秒")
        numbers = {"offset_s": round(offset, 1)}
        if is_ours:
            yield Finding("clock.differs", State.RED, expected, got, str(other), SET, _SET_BY_HAND, numbers)
        else:
            theirs = Words(
                f"the others agree with us: set the clock of {other.node}",
                f"其余邻居与本机一致：请校正 {other.node} 的时钟",
            )
            yield Finding("clock.theirs", State.WARNING, expected, got, str(other), "", theirs, numbers)
    if not far:
        yield _good(offsets)


def _good(offsets: dict[Endpoint, float]) -> Finding:
    if not offsets:
        past = Words("after all that is recorded; no neighbour to compare with", "晚于全部记录；无邻居可比对")
        return Finding("clock.ok", State.OK, got=past)
    worst = max(map(abs, offsets.values()))
    got = Words(
        f"within {worst:.0f} s of neighbours ({len(offsets)})",
        f"与邻居（{len(offsets)} 个）最大相差 {worst:.0f} 秒",
    )
    return Finding("clock.ok", State.OK, got=got, numbers={"offset_s": round(worst, 1)})
