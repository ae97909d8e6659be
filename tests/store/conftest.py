"""A store of each kind: SQLite in a file, PostgreSQL from a wheel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgres import fresh_database

from jinbao.store.engine import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """One empty store per test."""
    url = f"sqlite:///{tmp_path / 'zone.db'}" if request.param == "sqlite" else fresh_database()
    opened = Store(url, tmp_path / "stage")
    yield opened
    opened.close()
