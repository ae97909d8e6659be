"""A production zone is put back by the commands a person gives, among real processes; `tests/sim` tries what may follow."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.appliance.test_kill import BRISK, EXCHANGE, MINISTRY, PRODUCTION, change_business, digests
from tests.cli.harness import Said, spawn
from tests.servers import await_

from jinbao.appliance.demo import DemoNetwork
from jinbao.appliance.network import DEMO_NODES
from jinbao.model.zone import Endpoint

PERSONS = 5_000
WITHIN_S = 300.0


@pytest.fixture
def network(tmp_path: Path) -> Iterator[DemoNetwork]:
    """Ministry and one city under it, as a municipality is; all that a row passes runs, and no decision zone."""
    nodes = (DEMO_NODES[0], replace(DEMO_NODES[2], parent="100000"))
    made = DemoNetwork(tmp_path / "net", PERSONS, 7, lambda _message, _values: None, nodes)
    made.environment = dict.fromkeys((PRODUCTION, EXCHANGE, MINISTRY), BRISK)
    made.directory.mkdir()
    made.make()
    try:
        for endpoint in made.environment:
            begin(made, endpoint)
        yield made
    finally:
        made.stop()


def say(network: DemoNetwork, *arguments: str) -> Said:
    """A command about the city's production zone, as a person gives it, in a process of its own."""
    return spawn(*arguments, "--config", str(network.directory / PRODUCTION.node / "node.toml"))


def asked(network: DemoNetwork, *arguments: str) -> dict[str, Any]:
    """What a command that must go well answers."""
    said = say(network, *arguments, "--zone", "production", "--json")
    assert said.code == 0, said.err
    found: dict[str, Any] = json.loads(said.out)
    return found


def sealed(network: DemoNetwork) -> dict[str, int]:
    """Seq of the newest batch of each library, as the production zone has it."""
    found = network.ask(PRODUCTION, "report.progress")["libraries"]
    return {library: line["sealed"] for library, line in found.items()}


def reasons(network: DemoNetwork) -> list[str]:
    """Why the production zone says it is not ready."""
    found: list[str] = network.ask(PRODUCTION, "status")["reasons"]
    return found


def is_everywhere(network: DemoNetwork) -> bool:
    """Whether both tiers hold the rows the production zone sealed last, no more of them and no others."""
    tables = network.ask(PRODUCTION, "report.sealed", reason="a test")["tables"]
    wanted = {(name, t["table"]): (t["rows"], t["digest"]) for name in tables for t in tables[name]}
    return bool(wanted) and all(digests(network, tier) == wanted for tier in (EXCHANGE, MINISTRY))


def has_come_to_rest(network: DemoNetwork) -> bool:
    """Whether the production zone also knows that both tiers applied what it sealed last."""
    found = network.ask(PRODUCTION, "report.progress")["libraries"].values()
    return all(len(line["applied"]) == 2 for line in found) and is_everywhere(network)


def end(network: DemoNetwork, *zones: Endpoint) -> None:
    """Stop zones as the service manager does."""
    for endpoint in zones:
        network.processes[endpoint].terminate()
        network.processes[endpoint].wait(WITHIN_S)


def begin(network: DemoNetwork, endpoint: Endpoint) -> None:
    """Start a zone, and wait until it answers."""
    network.processes[endpoint] = network._spawn(endpoint)
    await_(lambda: network._is_up(endpoint), WITHIN_S)


def put_back(network: DemoNetwork, store: Path) -> None:
    """The zone is built again from the backup and takes the place of what it was, with its keys, which are in no backup."""
    home = network.settings[PRODUCTION.node].directory(PRODUCTION.zone)
    aside, built = home.with_name("aside"), home.with_name("built")
    said = say(network, "backup", "restore", str(store), str(PRODUCTION), "--to", str(built))
    assert said.code == 0, said.err
    home.rename(aside)
    built.rename(home)
    shutil.copytree(aside / "identity", home / "identity", symlinks=True)
    shutil.copy2(aside / "audit.key", home)


@pytest.mark.processes
@pytest.mark.fault_row(16)
def test_a_zone_put_back_waits_says_why_and_goes_on_by_a_persons_word(
    network: DemoNetwork, tmp_path: Path
) -> None:
    """Its exchange zone gone, it seals nothing and says whose call it waits for; let go on, each tier has each row once."""
    await_(lambda: has_come_to_rest(network), WITHIN_S)
    (copy,) = asked(network, "backup", "create", str(tmp_path / "backup"))["backups"]
    asked(network, "line", "pause", "--peer", str(EXCHANGE), "--reason", "older than this is the copy")
    assert asked(network, "status")["journal"]["acts"] > copy["acts"]
    end(network, PRODUCTION, EXCHANGE)

    put_back(network, tmp_path / "backup")
    begin(network, PRODUCTION)
    before = sealed(network)
    change_business(network, 1)
    asked(network, "capture", "run")
    await_(lambda: any(line.startswith("capture: ") for line in reasons(network)), WITHIN_S)
    told = say(network, "status", "--zone", "production")

    assert f"zone {PRODUCTION}, put back from a copy: expected a call of {EXCHANGE}" in told.out
    assert sealed(network) == before

    let_go = say(
        network, "line", "proceed", "--zone", "production", "--reason", "the exchange zone is lost, report 8"
    )
    assert let_go.out.strip() == f"{PRODUCTION} goes on without the word of {EXCHANGE}"
    await_(lambda: sealed(network)["pension_macro"] > before["pension_macro"], WITHIN_S)
    begin(network, EXCHANGE)

    await_(lambda: has_come_to_rest(network), WITHIN_S)
    for endpoint in (EXCHANGE, MINISTRY):
        assert network.ask(endpoint, "report.line")["damage"] == []
