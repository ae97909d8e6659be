"""What is done to a demonstration that runs, as programs are told: a new root, a city that is lost, one taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.appliance.demonstrations import found_running
from tests.cli.conftest import Say
from tests.conftest import Shaped

from jinbao.appliance.demo import DemoNetwork
from jinbao.appliance.network import BACKUP, DEMO_NODES
from jinbao.model.zone import Endpoint, Zone

CITY, SITE = "140100", Endpoint(BACKUP.node, Zone.EXCHANGE)


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DemoNetwork]:
    """Ministry, province, one city and a backup site, everything arrived, as the commands find it."""
    nodes = (*DEMO_NODES[:3], replace(BACKUP, protects=(CITY,)))
    made = DemoNetwork(tmp_path, 5_000, 7, lambda _message, _values: None, nodes)
    made.make()
    made.start()
    try:
        made.run()
        with found_running(made, tmp_path / "note", monkeypatch):
            yield made
    finally:
        made.stop()


@pytest.mark.processes
@pytest.mark.timeout(900)
@pytest.mark.fault_row(53)
def test_a_city_that_is_lost_goes_on_and_is_followed_again(
    network: DemoNetwork, say: Say, shaped: Shaped
) -> None:
    """Under a new root too a lost city has what only its neighbours had, and is followed until it is taken back."""
    rotated = say("demo", "rotate", "--json")
    lost = say("demo", "lose", CITY, "--json")
    peers = {peer["peer"]: peer["paused"] for peer in network.ask(SITE, "line.status")["peers"]}
    revoked = say("demo", "revoke", CITY, "--json")

    assert [said.code for said in (rotated, lost, revoked)] == [0, 0, 0], rotated.err + lost.err + revoked.err
    proof = json.loads(lost.out)
    loss = proof.pop("loss")
    promoted = {zone["zone"]: zone["batches"] for zone in loss["promotion"]["zones"]}
    assert loss["rpo_rows"] > 0
    assert promoted[f"{CITY}/production"] > 0
    assert [peers[f"{CITY}/{zone}"] for zone in (Zone.PRODUCTION, Zone.EXCHANGE)] == ["", ""]
    shaped("demo rotate", rotated)
    shaped("demo revoke", revoked)
    shaped("demo lose", lost)
    shaped(
        "demo", replace(lost, out=json.dumps(proof))
    )  # a loss is told beside the proof that ends every run
