"""A topology is one tree of known names, or it does not come to be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from tests.model.trees import UPPER, row, topologies

from jinbao.model.topology import NodeRow, Topology
from jinbao.model.zone import Border, Endpoint, Tier, Zone

ROOT = row("100000", "", Tier.MINISTRY, UPPER)
PROVINCE = row("140000", "100000", Tier.PROVINCE, UPPER)
CITY = row("140100", "140000", Tier.CITY)
TREE = Topology("jinbao.test", 1, (ROOT, PROVINCE, CITY))
bounded = settings(max_examples=40, deadline=None)


@pytest.mark.parametrize(
    ("rows", "got"),
    [
        ((), "expected one node without parent, got none"),
        ((ROOT, replace(PROVINCE, parent="")), "expected one node without parent, got ['100000', '140000']"),
        ((ROOT, replace(PROVINCE, parent="990000")), "node 140000: expected a known parent, got '990000'"),
        ((ROOT, CITY, replace(PROVINCE, parent="990000")), "expected a known parent, got '990000'"),
        ((ROOT, replace(PROVINCE, parent="140100"), CITY), "node 140000: expected a tree, got a cycle"),
        ((ROOT, replace(PROVINCE, parent="140000")), "expected a tree, got a cycle through 140000"),
        ((ROOT, PROVINCE, PROVINCE), "expected each node once, got a repeated node"),
        ((ROOT, replace(PROVINCE, node="../etc")), "expected a node of six digits"),
    ],
    ids=["nothing", "two roots", "parent", "grandparent", "cycle", "own parent", "repeated", "name"],
)
def test_rows_that_are_no_tree_are_refused(rows: tuple[NodeRow, ...], got: str) -> None:
    """A topology that is not one tree of known names is refused, and the message says why."""
    with pytest.raises(ValueError, match="topology: ") as caught:
        Topology("jinbao.test", 1, rows)

    assert got in str(caught.value)


@bounded
@given(topologies())
def test_everyone_but_the_root_is_its_parents_child(topology: Topology) -> None:
    """Parent and children say the same, and only the root's exchange has nobody above."""
    tops = [e for e in topology.endpoints() if topology.parent(e) is None]

    assert tops == [Endpoint("100000", Zone.EXCHANGE)]
    for endpoint in topology.endpoints():
        parent = topology.parent(endpoint)
        assert parent is None or endpoint in topology.children(parent)
        assert all(topology.parent(child) == endpoint for child in topology.children(endpoint))


@bounded
@given(topologies())
def test_neighbours_know_each_other(topology: Topology) -> None:
    """Being neighbours, and how they meet, is the same from both sides."""
    for endpoint in topology.endpoints():
        for other in topology.neighbours(endpoint):
            assert endpoint in topology.neighbours(other)
            assert topology.border(endpoint, other) is topology.border(other, endpoint)


def test_a_carrier_is_inside_a_node() -> None:
    """A zone listed under carrier meets its own exchange by files; exchange meets exchange by a line."""
    exchange, decision = Endpoint("140100", Zone.EXCHANGE), Endpoint("140100", Zone.DECISION)

    assert TREE.border(exchange, decision) is Border.CARRIER
    assert TREE.border(exchange, Endpoint("140100", Zone.PRODUCTION)) is Border.LINE
    assert TREE.border(exchange, Endpoint("140000", Zone.EXCHANGE)) is Border.LINE


def test_only_listed_zones_are_known() -> None:
    """A zone a node does not run, and a node that is not there, are not known."""
    assert TREE.knows(Endpoint("140100", Zone.PRODUCTION))
    assert not TREE.knows(Endpoint("140000", Zone.PRODUCTION))
    assert not TREE.knows(Endpoint("140200", Zone.EXCHANGE))
    assert TREE.row("140200") is None


def test_an_address_is_the_rows_own_or_empty() -> None:
    """An address is read from the row of its node, and is empty for a zone that has none."""
    city = replace(CITY, addresses=((Zone.EXCHANGE, "host:1"),))
    topology = replace(TREE, rows=(ROOT, PROVINCE, city))

    assert topology.address(Endpoint("140100", Zone.EXCHANGE)) == "host:1"
    assert not topology.address(Endpoint("140100", Zone.DECISION))


def test_a_province_certifies_its_cities_and_nobody_else() -> None:
    """The issuer of a city is its province; of a municipality, a backup, a province and the ministry, the ministry."""
    municipality = row("310000", "100000", Tier.CITY)
    backup = replace(row("140000-backup", "100000", Tier.PROVINCE, UPPER), protects=("140000",))
    city_backup = replace(row("140100-backup", "140000", Tier.CITY), protects=("140100",))
    tree = Topology("jinbao.test", 1, (CITY, municipality, backup, city_backup, PROVINCE, ROOT))

    issuers = {one.node: tree.issuer(one.node) for one in tree.rows}

    assert tree.root == "100000"
    assert issuers.pop("140100") == "140000"
    assert set(issuers.values()) == {"100000"}


def test_backups_protect_no_backup_and_nobody_twice() -> None:
    """A topology in which backups protect each other, or two protect one node, does not exist."""
    ministry = row("100000", "", Tier.MINISTRY, UPPER)
    nodes = [ministry, row("140000", "100000", Tier.PROVINCE, UPPER)]
    first = replace(row("140000-backup", "100000", Tier.PROVINCE, UPPER), protects=("140000",))
    second = replace(row("140100-backup", "100000", Tier.PROVINCE, UPPER), protects=("140000",))
    over = replace(second, protects=("140000-backup",))

    Topology("jinbao.test", 1, (*nodes, first))
    with pytest.raises(ValueError, match="expected one backup, got 140000-backup and 140100-backup"):
        Topology("jinbao.test", 1, (*nodes, first, second))
    with pytest.raises(ValueError, match="expected nodes that protect none, got 140000-backup"):
        Topology("jinbao.test", 1, (*nodes, first, over))
