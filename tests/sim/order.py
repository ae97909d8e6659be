"""What threads do at once elsewhere, one after the other: the same seed makes the same files in the same order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Self, TypeVar

T = TypeVar("T")


class OneByOne:
    """Flow's `Beside` without a thread: each work is done when it is begun."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def begin(self, work: Callable[[], None]) -> None:
        """Do it now."""
        work()

    def settle(self) -> None:
        """Nothing is left to do."""


def in_turn(pieces: Iterator[T], thread: str) -> Generator[T]:
    """Flow's `Ahead` without a thread: each piece is made when it is asked for."""
    del thread
    yield from pieces
