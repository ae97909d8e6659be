"""What is done to a demonstration that runs, as programs are told: a new root, a city that is lost, one taken back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.conftest import Say
from tests.conftest import Shaped

from jinbao.appliance.demo import DemoNetwork
from jinbao.appliance.network import BACKUP, DEMO_NODES
from jinbao.cli import demo
from jinbao.model.zone import Endpoint, Zone

CITY, SITE = "140100", Endpoint(BACKUP.node, Zone.EXCHANGE)
NODES = (*DEMO_NODES[:3], replace(BACKUP, protects=(CITY,)))


@contextmanager
def watched(network: DemoNetwork) -> Iterator[None]:
    """Whoever started the network starts again what ends meanwhile."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            network.revive()

    owner = threading.Thread(target=watch)
    owner.start()
    try:
        yield
    finally:
        done.set()
        owner.join()


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DemoNetwork]:
    """Ministry, province, one city and a backup site, everything arrived: the demonstration that commands find."""
    made = DemoNetwork(tmp_path / "net", 5_000, 7, lambda _message, _values: None, NODES)
    made.directory.mkdir(mode=0o700)
    (tmp_path / "last").write_text(str(made.directory), encoding="utf-8")
    monkeypatch.setattr(demo, "_LAST", tmp_path / "last")
    try:
        made.make()
        made.start()
        made.run()
        with watched(made):
            yield made
    finally:
        made.stop()


@pytest.mark.processes
@pytest.mark.fault_row(53)
def test_a_city_that_is_lost_goes_on_and_is_followed_again(
    network: DemoNetwork, say: Say, shaped: Shaped
) -> None:
    """Under a new root too, a lost city has what only its neighbours had, is followed again, and ends when taken back."""
    rotated = say("demo", "rotate", "--json")
    lost = say("demo", "lose", CITY, "--json")
    followed = {peer["peer"]: peer["paused"] for peer in network.ask(SITE, "line.status")["peers"]}
    revoked = say("demo", "revoke", CITY, "--json")

    assert [one.code for one in (rotated, lost, revoked)] == [0, 0, 0], [
        one.err for one in (rotated, lost, revoked)
    ]
    whole = json.loads(lost.out)
    loss = whole.pop("loss")
    promoted = {zone["zone"]: zone["batches"] for zone in loss["promotion"]["zones"]}
    assert loss["rpo_rows"] > 0
    assert promoted[f"{CITY}/production"] > 0
    assert [followed[f"{CITY}/{zone}"] for zone in (Zone.PRODUCTION, Zone.EXCHANGE)] == ["", ""]
    shaped("demo rotate", rotated)
    shaped("demo lose", lost)
    shaped("demo revoke", revoked)
    shaped("demo", replace(lost, out=json.dumps(whole)))  # the loss comes on top of what every proof says
