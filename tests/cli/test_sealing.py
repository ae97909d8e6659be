"""`jinbao trust seal`: an act of the root's exchange zone, judged, and in its trail; by its keys before it first starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.audit.parts import told
from tests.cli.conftest import Say
from tests.link.zones import SETTINGS, serving

from jinbao.appliance.admin_client import ask
from jinbao.appliance.assembly import open_zone
from jinbao.appliance.network import AUTHORITIES, DEMO_NODES, make_network, to_toml
from jinbao.appliance.settings import Settings
from jinbao.authority import granting
from jinbao.authority.demo import DemoAuthorities
from jinbao.authority.identity_files import load_identity
from jinbao.authority.trust_files import write_trust
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.book import TrustBook
from jinbao.trust.documents import open_topology
from jinbao.trust.encoding import decode_envelope

MINISTRY, PROVINCE, CITY = "100000", "140000", "140100"
Written = dict[str, Any]


@dataclass(frozen=True)
class Root:
    """A network made a minute ago, none of whose zones was ever started."""

    directory: Path
    topology: Topology
    settings: dict[str, Settings]

    def written(self, change: Callable[[Written], None] = lambda _: None) -> Path:
        """The topology's next version as a person writes it, changed."""
        nodes = [asdict(row) | {"addresses": dict(row.addresses)} for row in self.topology.rows]
        for node in nodes:
            del node["region"]
        body: Written = {"trust_domain": self.topology.trust_domain, "version": 2, "nodes": nodes}
        change(body)
        file = self.directory / "topology.toml"
        file.write_text(to_toml(body), encoding="utf-8")
        return file

    def seal(self, say: Say, file: Path, *more: str, node: str = MINISTRY) -> dict[str, Any]:
        """What the command says; it must succeed."""
        said = say(*self.command(file, *more, node=node))
        assert said.code == 0, said.err
        found: dict[str, Any] = json.loads(said.out)
        return found

    def command(self, file: Path, *more: str, node: str = MINISTRY) -> list[str]:
        """The command, its answer as JSON."""
        config = str(self.directory / node / "node.toml")
        return ["trust", "seal", str(file), "--out", str(self.out), "--config", config, "--json", *more]

    def authorities(self) -> DemoAuthorities:
        """Those of the network."""
        directory = self.directory / AUTHORITIES
        found = DemoAuthorities(directory=directory)
        for folder in sorted(directory.iterdir()):
            found.authority(folder.name, self.topology.trust_domain)
        return found

    @property
    def out(self) -> Path:
        """Where it is sealed."""
        return self.directory / "next.sealed"

    def believed(self) -> Topology:
        """What the city believes of what was sealed."""
        mine = load_identity(self.settings[CITY].directory(Zone.EXCHANGE) / "identity")
        book = TrustBook.of(mine.anchors, mine.trust)
        return open_topology(decode_envelope(self.out.read_bytes()), book, datetime.now(UTC))

    def trail(self) -> list[tuple[str, str, str]]:
        """Action, outcome and reason of what the ministry's zone recorded of seals."""
        with closing(open_zone(self.settings[MINISTRY], Zone.EXCHANGE)) as zone:
            lines = [line for line in told(zone) if line["action"] == "trust.seal"]
        return [(line["action"], line["outcome"], line["reason"]) for line in lines]


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Fresh."""
    made_at = datetime.now(UTC) - timedelta(minutes=1)
    return Root(tmp_path, *make_network(tmp_path, DEMO_NODES[:3], overrides=SETTINGS, made_at=made_at))


@pytest.fixture
def founded(root: Root) -> Iterator[Root]:
    """Its ministry's exchange zone was started once."""
    open_zone(root.settings[MINISTRY], Zone.EXCHANGE).close()
    return root


