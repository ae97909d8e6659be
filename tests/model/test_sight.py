"""Who may see which stream (clause 3.1, invariant 4), on trees made by chance."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.trees import UPPER, between, reached, row, topologies, way_up

from jinbao.model.stream import JOURNAL, LINE, RECEIPTS, STANDARDS, StreamId
from jinbao.model.topology import NodeRow, Topology
from jinbao.model.zone import Endpoint, Tier, Zone

bounded = settings(max_examples=40, deadline=None)
SHANXI = Topology(
    "jinbao.test",
    1,
    (
        row("100000", "", Tier.MINISTRY, UPPER),
        row("140000", "100000", Tier.PROVINCE, UPPER),
        row("140100", "140000", Tier.CITY),
        row("310000", "100000", Tier.PROVINCE),
    ),
)


def zone(text: str) -> Endpoint:
    """An endpoint by its text."""
    return Endpoint.parse(text)


def endpoint_of(topology: Topology, data: st.DataObject) -> Endpoint:
    """Any zone of a topology."""
    return data.draw(st.sampled_from(sorted(topology.endpoints())))


@bounded
@given(topologies(), st.data())
def test_a_library_goes_to_the_exchanges_above_and_nowhere_else(
    topology: Topology, data: st.DataObject
) -> None:
    """A library on the line comes to exactly its own exchange and those of the tiers above."""
    origin = endpoint_of(topology, data)

    found = reached(topology, StreamId(origin, "pension_macro"))

    assert found == set(way_up(topology, origin))


@bounded
@given(topologies(), st.data())
def test_a_directive_goes_down_to_everyone_below(topology: Topology, data: st.DataObject) -> None:
    """Standards come to exactly the zones below their origin."""
    origin = endpoint_of(topology, data)

    found = reached(topology, StreamId(origin, STANDARDS))

    assert found == {e for e in topology.endpoints() if origin in way_up(topology, e)}


@bounded
@given(topologies(), st.data())
def test_a_receipt_goes_along_the_path_of_its_audience(topology: Topology, data: st.DataObject) -> None:
    """Receipts come to every zone of the node they are for, by the only path, and to nobody beside it."""
    origin = endpoint_of(topology, data)
    audience = data.draw(st.sampled_from(sorted(topology.by_node)))

    found = reached(topology, StreamId(origin, RECEIPTS, audience))

    ends = [e for e in topology.endpoints() if e.node == audience]
    assert found == {e for end in ends for e in between(topology, origin, end)}


@bounded
@given(topologies(), st.data())
def test_a_package_goes_to_no_decision_zone_but_its_own(topology: Topology, data: st.DataObject) -> None:
    """A package published for a node comes to the decision zone of that node's own exchange or to nobody."""
    node, audience = (data.draw(st.sampled_from(sorted(topology.by_node))) for _ in range(2))
    origin = Endpoint(node, Zone.EXCHANGE)

    found = reached(topology, StreamId(origin, "published.pension_macro", audience))

    own = Endpoint(node, Zone.DECISION)
    expected = {own} if audience == node and topology.knows(own) else set[Endpoint]()
    assert found == expected | {origin}


@bounded
@given(topologies(), st.data(), st.sampled_from([RECEIPTS, "resource.ab01", "published.a", "a"]))
def test_a_stream_for_an_unknown_node_stays(topology: Topology, data: st.DataObject, topic: str) -> None:
    """A stream whose audience the topology does not know is listed to nobody."""
    origin = endpoint_of(topology, data)

    assert reached(topology, StreamId(origin, topic, "990000")) == {origin}


@bounded
@given(topologies(), st.data())
def test_business_tables_stay_where_they_are(topology: Topology, data: st.DataObject) -> None:
    """Business tables as captured are listed to no neighbour, whatever their audience says."""
    origin = endpoint_of(topology, data)
    audience = data.draw(st.sampled_from([LINE, *sorted(topology.by_node)]))

    assert reached(topology, StreamId(origin, "resource.ab01", audience)) == {origin}


@bounded
@given(topologies(), st.data())
def test_only_a_neighbour_is_shown_anything(topology: Topology, data: st.DataObject) -> None:
    """A caller that is neither parent nor child is shown no stream at all."""
    holder, caller, origin = (endpoint_of(topology, data) for _ in range(3))
    audience = data.draw(st.sampled_from([LINE, *sorted(topology.by_node)]))
    topic = data.draw(st.sampled_from([RECEIPTS, STANDARDS, "a", "published.a"]))

    seen = topology.may_see(holder=holder, caller=caller, stream=StreamId(origin, topic, audience))

    assert not seen or topology.parent(holder) == caller or topology.parent(caller) == holder


@bounded
@given(topologies(), st.data())
def test_a_stream_of_an_unknown_origin_is_shown_to_nobody(topology: Topology, data: st.DataObject) -> None:
    """A holder lists no stream whose origin is no zone of the topology."""
    holder = endpoint_of(topology, data)
    stream = StreamId(Endpoint("990000", Zone.EXCHANGE), "a")

    assert not any(
        topology.may_see(holder=holder, caller=caller, stream=stream) for caller in topology.endpoints()
    )


def test_a_municipality_reports_to_the_ministry() -> None:
    """Node 310000 right below 100000 reaches the ministry's exchange, and no province."""
    found = reached(SHANXI, StreamId(zone("310000/production"), "pension_macro"))

    assert found == {zone("310000/production"), zone("310000/exchange"), zone("100000/exchange")}
    assert zone("310000/exchange") in SHANXI.children(zone("100000/exchange"))


