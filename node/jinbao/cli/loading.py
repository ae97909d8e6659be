"""Loading what a command runs by, a thousand modules at the most, in less time.

All that modules make at import stays as long as the process. Looking for garbage among it is a fifth of the
processor time of a start.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_USUAL = gc.get_threshold()
_SELDOM = 20_000, 20, 20
"""Objects made before the youngest are looked at, and how often that before the older ones are."""


def look_seldom() -> None:
    """For a command, which imports what it needs as it goes and soon ends."""
    gc.set_threshold(*_SELDOM)


@contextmanager
def loading() -> Iterator[None]:
    """For a process that goes on: nothing is looked at inside, nor ever what was made inside; then as usual."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*_USUAL)
        gc.enable()
