"""A production zone per test, closed at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.source.business import Production

from jinbao.appliance.settings import SourceSettings

Open = Callable[..., Production]


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Open]:
    """Opens the production zone of this test over some sources; asked again, closes and reopens it."""
    opened: list[Production] = []

    def open_zone(*sources: SourceSettings, reserve_bytes: int = 0) -> Production:
        (tmp_path / "zone").mkdir(exist_ok=True)
        while opened:
            opened.pop().store.close()
        opened.append(Production(tmp_path / "zone", *sources, reserve_bytes=reserve_bytes))
        return opened[-1]

    yield open_zone
    for zone in opened:
        zone.store.close()
