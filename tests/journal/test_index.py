"""What a neighbour may take from a journal, in which order, and what waits to be applied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.journal.parts import (
    AT,
    DECISION,
    EXCHANGE,
    LIBRARY,
    MINISTRY,
    PRODUCTION,
    PROVINCE,
    Journal,
    open_journal,
    places,
    unsigned,
    verified,
)

from jinbao.journal.projection import APPLIED
from jinbao.model import acts
from jinbao.model.batch import SealedBatch, Shortfall
from jinbao.model.receipt import Receipt, Stage
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.encoding import decode_header

OTHER_LIBRARY = StreamId(PRODUCTION, "unemployment_monitor")
PUBLISHED = StreamId(EXCHANGE, "published.pension_macro", "140100")
RECEIPTS = StreamId(PROVINCE, "receipts", "140100")
SIBLING, SIBLINGS_RECEIPTS = Endpoint("140200", Zone.EXCHANGE), StreamId(PROVINCE, "receipts", "140200")


@pytest.fixture
def lively(journal: Journal) -> Journal:
    """Two libraries, packages for the decision zone and receipts from above, two batches each, interleaved."""
    for number in range(2):
        for at, stream in enumerate((OTHER_LIBRARY, PUBLISHED, RECEIPTS, LIBRARY)):
            journal.put(stream, [journal.segment(10 * number + at)])
    return journal


def topics(batches: list[SealedBatch]) -> set[str]:
    """The topics of some batches."""
    return {topic for topic, _ in places(batches)}


@pytest.mark.parametrize(
    ("caller", "seen"),
    [
        (PROVINCE, {"pension_macro", "unemployment_monitor"}),
        (PRODUCTION, {"receipts"}),
        (DECISION, {"published.pension_macro", "receipts"}),
        (SIBLING, set[str]()),
        (MINISTRY, set[str]()),
        (Endpoint("140000", Zone.DECISION), set[str]()),
    ],
    ids=["parent", "production", "decision", "sibling", "grandparent", "decision above"],
)
def test_a_caller_sees_its_own_streams(lively: Journal, caller: Endpoint, seen: set[str]) -> None:
    """A neighbour is shown the streams whose audience lies on its path, and everybody else nothing."""
    shown = lively.counter.headers(caller, [], 100)

    assert topics(shown) == seen


def test_receipts_do_not_reach_a_sibling(tmp_path: Path) -> None:
    """A province shows each city the receipts that are for it, and no other city's."""
    province = open_journal(tmp_path, PROVINCE)
    for stream in (RECEIPTS, SIBLINGS_RECEIPTS):
        province.put(stream, [province.segment(len(stream.audience))])

    shown = province.counter.headers(SIBLING, [], 100)

    assert [decode_header(sealed.payload).stream for sealed in shown] == [SIBLINGS_RECEIPTS]
    province.store.close()


def test_business_tables_never_go_to_the_parent(tmp_path: Path) -> None:
    """Tables as captured are shown to nobody on the line, and their segments are not served."""
    production = open_journal(tmp_path, PRODUCTION)
    captured = StreamId(PRODUCTION, "resource.city.ac01", "140000-backup")
    ref = production.segment(1)
    production.put(captured, [ref])
    production.put(LIBRARY, [production.segment(2)])

    shown = production.counter.headers(EXCHANGE, [], 100)

    assert topics(shown) == {"pension_macro"}
    assert production.counter.open_segment(EXCHANGE, captured, 1, ref.sha256) is None
    production.store.close()


def test_directives_go_first(lively: Journal) -> None:
    """Receipts are shown before anything else, then streams by name, each in order of seq."""
    own = StreamId(EXCHANGE, "receipts", "140100")
    lively.put(own)

    shown = [verified(sealed).header for sealed in lively.counter.headers(DECISION, [], 100)]

    assert str(PUBLISHED) < str(own)
    assert [(header.stream, header.seq) for header in shown] == [
        (RECEIPTS, 1),
        (RECEIPTS, 2),
        (own, 1),
        (PUBLISHED, 1),
        (PUBLISHED, 2),
    ]


