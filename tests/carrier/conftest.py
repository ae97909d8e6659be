"""A border to carry over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.carrier.parts import Border
from tests.trust.example import Network


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """One network for all borders; nothing of it changes."""
    return Network(tmp_path_factory.mktemp("network"))


@pytest.fixture
def border(network: Network, tmp_path: Path) -> Iterator[Border]:
    """One empty border per test."""
    made = Border(network, tmp_path)
    yield made
    made.close()
