"""Line windows 线路时段: how much bulk a line may carry, by day of the week and time of day in China.

A schedule covers a week; outside its windows nothing limits the line. Reads no clock: the moment is
given. Counts no bytes: that is the line's.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

CHINA = timezone(timedelta(hours=8))
"""The whole country's time, which has had no summer time since 1991."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * DAY_MINUTES
BYTES_PER_MBIT = 1_000_000 / 8

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")


@dataclass(frozen=True, slots=True)
class Window:
    """From `begin` to `end`, in minutes of a day, on each of `days` (0 is Monday).

    One that ends before it begins ends the day after. `bytes_per_s` 0 is closed for bulk; `text` is as a person wrote it.
    """

    begin: int
    end: int
    days: frozenset[int]
    bytes_per_s: float
    text: str

    def spans(self) -> Iterator[tuple[int, int]]:
        """Where it is in a week, in minutes from Monday 00:00; what goes beyond Sunday goes on at 0."""
        length = (self.end - self.begin) % DAY_MINUTES or DAY_MINUTES
        for day in sorted(self.days):
            first = day * DAY_MINUTES + self.begin
            yield first, min(first + length, WEEK_MINUTES)
            if first + length > WEEK_MINUTES:
                yield 0, first + length - WEEK_MINUTES


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is allowed at a moment: bytes per second (infinite without a window), which window says so, and until when."""

    bytes_per_s: float = math.inf
    window: str = ""
    until: datetime | None = None

    @property
    def is_closed(self) -> bool:
        """Whether bulk waits for later."""
        return self.bytes_per_s == 0


NO_LIMIT = Allowance()


@dataclass(frozen=True)
class Schedule:
    """Windows of one line; raises ValueError for two that overlap."""

    windows: tuple[Window, ...] = ()
    _spans: tuple[tuple[int, int, Window], ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Lay the windows out over a week."""
        spans = sorted(
            ((first, last, window) for window in self.windows for first, last in window.spans()),
            key=lambda span: span[:2],
        )
        for (_, last, one), (first, _, other) in itertools.pairwise(spans):
            if first < last:
                day = DAYS[first // DAY_MINUTES]
                both = f"{one.text} and {other.text} both at {day} {_clock(first)}"
                msg = f"windows: expected some that do not overlap, got {both}"
                raise ValueError(msg)
        object.__setattr__(self, "_spans", tuple(spans))

    def at(self, moment: datetime) -> Allowance:
        """What is allowed at a moment, which has a time zone."""
        if not self._spans:
            return NO_LIMIT
        china = moment.astimezone(CHINA)
        monday = china.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=china.weekday())
        minute = (china - monday) / timedelta(minutes=1)
        for first, last, window in self._spans:
            if first <= minute < last:
                until = self._end(last, window)
                return Allowance(window.bytes_per_s, window.text, _moment(monday, until))
        later = [first for first, _, _ in self._spans if first > minute]
        following = later[0] if later else self._spans[0][0] + WEEK_MINUTES
        return Allowance(until=_moment(monday, following))

    def _end(self, last: int, window: Window) -> int:
        """When a window's span ends that goes on over the end of a week, in minutes of the week it began in."""
        if last != WEEK_MINUTES:
            return last
        return next(
            (WEEK_MINUTES + end for first, end, other in self._spans if first == 0 and other is window), last
        )


def _moment(monday: datetime, minutes: int) -> datetime:
    return (monday + timedelta(minutes=minutes)).astimezone(UTC)


def _clock(minutes: int) -> str:
    return f"{minutes % DAY_MINUTES // 60:02}:{minutes % 60:02}"


def window_of(begin: str, end: str, days: str, mbit_per_s: float) -> Window:
    """A window as it is written: `08:00`, `18:00`, `mon-fri` or `sat,sun`, 4. Raises ValueError that says what is wrong."""
    first, last = minutes_of(begin), minutes_of(end)
    if first == DAY_MINUTES:
        msg = f"from: expected a time before 24:00, got {begin}"
        raise ValueError(msg)
    if begin == end:
        msg = f"to: expected another time than from, or 00:00 to 24:00 for a day, got {end} twice"
        raise ValueError(msg)
    text = f"{days} {begin}-{end}"
    return Window(first, last, days_of(days), mbit_per_s * BYTES_PER_MBIT, text)


def minutes_of(text: str) -> int:
    """Minutes since midnight of `HH:MM`, 24:00 among them; raises ValueError for what is none."""
    if not _TIME.fullmatch(text):
        msg = f"time: expected one as 08:00, at most 24:00, got {text!r}"
        raise ValueError(msg)
    return int(text[:2]) * 60 + int(text[3:])


def days_of(text: str) -> frozenset[int]:
    """Days of `mon-fri`, `sat,sun`, `fri-mon`; 0 is Monday. Raises ValueError for what names none."""
    return frozenset(day for part in text.split(",") for day in _days(part.strip()))


def _days(part: str) -> Iterable[int]:
    begin, _, end = part.partition("-")
    names = [begin, end or begin]
    if any(name not in DAYS for name in names):
        msg = f"days: expected {', '.join(DAYS)}, or mon-fri, got {part!r}"
        raise ValueError(msg)
    first, last = DAYS.index(names[0]), DAYS.index(names[-1])
    return (day % 7 for day in range(first, last + 1 if last >= first else last + 8))