def test_before_its_first_start_the_zones_keys_seal_and_it_says_so(root: Root, say: Say) -> None:
    """Where the zone has no journal yet its keys seal, no database is made, and the answer says it is in no trail."""
    found = root.seal(say, root.written())
    words = say(*[word for word in root.command(root.written()) if word != "--json"])

    assert (found["version"], found["recorded"]) == (2, False)
    assert "in no audit trail" in words.out
    assert root.believed().version == 2
    assert not (root.settings[MINISTRY].directory(Zone.EXCHANGE) / "zone.db").exists()


def test_a_question_before_the_first_topology_leaves_the_way_by_files(root: Root, say: Say) -> None:
    """A zone that was asked before there was any topology, and has a database but no act, is sealed for by file still."""
    root.settings[MINISTRY].topology_file.unlink()
    config = str(root.directory / MINISTRY / "node.toml")
    assert say("status", "--config", config).code != 0
    assert (root.settings[MINISTRY].directory(Zone.EXCHANGE) / "zone.db").exists()

    assert root.seal(say, root.written())["recorded"] is False


def test_a_stopped_zone_seals_as_it_would_running_and_records_it(founded: Root, say: Say) -> None:
    """From its first start on the stopped zone is opened, asks why, seals, and has who and why before and after."""
    refused = say(*founded.command(founded.written()))
    found = founded.seal(say, founded.written(), "--reason", "city 140300 joins")

    assert (refused.code, "expected --reason, got none" in refused.err) == (2, True)
    assert (found["version"], found["recorded"]) == (2, True)
    assert founded.believed().version == 2
    assert founded.trail() == [
        ("trust.seal", "refused", ""),
        ("trust.seal", "done", "city 140300 joins"),
    ]


def test_a_running_zone_seals_and_what_it_sealed_is_taken_in(founded: Root, say: Say) -> None:
    """Asked over its socket the zone seals; handed out by `trust import`, the new version is in force."""
    settings = founded.settings[MINISTRY]
    config = str(founded.directory / MINISTRY / "node.toml")
    with serving(open_zone(settings, Zone.EXCHANGE)):
        found = founded.seal(say, founded.written(), "--reason", "a test")
        taken = say("trust", "import", str(founded.out), "--reason", "a test", "--config", config)
        again = say(*founded.command(founded.written(), "--reason", "a test"))
        version = ask(settings, Zone.EXCHANGE, "trust.list")["topology"]["version"]

    assert (found["recorded"], taken.code, version) == (True, 0, 2)
    assert again.code == 2
    assert "version: expected a number above 2, which is in force, got 2; write version = 3" in again.err


def _node(body: Written, name: str) -> Written:
    found: Written = next(node for node in body["nodes"] if node["node"] == name)
    return found


def _lower(body: Written) -> None:
    _node(body, CITY)["epoch"] = 1