GUARDED = Topology(
    "jinbao.test",
    1,
    (
        *(replace(one, carrier=(Zone.DECISION,)) for one in SHANXI.rows),
        NodeRow(
            "140000-backup",
            "",
            "",
            Tier.PROVINCE,
            "140000",
            "100000",
            (Zone.EXCHANGE,),
            (),
            (),
            protects=("140000", "140100"),
        ),
    ),
)


@pytest.mark.parametrize(
    "origin", ["140100/production", "140100/exchange", "140100/decision", "140000/exchange"]
)
def test_acts_go_to_the_backup_alone(origin: str) -> None:
    """A zone's acts are shown by it, or by its exchange zone if it has no listener, to its backup and nobody else."""
    stream, backup = StreamId(zone(origin), JOURNAL, "140000-backup"), zone("140000-backup/exchange")
    near = zone(f"{stream.origin.node}/exchange")

    shown = {
        (holder, caller)
        for holder in GUARDED.endpoints()
        for caller in GUARDED.endpoints()
        if GUARDED.may_see(holder=holder, caller=caller, stream=stream)
    }

    by_carrier = {(stream.origin, near), (near, backup)} if stream.origin.zone is Zone.DECISION else set()
    assert shown == {(stream.origin, backup)} | by_carrier


@pytest.mark.parametrize(
    "topic", ["resource.ab01", "pension_macro", "published.pension_macro", "audit", RECEIPTS]
)
def test_a_backup_is_shown_acts_and_nothing_else(topic: str) -> None:
    """Of the nodes it protects a backup sees no other stream: all they hold is in their acts."""
    backup = zone("140000-backup/exchange")
    protected = [e for e in GUARDED.endpoints() if e.node in {"140000", "140100"}]

    for origin in protected:
        stream = StreamId(origin, topic)
        assert not any(GUARDED.may_see(holder=h, caller=backup, stream=stream) for h in protected)


def test_acts_of_a_node_nobody_protects_are_shown_to_nobody() -> None:
    """Named as an audience, a backup that does not protect the node is shown nothing."""
    stream = StreamId(zone("310000/exchange"), JOURNAL, "140000-backup")

    assert not any(
        GUARDED.may_see(holder=h, caller=c, stream=stream)
        for h in GUARDED.endpoints()
        for c in GUARDED.endpoints()
    )


def test_a_backup_follows_what_has_a_listener() -> None:
    """A backup asks every zone it protects that is met by line, beside its parent; nobody else asks one."""
    backup = zone("140000-backup/exchange")

    assert set(GUARDED.followed(backup)) == {
        zone("100000/exchange"),
        zone("140000/exchange"),
        zone("140100/exchange"),
        zone("140100/production"),
    }
    assert all(GUARDED.followed(e) == GUARDED.neighbours(e) for e in GUARDED.endpoints() if e != backup)
    assert [GUARDED.backup(node) for node in ("140100", "310000")] == ["140000-backup", ""]


@bounded
@given(topologies(), st.data(), st.sampled_from([LINE, RECEIPTS, STANDARDS]))
def test_a_child_brings_streams_of_what_is_below_it_alone(
    topology: Topology, data: st.DataObject, topic: str
) -> None:
    """Whatever a child may list to its parent has its origin among the nodes said to be below that child."""
    child, origin = endpoint_of(topology, data), endpoint_of(topology, data)
    parent = topology.parent(child)
    audience = data.draw(st.sampled_from([LINE, *sorted(topology.by_node)]))
    if parent is None:
        assert not topology.below(origin, child)
        return

    seen = topology.may_see(holder=child, caller=parent, stream=StreamId(origin, topic, audience))

    assert not seen or origin.node in topology.below(parent, child)
    assert not topology.below(child, parent)


PROMOTED = replace(
    GUARDED, rows=tuple(replace(one, epoch=2) if one.node == "140100" else one for one in GUARDED.rows)
)


def taken_back(topology: Topology, stream: StreamId) -> set[tuple[str, str]]:
    """Who gives a stream back to whom."""
    return {
        (str(holder), str(caller))
        for holder in topology.endpoints()
        for caller in topology.endpoints()
        if topology.may_take_back(holder=holder, caller=caller, stream=stream)
    }


def test_a_new_holder_takes_back_what_its_node_sent() -> None:
    """A promoted node's zones, and its exchange zone for all of them, are given back what each had sent, and no more."""
    library, published = StreamId(zone("140100/production"), "pension_macro"), "published.pension_macro"
    above, near = "140000/exchange", "140100/exchange"

    assert taken_back(PROMOTED, library) == {(above, near), (near, "140100/production")}
    assert taken_back(PROMOTED, StreamId(zone(near), published)) == {
        (above, near),
        ("140100/decision", near),
        ("140100/production", near),
    }
    for topic in (JOURNAL, "audit", "resource.ab01"):
        assert not taken_back(PROMOTED, StreamId(zone("140100/production"), topic, "140000-backup"))


@pytest.mark.parametrize("topic", ["pension_macro", "published.pension_macro", RECEIPTS])
def test_nothing_is_given_back_at_a_first_epoch(topic: str) -> None:
    """A node that was never promoted is no successor of anybody, also of one that had its code before."""
    for origin in GUARDED.endpoints():
        assert not taken_back(GUARDED, StreamId(origin, topic))
