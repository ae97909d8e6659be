"""A person writes who is whose parent; the root's exchange zone seals it, and everybody believes that alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from jinbao.appliance.network import DEMO_NODES, make_network
from jinbao.appliance.topology_file import parse_topology, read_text, seal_first
from jinbao.authority.identity_files import load_identity
from jinbao.model.errors import SettingsError
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.book import TrustBook
from jinbao.trust.documents import open_topology
from jinbao.trust.encoding import envelope_of
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

WRITTEN = """
trust_domain = "jinbao.demo"
version = 2

[[nodes]]
node = "100000"
name_zh = "部"
name_en = "Ministry"
tier = "ministry"
zones = ["exchange", "decision"]
carrier = ["decision"]
addresses.exchange = "127.0.0.1:7100"

[[nodes]]
node = "140000"
name_zh = "省"
name_en = "Shanxi"
tier = "province"
parent = "100000"
zones = ["exchange"]
"""


def test_a_written_topology_is_sealed_by_its_root_and_believed(tmp_path: Path) -> None:
    """What the root's exchange zone sealed is the topology as it was written, proved by the network's trust."""
    _, settings = make_network(tmp_path / "network", DEMO_NODES)
    file = tmp_path / "topology.toml"
    file.write_text(WRITTEN, encoding="utf-8")
    at = datetime.now(UTC)
    topology, content = seal_first(settings["100000"], file, at)

    mine = load_identity(settings["140000"].directory(Zone.EXCHANGE) / "identity")
    sealed = envelope_of(wire.Envelope.FromString(content))
    assert open_topology(sealed, TrustBook.of(mine.anchors, mine.trust), datetime.now(UTC)) == topology
    assert topology.version == 2
    assert topology.address(Endpoint("100000", Zone.EXCHANGE)) == "127.0.0.1:7100"
    with pytest.raises(SettingsError, match="expected 140000, which seals it, as its root, got 100000"):
        seal_first(settings["140000"], file, at)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version = 2", "version = 0", "version: expected"),
        ("parent =", "parents =", "nodes.1.parents: expected"),
        ('parent = "100000"', 'parent = "110000"', "expected nodes of one tree"),
        ("[[nodes]]", "[nodes", "expected nodes of one tree, in TOML"),
        (
            "addresses.exchange",
            "addresses.production",
            "nodes.0.addresses: expected addresses of its zones alone",
        ),
    ],
)
def test_a_topology_nobody_can_use_says_what_is_wrong(old: str, new: str, said: str) -> None:
    """A key that is none, a value out of bounds, rows of no tree: each is named before anything is sealed."""
    with pytest.raises(SettingsError, match=said):
        parse_topology(WRITTEN.replace(old, new), "topology.toml", datetime.now(UTC))


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    """A file that is not there, or of other bytes than UTF-8, is named with what was expected of it."""
    file = tmp_path / "topology.toml"
    with pytest.raises(SettingsError, match="expected a TOML file, got No such file"):
        read_text(file)
    file.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="expected text in UTF-8"):
        read_text(file)