REFUSED: dict[str, tuple[Callable[[Written], object], str]] = {
    "an older version": (lambda b: b.update(version=1), "version: expected a number above 1"),
    "another domain": (
        lambda b: b.update(trust_domain="other.demo"),
        "trust_domain: expected jinbao.demo, got other",
    ),
    "a node twice": (lambda b: b["nodes"].append(_node(b, CITY)), "each node once"),
    "no row of its own": (
        lambda b: (b["nodes"].remove(_node(b, MINISTRY)), _node(b, PROVINCE).update(parent="")),
        "expected 100000, which seals it, as its root, got 140000",
    ),
    "no zone that seals": (
        lambda b: _node(b, MINISTRY).update(zones=["decision"], addresses={}),
        "expected a row with 100000/exchange",
    ),
    "an epoch of its own it does not hold": (
        lambda b: _node(b, MINISTRY).update(epoch=2),
        "100000: epoch: expected 1, of the certificate that seals, got 2",
    ),
    "an address of a zone it does not run": (
        lambda b: _node(b, PROVINCE)["addresses"].update(production="127.0.0.1:1"),
        "expected addresses of its zones alone",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_topology_may_not_say_is_refused_before_the_seal(founded: Root, say: Say, case: str) -> None:
    """What no node should believe is refused in words, is sealed nowhere, and the attempt is in the trail as failed."""
    change, words = REFUSED[case]

    said = say(*founded.command(founded.written(lambda body: (change(body), None)[1]), "--reason", "a test"))

    assert said.code == 2
    assert words in said.err
    assert not founded.out.exists()
    assert founded.trail()[-1][1] == "failed"


def test_a_node_never_falls_back_behind_its_epoch(tmp_path: Path, say: Say) -> None:
    """A row with an epoch below the one in force is refused by its node, for it would let the former holder in again."""
    nodes = [*DEMO_NODES[:2], replace(DEMO_NODES[2], epoch=2)]
    made_at = datetime.now(UTC) - timedelta(minutes=1)
    root = Root(tmp_path, *make_network(tmp_path, nodes, overrides=SETTINGS, made_at=made_at))
    open_zone(root.settings[MINISTRY], Zone.EXCHANGE).close()

    said = say(*root.command(root.written(_lower), "--reason", "a test"))

    assert said.code == 2
    assert "140100: epoch: expected 2, which is in force, or more, got 1; write epoch = 2" in said.err


def test_a_clock_that_fell_behind_seals_nothing(tmp_path: Path, say: Say) -> None:
    """A version is sealed only at a later time than the one in force, whatever its number."""
    made_at = datetime.now(UTC) + timedelta(minutes=2)
    root = Root(tmp_path, *make_network(tmp_path, DEMO_NODES[:3], overrides=SETTINGS, made_at=made_at))
    open_zone(root.settings[MINISTRY], Zone.EXCHANGE).close()

    said = say(*root.command(root.written(), "--reason", "a test"))

    assert (said.code, f"expected after {root.topology.made_at}" in said.err) == (2, True)


def test_only_the_root_seals(founded: Root, say: Say) -> None:
    """A province that was started is told to ask the root, by either way."""
    by_file = say(*founded.command(founded.written(), node=PROVINCE))
    open_zone(founded.settings[PROVINCE], Zone.EXCHANGE).close()
    asked = say(*founded.command(founded.written(), "--reason", "a test", node=PROVINCE))

    assert (by_file.code, "expected 140000, which seals it, as its root, got 100000" in by_file.err) == (
        2,
        True,
    )
    assert (asked.code, "expected to be asked of 100000/exchange, the root" in asked.err) == (2, True)


def test_a_seal_nobody_would_believe_is_not_made(founded: Root, say: Say) -> None:
    """A zone whose own certificate was taken back finds that before anybody else does."""
    authorities = founded.authorities()
    authorities.revoke(Endpoint(MINISTRY, Zone.EXCHANGE), founded.topology, "superseded")
    trust = founded.directory / "trust.pem"
    trust.write_bytes(write_trust(authorities.documents()))
    config = str(founded.directory / MINISTRY / "node.toml")
    assert say("trust", "import", str(trust), "--reason", "a test", "--config", config).code == 0

    said = say(*founded.command(founded.written(), "--reason", "a test"))

    assert said.code != 0
    assert "revoked" in said.err
    assert not founded.out.exists()


def test_the_ministrys_new_holder_seals_that_it_is_one(founded: Root, say: Say) -> None:
    """With an identity of the next epoch and the former holder's journal, the ministry seals its own new epoch alone."""
    authorities, ministry = founded.authorities(), Endpoint(MINISTRY, Zone.EXCHANGE)
    authority = authorities.authority(MINISTRY, founded.topology.trust_domain)
    granting.succeed(authority, 2, authorities.now, founded.topology)
    authorities.issue(
        ministry, founded.topology, founded.settings[MINISTRY].directory(Zone.EXCHANGE) / "identity"
    )

    old = say(*founded.command(founded.written(), "--reason", "a test"))
    file = founded.written(lambda body: _node(body, MINISTRY).update(epoch=2))
    found = founded.seal(say, file, "--reason", "a test")

    assert (old.code, "expected 2, of the certificate that seals, got 1" in old.err) == (2, True)
    assert found["recorded"] is True
    assert founded.believed().epoch(MINISTRY) == 2