@settings(max_examples=15, deadline=None)
@given(limits=st.lists(st.integers(1, 3), min_size=1, max_size=8))
def test_marks_move_through_every_header_once(
    tmp_path_factory: pytest.TempPathFactory, limits: list[int]
) -> None:
    """A caller that moves its marks sees every batch once, in order per stream, never more than it asked for."""
    journal = open_journal(tmp_path_factory.mktemp("journal"))
    for stream in (OTHER_LIBRARY, LIBRARY, OTHER_LIBRARY, LIBRARY):
        journal.put(stream)
    marks: dict[StreamId, Mark] = {}
    seen: list[SealedBatch] = []

    for limit in [*limits, *[3] * 4]:
        shown = journal.counter.headers(PROVINCE, list(marks.values()), limit)
        assert len(shown) <= limit
        marks |= {verified(sealed).header.stream: verified(sealed).mark for sealed in shown}
        seen += shown

    by_topic = {topic: [seq for t, seq in places(seen) if t == topic] for topic, _ in places(seen)}
    assert by_topic == {"pension_macro": [1, 2], "unemployment_monitor": [1, 2]}
    journal.store.close()


def test_a_stream_that_waits_starves_no_other(tmp_path: Path) -> None:
    """A stream whose mark never moves takes its share of an answer, not all of it."""
    journal = open_journal(tmp_path / "journal")
    for stream in (*[LIBRARY] * 5, OTHER_LIBRARY):
        journal.put(stream)

    shown = journal.counter.headers(PROVINCE, [], 3)

    assert places(shown) == [("pension_macro", 1), ("unemployment_monitor", 1)]
    journal.store.close()


def test_a_segment_is_served_through_its_header_alone(lively: Journal) -> None:
    """A segment is opened for who may see the header that names it, by that stream and seq."""
    counter = lively.counter
    (first,) = lively.counter.headers(PROVINCE, [], 1)
    sha256 = decode_header(first.payload).segments[0].sha256
    (package, *_) = [row["sha256"] for row in lively.index.segments() if row["stream"] == str(PUBLISHED)]

    assert counter.open_segment(PROVINCE, LIBRARY, 1, sha256) == lively.shelf.path(sha256)
    assert counter.open_segment(PROVINCE, LIBRARY, 2, sha256) is None
    assert counter.open_segment(PROVINCE, OTHER_LIBRARY, 1, sha256) is None
    assert counter.open_segment(PROVINCE, LIBRARY, 1, package) is None
    assert counter.open_segment(PROVINCE, PUBLISHED, 1, package) is None
    assert counter.open_segment(SIBLING, LIBRARY, 1, sha256) is None


def test_what_was_accepted_waits_in_order(lively: Journal) -> None:
    """Batches of others wait stream by stream and in order of seq; our own never wait."""
    waiting = [
        place for stream in lively.index.waiting() for place in places(lively.index.unapplied(stream, 100))
    ]

    assert [place for place in waiting if place[0] == "pension_macro"] == [
        ("pension_macro", 1),
        ("pension_macro", 2),
    ]
    assert waiting == sorted(waiting, key=lambda place: [t for t, _ in waiting].index(place[0]))
    assert {topic for topic, _ in waiting} == {"pension_macro", "unemployment_monitor", "receipts"}
    assert sum(lively.index.waiting().values()) == len(waiting)
    assert len(lively.index.unapplied(LIBRARY, 1)) == 1


def test_what_was_applied_waits_no_more(lively: Journal) -> None:
    """Only what lies above a stream's apply mark waits; the mark of accepting stays where it is."""
    head = verified(lively.counter.headers(PROVINCE, [], 1)[0]).head

    lively.ledger.record(acts.skipped(LIBRARY, 1, head))

    assert places(lively.index.unapplied(LIBRARY, 100)) == [("pension_macro", 2)]
    assert lively.index.waiting()[LIBRARY] == 1
    assert lively.index.mark(LIBRARY, APPLIED).seq == 1
    assert lively.index.mark(LIBRARY).seq == 2
    assert lively.index.overview().unapplied == 5


def test_a_due_receipt_leaves_with_its_batch(journal: Journal) -> None:
    """A receipt is due, oldest first, until the batch that carries it is sealed in the same act."""
    for seq in (1, 2, 3):
        journal.signed(EXCHANGE, LIBRARY, seq)
    due = [(lsn, audience, receipt.seq) for lsn, audience, receipt in journal.index.receipts_due(2)]

    sealed = journal.put(StreamId(PROVINCE, "receipts", "140100"))  # another's batch carries none of ours
    journal.ledger.record(acts.sealed(_own_receipts(journal, sealed), receipts=[due[0][0]]))

    assert [(audience, seq) for _, audience, seq in due] == [("140100", 1), ("140100", 2)]
    assert [receipt.seq for _, _, receipt in journal.index.receipts_due(10)] == [2, 3]
    assert journal.index.receipts(LIBRARY, 1) == [
        Receipt(EXCHANGE, LIBRARY, 1, "", Stage.ACCEPTED, 0, "", "", AT)
    ]


