"""A city that is lost in a demonstration goes on from its backup site, as `jinbao demo lose city` shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jinbao.appliance.demo import DemoNetwork
from jinbao.appliance.demo.loss import lose
from jinbao.appliance.network import BACKUP, DEMO_NODES
from jinbao.model.zone import Endpoint, Zone

CITY, SITE = "140100", Endpoint(BACKUP.node, Zone.EXCHANGE)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[DemoNetwork]:
    """Ministry, province, one city and a backup site, everything arrived."""
    nodes = (*DEMO_NODES[:3], replace(BACKUP, protects=("140000", CITY)))
    made = DemoNetwork(tmp_path, 5_000, 7, lambda _message, _values: None, nodes)
    made.make()
    made.start()
    made.run()
    yield made
    made.stop()


@pytest.mark.processes
@pytest.mark.fault_row(53)
def test_a_city_that_is_lost_goes_on_and_is_followed_again(network: DemoNetwork) -> None:
    """Its directory destroyed, a city has what only its neighbours had, and its backup stands still no longer."""
    found = lose(network, CITY)

    promoted = {zone["zone"]: zone["batches"] for zone in found["promotion"]["zones"]}
    assert found["rpo_rows"] > 0
    assert promoted[f"{CITY}/production"] > 0
    peers = {peer["peer"]: peer["paused"] for peer in network.ask(SITE, "line.status")["peers"]}
    assert [peers[f"{CITY}/{zone}"] for zone in (Zone.PRODUCTION, Zone.EXCHANGE)] == ["", ""]
