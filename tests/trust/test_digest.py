"""The canonical digest, clauses D1 to D5, against an implementation made of hashlib and text alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinbao.trust import digest as digests
from jinbao.trust.digest import (
    Digest,
    RowPath,
    digest,
    digest_of_tables,
    encode,
    encode_cells,
    leaves,
    path,
    root_from_path,
)

COLUMNS = ("AAC001", "AAC003", "AAE180")
KEY = ("AAC001",)
SCHEMA = {"AAC001": pl.String(), "AAC003": pl.String(), "AAE180": pl.Int64()}
Row = tuple[str | int | None, ...]
EXAMPLE: list[Row] = [("1", "张三", 12345), ("2", "", -1), ("3", None, None), ("40", "a:b\n", 0)]

texts = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
cells = st.tuples(st.none() | texts, st.none() | st.integers(-(2**63), 2**63 - 1))
tables = st.dictionaries(texts, cells, max_size=12).map(lambda t: [(k, *rest) for k, rest in t.items()])
bounded = settings(max_examples=60, deadline=None)


def frame(rows: Sequence[Row]) -> pl.DataFrame:
    """Rows as columns."""
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def of(rows: Sequence[Row]) -> Digest:
    """Digest by the room under test."""
    return digest([frame(rows)], COLUMNS, KEY)


def sha(text: str) -> str:
    """SHA-256 of text in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def cell(value: str | int | None) -> str:
    """Clause D1."""
    if value is None:
        return "N"
    return f"{'T' if isinstance(value, str) else 'I'}{len(str(value).encode())}:{value}"


