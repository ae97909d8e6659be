"""One demo network per test process: its certificates are read, never changed."""

from __future__ import annotations

import pytest
from tests.link.parts import Network

from jinbao.appliance.network import DEMO_NODES, make_network


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Ministry, province and two cities."""
    directory = tmp_path_factory.mktemp("line") / "network"
    topology, _ = make_network(directory, DEMO_NODES)
    return Network(directory, topology)
