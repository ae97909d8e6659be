"""Bulk keeps to its window, whoever shares it and however it asks; a fake clock, so that a second is a second."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.link.parts import CITY, MINISTRY, PROVINCE, SIBLING

from jinbao.link.shaping import SLICE_S, Shaper
from jinbao.model.errors import LineClosedError
from jinbao.model.window import CHINA, Schedule, window_of
from jinbao.model.zone import Endpoint, Zone

MORNING = datetime(2026, 11, 23, 7, 59, 58, tzinfo=CHINA)
RATES = st.sampled_from([0.064, 0.5, 4.0])


@dataclass
class Time:
    """A clock that moves when somebody waits; notes what was taken when."""

    at: float = 0.0
    taken: list[tuple[float, int]] = field(default_factory=list)

    def clock(self) -> float:
        """Seconds."""
        return self.at

    def now(self) -> datetime:
        """The same, by the calendar."""
        return MORNING + timedelta(seconds=self.at)

    def sleep(self, wait_s: float) -> None:
        """Wait."""
        assert 0 < wait_s <= SLICE_S
        self.at += wait_s

    def busiest(self) -> float:
        """Most bytes taken in any one second."""
        return max(
            (sum(size for then, size in self.taken if at <= then < at + 1) for at, _ in self.taken), default=0
        )


def shaper(time: Time, *windows: tuple[str, str, float], peers: dict[str, Schedule] | None = None) -> Shaper:
    """Windows of each day on a fake clock."""
    schedule = Schedule(tuple(window_of(begin, end, "mon-sun", rate) for begin, end, rate in windows))
    return Shaper(schedule, peers or {}, clock=time.clock, now=time.now, spared="140000")


def take(line: Shaper, time: Time, peer: Endpoint, size: int) -> None:
    """Wait for each piece of a size in turn, and note it."""
    while size:
        piece = line.piece(peer, size)
        line.wait(peer, piece, time.sleep)
        time.taken.append((time.at, piece))
        size -= piece


@given(RATES, st.lists(st.tuples(st.sampled_from([CITY, SIBLING]), st.integers(1, 60_000), st.floats(0, 3))))
def test_no_second_has_more_than_its_window(mbit: float, turns: list[tuple[Endpoint, int, float]]) -> None:
    """Whatever several followers take, and however long they were quiet, no second has more bytes than allowed."""
    time = Time()
    line = shaper(time, ("00:00", "24:00", mbit))
    for peer, size, quiet_s in turns:
        time.at += quiet_s
        take(line, time, peer, size % 6_000 if mbit < 0.1 else size)

    assert time.busiest() <= mbit * 125_000


@given(st.permutations([0.064, 4.0, 0.5]), st.integers(1, 400_000))
def test_a_second_in_two_windows_has_no_more_than_the_wider(rates: list[float], size: int) -> None:
    """Where one window follows another nothing adds up: that second has at most what the wider one allows."""
    time = Time()
    line = shaper(time, ("00:00", "08:00", rates[0]), ("08:00", "24:00", rates[1]))
    take(line, time, CITY, size % 12_000 if 0.064 in rates[:2] else size)

    assert time.busiest() <= max(rates[:2]) * 125_000


def test_a_window_is_used_as_far_as_it_goes() -> None:
    """A line with enough to carry uses nine tenths of its window and more, shared or not."""
    time = Time()
    line = shaper(time, ("00:00", "24:00", 4.0))
    for _ in range(50):
        take(line, time, CITY, 50_000)
        take(line, time, SIBLING, 50_000)

    assert 5_000_000 / time.at > 0.9 * 500_000
    assert line.limit(CITY).rate + line.limit(SIBLING).rate > 0.9 * 500_000


def test_a_peer_s_own_window_holds_beside_the_one_of_all() -> None:
    """A peer with a window of its own keeps to it, and leaves the rest of the common one to the others."""
    time = Time()
    own = Schedule((window_of("00:00", "24:00", "mon-sun", 1),))
    line = shaper(time, ("00:00", "24:00", 4.0), peers={"140100": own})
    take(line, time, CITY, 250_000)
    assert time.busiest() <= 125_000

    slow_s = time.at
    take(line, time, SIBLING, 250_000)
    assert time.at - slow_s < slow_s / 3
    assert line.limit(CITY).allowed.bytes_per_s == 125_000
    assert line.limit(SIBLING).allowed.bytes_per_s == 500_000


def test_a_window_that_closes_ends_what_waits_for_it() -> None:
    """Who waits for a turn when the line is closed hears so at once, with the seconds until it opens."""
    time = Time()
    line = shaper(time, ("00:00", "08:00", 0.064), ("08:00", "12:00", 0))

    with pytest.raises(LineClosedError) as caught:
        take(line, time, CITY, 100_000)

    assert time.now() - MORNING <= timedelta(seconds=2 + SLICE_S)
    assert caught.value.values["opens_in_s"] == pytest.approx(4 * 3600, abs=1)
    assert line.limit(CITY).allowed.is_closed


def test_a_window_that_opens_lets_a_running_fetch_go() -> None:
    """A fetch that waits in a narrow window goes on without a limit as soon as the window is over."""
    time = Time()
    line = shaper(time, ("00:00", "08:00", 0.064))
    take(line, time, CITY, 10_000_000)

    assert 1.5 < time.at < 2 + 2 * SLICE_S
    assert math.isinf(line.limit(CITY).allowed.bytes_per_s)


def test_within_the_node_nothing_is_limited() -> None:
    """Lines to zones of the own node take no turn, closed or not."""
    time = Time()
    line = shaper(time, ("00:00", "24:00", 0))
    take(line, time, Endpoint("140000", Zone.PRODUCTION), 10_000_000)

    assert time.at == 0
    with pytest.raises(LineClosedError):
        take(line, time, MINISTRY, 1)


def test_what_was_limited_is_told_in_bytes_and_seconds() -> None:
    """Bytes and seconds waited are told by peer, at least once a minute while a segment is on its way."""
    time = Time()
    told: list[tuple[Endpoint, int, float]] = []
    schedule = Schedule((window_of("00:00", "24:00", "mon-sun", 0.064),))
    line = Shaper(
        schedule, {}, clock=time.clock, now=time.now, told=lambda *values: told.append(values), spared=""
    )
    take(line, time, PROVINCE, 1_200_000)
    line.flush(PROVINCE)

    assert len(told) == 1 + int(time.at / 60)
    assert sum(size for _, size, _ in told) == 1_200_000
    assert sum(waited_s for _, _, waited_s in told) == pytest.approx(time.at)