def reference(rows: Sequence[Row]) -> tuple[str, dict[str, str]]:
    """Clauses D2 to D5: the root and the digests of the buckets."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(sha(cell(row[0]))[:2], []).append(sha("".join(map(cell, row))))
    buckets = {name: sha("".join(f"{leaf}\n" for leaf in sorted(held))) for name, held in found.items()}
    return sha("".join(f"{name} {buckets[name]}\n" for name in sorted(buckets))), buckets


def test_a_row_is_its_cells_with_tag_and_length() -> None:
    """Clauses D1 and D2 give these texts, by hand: lengths in bytes, N for NULL, T0: for empty text."""
    coded = encode(frame(EXAMPLE), COLUMNS)

    assert coded.to_list() == list(map(encode_cells, EXAMPLE))
    assert coded.to_list() == [
        "T1:1T6:张三I5:12345",
        "T1:2T0:I2:-1",
        "T1:3NN",
        "T2:40T4:a:b\nI1:0",
    ]


def test_a_leaf_lies_in_the_bucket_of_its_key() -> None:
    """Clause D3: the bucket is the first two hex digits of the hash of the key, the leaf that of the row."""
    found = leaves(frame(EXAMPLE[:1]), COLUMNS, KEY)

    assert found.rows() == [
        (
            hashlib.sha256(b"T1:1").hexdigest()[:2],
            hashlib.sha256("T1:1T6:张三I5:12345".encode()).hexdigest(),
        )
    ]


def test_a_tree_of_one_row_is_two_hashes_above_its_leaf() -> None:
    """Clauses D4 and D5 written out for a single row give the root."""
    leaf = sha("T1:1T6:张三I5:12345")
    bucket = sha("T1:1")[:2]

    found = of(EXAMPLE[:1])

    assert found == Digest(1, sha(f"{bucket} {sha(leaf + chr(10))}\n"), {bucket: sha(f"{leaf}\n")})


@bounded
@given(tables)
def test_any_table_has_the_digest_of_the_specification(rows: list[Row]) -> None:
    """Root, buckets and count of any table are those of the clauses."""
    found = of(rows)

    assert (found.root, found.buckets) == reference(rows)
    assert found.rows == len(rows)


def test_a_bucket_of_many_rows_is_sorted_by_leaf() -> None:
    """Rows that share a bucket are hashed in the order of their leaves, whatever their keys."""
    rows: list[Row] = [(str(n), None, n) for n in range(4000)]

    found = of(rows)

    assert (found.root, found.buckets) == reference(rows)
    assert len(found.buckets) == 256


def test_no_rows_have_the_hash_of_nothing() -> None:
    """No frame, and a frame without rows, both have SHA-256 of nothing as root and no bucket."""
    nothing = Digest(0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", {})

    assert digest([], COLUMNS, KEY) == nothing
    assert of([]) == nothing


@bounded
@given(tables.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))), st.integers(0, 12))
def test_order_and_blocks_say_nothing(tables: tuple[list[Row], list[Row]], cut: int) -> None:
    """The same rows in another order, in one block or two, have the same digest."""
    rows, shuffled = tables

    parts = [frame(shuffled[:cut]), frame(shuffled[cut:])]

    assert digest(parts, COLUMNS, KEY) == of(rows)


def test_nothing_and_empty_text_differ() -> None:
    """NULL and the empty text give different roots."""
    assert of([("1", None, 1)]).root != of([("1", "", 1)]).root


def test_text_does_not_flow_from_one_cell_into_the_next() -> None:
    """Cells that read the same when put together give different roots."""
    assert of([("1", "2T1:3", 1)]).root != of([("1T5:2", "3", 1)]).root
    assert of([("12", "3", 1)]).root != of([("1", "23", 1)]).root


@bounded
@given(tables.filter(bool), st.data())
def test_one_changed_cell_changes_its_bucket_and_the_root(rows: list[Row], data: st.DataObject) -> None:
    """A changed cell outside the key is seen in the root and in exactly the bucket of its row."""
    at = data.draw(st.integers(0, len(rows) - 1))
    fresh = data.draw(cells.filter(lambda c: c != rows[at][1:]))

    before, after = of(rows), of([*rows[:at], (rows[at][0], *fresh), *rows[at + 1 :]])

    assert after.root != before.root
    assert before.differing(after) == (sha(cell(rows[at][0]))[:2],)


@bounded
@given(tables.filter(bool))
def test_a_missing_row_changes_the_root(rows: list[Row]) -> None:
    """A table without its last row has another root."""
    assert of(rows[:-1]).root != of(rows).root


@bounded
@given(tables.filter(bool), st.data())
def test_a_row_and_its_path_give_the_root(rows: list[Row], data: st.DataObject) -> None:
    """Clause D6: every row of every table leads by its own path to the root of all rows."""
    at = data.draw(st.integers(0, len(rows) - 1))

    way = path(frame(rows), COLUMNS, KEY, at)

    assert root_from_path(rows[at], [0], way) == of(rows).root


@bounded
@given(tables.filter(bool), st.data())
def test_a_path_holds_hashes_alone(rows: list[Row], data: st.DataObject) -> None:
    """A path is the row hashes of one bucket and the digests of the others: each row is in it once, as a hash."""
    at = data.draw(st.integers(0, len(rows) - 1))

    way = path(frame(rows), COLUMNS, KEY, at)

    held = {
        sha("".join(map(cell, row))) for row in rows if sha(cell(row[0]))[:2] == sha(cell(rows[at][0]))[:2]
    }
    assert set(way.leaves) == held
    assert way.buckets.keys() == of(rows).buckets.keys() - {sha(cell(rows[at][0]))[:2]}


@bounded
@given(tables.filter(bool), st.data())
def test_another_row_has_no_way_to_the_root(rows: list[Row], data: st.DataObject) -> None:
    """A row with any other cell does not lead to the root by that path."""
    at = data.draw(st.integers(0, len(rows) - 1))
    fresh = data.draw(cells.filter(lambda c: c != rows[at][1:]))

    way = path(frame(rows), COLUMNS, KEY, at)

    with pytest.raises(ValueError, match="expected the row among"):
        root_from_path((rows[at][0], *fresh), [0], way)


def test_a_path_that_is_changed_leads_elsewhere() -> None:
    """Another leaf beside the row, one left out, or another bucket's digest, each gives another root or none."""
    rows: list[Row] = [(str(n), None, n) for n in range(600)]
    way, root = path(frame(rows), COLUMNS, KEY, 7), of(rows).root
    name = next(iter(way.buckets))
    mine = sha("".join(map(cell, rows[7])))

    altered = [
        RowPath((*way.leaves, sha("")), way.buckets),
        RowPath((mine,), way.buckets),
        RowPath(way.leaves, {**way.buckets, name: sha("")}),
        RowPath(way.leaves, {n: d for n, d in way.buckets.items() if n != name}),
    ]

    assert len(way.leaves) > 1
    assert root not in {root_from_path(rows[7], [0], one) for one in altered}
    with pytest.raises(ValueError, match="all buckets but"):
        root_from_path(rows[7], [0], RowPath(way.leaves, of(rows).buckets))


def test_a_library_is_one_word_in_order_of_its_tables() -> None:
    """The digest of a library is that of its tables' lines, sorted by table."""
    assert digest_of_tables([("b", 2, "y"), ("a", 1, "x")]) == sha("a 1 x\nb 2 y\n")


def test_many_rows_are_digested_in_parts_as_a_few_are_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root and buckets are the same whether the rows are taken at once or a sixteenth at a time."""
    rows: list[Row] = [(str(number), "名", number) for number in range(500)]
    at_once = of(rows)

    monkeypatch.setattr(digests, "_AT_ONCE_ROWS", 100)

    assert of(rows) == at_once
    assert (at_once.root, at_once.buckets) == reference(rows)
