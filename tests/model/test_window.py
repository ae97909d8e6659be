"""A line's windows say, for every minute of a week in China, how much bulk may go."""

from __future__ import annotations

import math
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinbao.model.window import CHINA, DAYS, Schedule, Window, window_of

MONDAY = datetime(2026, 11, 23, tzinfo=CHINA)
MINUTES = st.integers(0, 1439)
TIMES = st.tuples(MINUTES, st.integers(1, 1440)).filter(lambda times: times[0] != times[1])
WINDOWS = st.builds(
    lambda times, days, rate: window_of(_text(times[0]), _text(times[1]), ",".join(sorted(days)), rate),
    TIMES,
    st.sets(st.sampled_from(DAYS), min_size=1),
    st.sampled_from([0.0, 1.0, 4.0]),
)


def _text(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _covers(window: Window, minute: int) -> bool:
    """Whether a minute of the week is in a window, said without spans."""
    day, at = divmod(minute, 1440)
    if window.begin < window.end:
        return day in window.days and window.begin <= at < window.end
    return (day in window.days and at >= window.begin) or ((day - 1) % 7 in window.days and at < window.end)


@given(WINDOWS, st.integers(0, 7 * 1440 - 1))
def test_a_window_holds_in_its_minutes_and_in_no_other(window: Window, minute: int) -> None:
    """A window is in force in exactly the minutes its days and times say, over midnight and over the week's end."""
    allowed = Schedule((window,)).at(MONDAY + timedelta(minutes=minute))

    expected = window.bytes_per_s if _covers(window, minute) else math.inf
    assert allowed.bytes_per_s == expected


@given(WINDOWS, st.integers(0, 7 * 1440 - 1))
def test_it_says_until_when_that_holds(window: Window, minute: int) -> None:
    """Up to the moment a schedule names, nothing changes but to another day of the same window; there it does."""
    schedule, moment = Schedule((window,)), MONDAY + timedelta(minutes=minute)
    allowed = schedule.at(moment)

    assert allowed.until is not None
    assert allowed.until > moment
    last = schedule.at(allowed.until - timedelta(seconds=1))
    assert (last.bytes_per_s, last.window) == (allowed.bytes_per_s, allowed.window)
    until = int((allowed.until - MONDAY) / timedelta(minutes=1)) % (7 * 1440)
    assert allowed.window == "" or not _covers(window, until) or until % 1440 == window.begin


def test_times_are_china_s() -> None:
    """Eight in the morning is so in Beijing, wherever the machine is."""
    schedule = Schedule((window_of("08:00", "18:00", "mon-fri", 4),))

    assert schedule.at(datetime(2026, 11, 23, 0, 0, tzinfo=UTC)).bytes_per_s == 500_000
    assert math.isinf(schedule.at(datetime(2026, 11, 23, 10, 0, tzinfo=UTC)).bytes_per_s)
    assert schedule.at(datetime(2026, 11, 23, 9, 0, tzinfo=UTC)).until == datetime(
        2026, 11, 23, 10, 0, tzinfo=UTC
    )


@given(WINDOWS, WINDOWS)
def test_two_windows_that_share_a_minute_are_refused(one: Window, other: Window) -> None:
    """A schedule exists only if no minute of the week has two windows."""
    shared = any(_covers(one, minute) and _covers(other, minute) for minute in range(7 * 1440))
    with pytest.raises(ValueError, match="do not overlap") if shared else nullcontext():
        Schedule((one, other))


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (("8:00", "18:00", "mon"), "time: expected one as 08:00, at most 24:00, got '8:00'"),
        (("24:00", "18:00", "mon"), "from: expected a time before 24:00, got 24:00"),
        (("08:00", "08:00", "mon"), "to: expected another time than from"),
        (("08:00", "18:00", "monday"), "days: expected mon, tue"),
        (("08:00", "18:00", ""), "days: expected mon, tue"),
    ],
)
def test_a_window_nobody_can_read_says_what_is_wrong(window: tuple[str, str, str], said: str) -> None:
    """A time or day that is none is named with what was expected."""
    with pytest.raises(ValueError, match=said):
        window_of(*window, 1)
