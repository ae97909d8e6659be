"""An empty journal of a city's exchange zone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.journal.parts import Journal, open_journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """One journal per test."""
    opened = open_journal(tmp_path)
    yield opened
    opened.store.close()
