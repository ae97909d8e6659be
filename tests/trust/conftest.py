"""The network whose seals these tests try."""

from __future__ import annotations

import pytest
from tests.trust.example import Network


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """One network for all tests of this room; nothing of it changes."""
    return Network(tmp_path_factory.mktemp("network"))
