"""The current view of a table: what a naive replay of its segments would hold."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decision.example import Shelf

from jinbao.decision.room import PackagedSegment
from jinbao.decision.view import live, view
from jinbao.model.standard import Item, ItemType, Limits, Table

TABLE = Table(
    "people",
    "人员",
    "people",
    (Item("AAC001", "", "", ItemType.TEXT, 20), Item("AAE002", "", "", ItemType.MONTH, 6)),
    ("AAC001",),
    (),
    (),
    Limits(50, 100, 0.05),
)

OPS = st.lists(st.tuples(st.sampled_from("UUD"), st.sampled_from("abc王"), st.integers(0, 9)), max_size=5)
SUBMISSIONS = st.lists(
    st.tuples(
        st.sampled_from(["140100", "140200"]), st.sampled_from(["snapshot", "change", "amendment"]), OPS
    ),
    max_size=6,
)

Submission = tuple[str, str, Sequence[tuple[str, str, int]]]


def distinct(kind: str, ops: Sequence[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """A segment names a key once, and a snapshot only upserts: what the sender's key rule ensures."""
    kept = {key: (op, key, value) for op, key, value in ops if kind != "snapshot" or op == "U"}
    return list(kept.values())


def replay(submissions: Sequence[Submission], upto: int) -> list[tuple[str, str, int]]:
    """The rows a reader holds who applies one submission after the other."""
    held: dict[tuple[str, str], int] = {}
    for seq, (origin, kind, ops) in enumerate(submissions, start=1):
        if seq > upto:
            break
        if kind == "snapshot":
            held = {at: value for at, value in held.items() if at[0] != origin}
        for op, key, value in distinct(kind, ops):
            if op == "D":
                held.pop((origin, key), None)
            else:
                held[origin, key] = value
    return sorted((origin, key, value) for (origin, key), value in held.items())


@settings(max_examples=25, deadline=None)
@given(SUBMISSIONS, st.integers(0, 7))
def test_the_view_is_what_a_replay_holds(submissions: list[Submission], upto: int) -> None:
    """For any snapshots, changes and deletes, as of any seq, the view equals a naive replay."""
    with tempfile.TemporaryDirectory() as directory:
        shelf = Shelf(Path(directory))
        for seq, (origin, kind, ops) in enumerate(submissions, start=1):
            rows = [
                {"op": op, "AAC001": key, "AAE002": None if op == "D" else value}
                for op, key, value in distinct(kind, ops)
            ]
            shelf.add("any", TABLE, rows, origin=origin, seq=seq, kind=kind)

        found = view(reversed(shelf.segments), TABLE, shelf.path, as_of_seq=upto)

    assert found.rows() == replay(submissions, upto)


def test_segments_of_one_submission_apply_in_their_order(tmp_path: Path) -> None:
    """Where two segments of one seq name a key, the later one holds; a snapshot of two parts is whole."""
    shelf = Shelf(tmp_path)
    shelf.add("any", TABLE, [{"AAC001": "a", "AAE002": 1}], seq=1)
    shelf.add("any", TABLE, [{"AAC001": "b", "AAE002": 1}], seq=1)
    shelf.add("any", TABLE, [{"AAC001": "a", "AAE002": 2}], seq=2, kind="change")
    shelf.add("any", TABLE, [{"AAC001": "a", "AAE002": 3}], seq=2, kind="change")

    found = view(shelf.segments, TABLE, shelf.path)

    assert found.rows() == [("140000", "a", 3), ("140000", "b", 1)]


def test_a_segment_two_packages_share_counts_for_each(tmp_path: Path) -> None:
    """Equal bytes have one file; each origin that sent them has its rows, once."""
    shelf = Shelf(tmp_path)
    first = shelf.add("any", TABLE, [{"AAC001": "a", "AAE002": 1}], origin="140100")
    second = PackagedSegment("any", "140200", TABLE.id, 1, "snapshot", first.period, first.sha256)

    found = view([first, second], TABLE, shelf.path)

    assert found.rows() == [("140100", "a", 1), ("140200", "a", 1)]


def test_a_month_is_seen_without_the_later_ones(tmp_path: Path) -> None:
    """As of a period, a later month's snapshot neither adds nor replaces."""
    shelf = Shelf(tmp_path)
    shelf.add("any", TABLE, [{"AAC001": "a", "AAE002": 202609}], seq=1, period="202609")
    shelf.add("any", TABLE, [{"AAC001": "b", "AAE002": 202610}], seq=2, period="202610")

    before = view(shelf.segments, TABLE, shelf.path, as_of_period="202609")
    now = view(shelf.segments, TABLE, shelf.path)

    assert before.rows() == [("140000", "a", 202609)]
    assert now.rows() == [("140000", "b", 202610)]
    assert [s.origin_seq for s in live(shelf.segments)] == [2]


@pytest.mark.parametrize(
    "name",
    ["o'brien", "a*b", "q?", "set[1]", "山西"],
    ids=["quote", "star", "question", "bracket", "Chinese"],
)
def test_a_path_stands_for_itself(tmp_path: Path, name: str) -> None:
    """A directory with characters of SQL or of a file pattern in its name is read like any other."""
    directory = tmp_path / name
    directory.mkdir()
    shelf = Shelf(directory)
    shelf.add("any", TABLE, [{"AAC001": "a", "AAE002": 1}])

    found = view(shelf.segments, TABLE, shelf.path)

    assert found.rows() == [("140000", "a", 1)]


def test_no_segment_is_an_empty_view(tmp_path: Path) -> None:
    """A table nothing was sent for has the standard's columns and no row."""
    found = view([], TABLE, Shelf(tmp_path).path)

    assert found.columns == ["_origin", "AAC001", "AAE002"]
    assert found.is_empty()
