"""Pieces made ahead come as they would have come, and no thread outlives whoever asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from jinbao.store.ahead import PIECES, SideBySide, ahead


def threads() -> set[threading.Thread]:
    """Threads of this process."""
    return set(threading.enumerate())


def test_pieces_come_in_order_and_a_few_ahead() -> None:
    """Every piece comes once, in order, and no more than a few are made before they are asked for."""
    made: list[int] = []

    def making() -> Iterator[int]:
        for piece in range(20):
            made.append(piece)
            yield piece

    most = [len(made) - taken for taken, _ in enumerate(ahead(making(), "test"))]

    assert made == list(range(20))
    assert max(most) <= PIECES + 1


def test_an_error_comes_where_its_piece_would() -> None:
    """Pieces before an error are handed out, then the error is raised, and the thread has ended."""

    def making() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("gone")

    before, pieces = threads(), ahead(making(), "test")

    assert [next(pieces), next(pieces)] == [1, 2]
    with pytest.raises(OSError, match="gone"):
        next(pieces)
    assert threads() <= before, "one that an earlier test left may have ended"


def test_whoever_stops_early_leaves_no_thread() -> None:
    """Closed after one piece, nothing goes on being made."""
    before, pieces = threads(), ahead(iter(range(1000)), "test")
    next(pieces)

    pieces.close()

    assert threads() <= before, "one that an earlier test left may have ended"


def test_works_are_done_beside_their_owner() -> None:
    """A work that waits for what its owner does next ends: both go on at once; all are done, in order."""
    done, went_on = list[int](), threading.Event()

    def first() -> None:
        assert went_on.wait(30)
        done.append(1)

    with SideBySide() as beside:
        beside.begin(first)
        went_on.set()
        for at in range(2, 9):
            beside.begin(lambda at=at: done.append(at))  # type: ignore[misc]

    assert done == list(range(1, 9))


def test_no_more_than_a_few_works_wait() -> None:
    """Whoever begins one work too many waits for the first."""
    done, beside = list[int](), SideBySide()
    with beside:
        for at in range(9):
            beside.begin(lambda at=at: done.append(at))  # type: ignore[misc]
            assert len(done) >= at - PIECES
        beside.settle()
        assert done == list(range(9))


@pytest.mark.parametrize("broken", [0, 3, 7])
def test_the_first_work_that_fails_is_told(broken: int) -> None:
    """What a work raises is raised to its owner, also where the owner failed, and the thread has ended."""
    before = threads()

    def work(at: int) -> None:
        if at == broken:
            raise ValueError(f"work {at}")

    def owner() -> None:
        with SideBySide() as beside:
            for at in range(8):
                beside.begin(lambda at=at: work(at))  # type: ignore[misc]
            raise OSError("the line broke")

    with pytest.raises(ValueError, match=f"work {broken}"):
        owner()
    assert threads() <= before, "one that an earlier test left may have ended"


def test_what_was_begun_before_a_failure_is_done() -> None:
    """Where the owner fails, what it began is done, and then its failure is raised."""
    done: list[int] = []

    def owner() -> None:
        with SideBySide() as beside:
            for at in range(2):
                beside.begin(lambda at=at: done.append(at))  # type: ignore[misc]
            raise OSError("the line broke")

    with pytest.raises(OSError, match="the line broke"):
        owner()
    assert done == [0, 1]