def _own_receipts(journal: Journal, like: SealedBatch) -> SealedBatch:
    """The first receipts batch of this zone, not recorded yet."""
    header = decode_header(like.payload)
    return unsigned(replace(header, stream=StreamId(journal.me, "receipts", "140100")))


def test_a_held_stream_goes_on_with_the_next_proof(journal: Journal) -> None:
    """A hold says where, by which code and why, and ends when a batch of the stream is accepted."""
    journal.put(LIBRARY)
    journal.ledger.record(acts.held(LIBRARY, 2, "equivocation", "two heads", []))
    held = journal.index.held()

    journal.put(LIBRARY)

    assert held == {LIBRARY: (2, "equivocation", "two heads")}
    assert journal.index.held() == {}


def _mark(journal: Journal, seq: int, head: str = "", incarnation: str = "a" * 32) -> Mark:
    """A caller's mark in the library; by default at the head held here."""
    held = journal.index.place(LIBRARY, incarnation, seq)
    return Mark(LIBRARY, incarnation, 1, seq, head or (held.head if held else "0f" * 32))


@pytest.mark.parametrize(("seq", "shown"), [(2, 2), (3, 3), (5, 3)], ids=["before", "newest", "beyond"])
def test_a_mark_that_cannot_be_continued_is_named(journal: Journal, seq: int, shown: int) -> None:
    """A caller whose past is another, or who has more, gets the nearest header held here, with its own mark."""
    for _ in range(3):
        journal.put(LIBRARY)
    mark = _mark(journal, seq, "0f" * 32)

    [found] = journal.counter.headers(PROVINCE, [mark], 100)

    assert isinstance(found, Shortfall)
    assert found.mark == mark
    assert decode_header(found.payload).seq == shown


def test_a_mark_that_is_continued_is_not_named(journal: Journal) -> None:
    """A caller on our chain gets what follows, and nothing once it has all; so does one that names no head."""
    sealed = [journal.put(LIBRARY) for _ in range(3)]

    for seq in (1, 2, 3):
        mark = _mark(journal, seq)
        for asked in (mark, replace(mark, head="")):
            assert journal.counter.headers(PROVINCE, [asked], 100) == sealed[seq:]


def test_a_stream_that_was_created_anew_is_shown_from_its_first_batch(journal: Journal) -> None:
    """A caller that has more of the old incarnation than there is here is shown the new one, not told to be ahead."""
    journal.put(LIBRARY)
    anew = journal.put(LIBRARY, incarnation="b" * 32)

    for mark in (_mark(journal, 7), _mark(journal, 7, incarnation="c" * 32)):
        assert journal.counter.headers(PROVINCE, [mark], 100) == [anew]


def test_a_stage_of_a_later_release_is_filed_and_not_shown(journal: Journal) -> None:
    """A receipt of a stage nobody here knows does not keep the others from being read."""
    journal.signed(PROVINCE, LIBRARY, 1)
    later = Receipt(MINISTRY, LIBRARY, 1, "", Stage.HELD, 0, "", "why", AT)
    body = dict(acts.receipt_due(later).body) | {"stage": "praised"}
    journal.ledger.record(acts.Act("receipt_due", body))

    assert [receipt.receiver for receipt in journal.index.receipts(LIBRARY, 1)] == [PROVINCE]


def test_a_word_of_another_is_known_until_it_is_taken_back(journal: Journal) -> None:
    """A receiver's hold is known to all it passes till its receipt comes again without a reason; our own is not told."""
    word = Receipt(PROVINCE, LIBRARY, 3, "0f" * 32, Stage.HELD, 0, "", "equivocation: two heads", AT)
    journal.ledger.record(acts.receipt_due(word), acts.receipt_due(replace(word, receiver=EXCHANGE)))
    known = journal.index.held_elsewhere()

    journal.ledger.record(acts.receipt_due(replace(word, reason="")))

    assert known == [word]
    assert journal.index.held_elsewhere() == []


def test_marks_of_some_nodes_are_those_of_their_streams(lively: Journal) -> None:
    """Asked for nodes, the journal tells the marks of streams that begin there, and of no others."""
    whole = lively.index.marks()

    for nodes in ({"140000"}, {"140100"}, {"140000", "140100"}, {"1401"}):
        assert lively.index.marks(nodes=nodes) == [m for m in whole if m.stream.origin.node in nodes]
    assert {mark.stream.origin.node for mark in whole} == {"140000", "140100"}
