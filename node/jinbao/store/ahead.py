"""Two things at once, in a thread of our own: pieces made ahead of their use, and work done beside the next.

So that a database works on the next rows while these are digested, and a file becomes
durable while the next one arrives. Memory is bounded by what is ahead; an error comes
where its piece would have come, and nothing runs on after the caller went on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

T = TypeVar("T")

PIECES = 2
"""Pieces ahead: one that waits and one in work."""


def ahead(pieces: Iterator[T], thread: str) -> Generator[T]:
    """The same pieces in the same order, made in one thread called `thread`.

    Closed early, or left by an error, it returns only when the thread has ended and `pieces` are closed.
    """
    try:
        with ThreadPoolExecutor(1, thread) as worker:
            made = deque(worker.submit(next, pieces, _END) for _ in range(PIECES))
            while (piece := made.popleft().result()) is not _END:
                made.append(worker.submit(next, pieces, _END))
                yield piece  # type: ignore[misc]  # the sentinel is none of them
    finally:
        if isinstance(pieces, Generator):
            pieces.close()


_END = object()


class SideBySide:
    """Works done one after the other in a thread beside its owner; left, it has done them all.

    `begin` waits while enough are begun. It, `settle` and the end raise what the first work raised
    that failed; those begun after it are done all the same.
    """

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "beside")
        self._begun = deque[Future[None]]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.settle()
        finally:
            self._worker.shutdown()

    def begin(self, work: Callable[[], None]) -> None:
        """Do this after all that was begun before."""
        self._begun.append(self._worker.submit(work))
        if len(self._begun) > PIECES:
            self._begun.popleft().result()

    def settle(self) -> None:
        """Wait until everything that was begun is done."""
        while self._begun:
            self._begun.popleft().result()
