"""Whatever on the shelf or in the journal is not what was written is named, and only that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.journal.parts import EXCHANGE, LIBRARY, Journal, open_journal

from jinbao.journal.ledger import act_hash
from jinbao.journal.tables import ACT, HEADER, MARK, STREAM
from jinbao.journal.verify import verify_journal, verify_segments
from jinbao.model import acts

ACTS = 6


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    """Three accepted batches with a segment each; every test leaves it as it was."""
    opened = open_journal(tmp_path_factory.mktemp("journal"))
    opened.ledger.record(acts.created(EXCHANGE, "b" * 32))
    for number in range(3):
        opened.put(LIBRARY, [opened.segment(*range(200 * (number + 1)))])
    opened.ledger.record(acts.paused(EXCHANGE, "a cable"), acts.resumed(EXCHANGE))
    yield opened
    opened.store.close()


def files(journal: Journal) -> list[Path]:
    """The segment files, by size."""
    return sorted(map(journal.shelf.path, journal.shelf.stored()), key=lambda path: path.stat().st_size)


def found(journal: Journal) -> list[tuple[str, str]]:
    """Thing and kind of each damage."""
    return [(damage.thing, damage.kind) for damage in verify_journal(journal.store, journal.shelf)]


def test_an_untouched_journal_is_whole(filled: Journal) -> None:
    """A journal nobody touched has no damage."""
    assert found(filled) == []
    assert len(files(filled)) == 3


@pytest.mark.fault_row(13)
@settings(max_examples=40, deadline=None)
@given(which=st.integers(0, 2), place=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_named(filled: Journal, which: int, place: int, bit: int) -> None:
    """One flipped bit anywhere in a segment is named as that segment altered."""
    path = files(filled)[which]
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[place % len(content)] ^= 1 << bit

    path.write_bytes(flipped)
    damage = found(filled)
    path.write_bytes(content)

    assert damage == [(f"segment {path.stem}", "altered")]


@pytest.mark.fault_row(14)
@settings(max_examples=20, deadline=None)
@given(which=st.integers(0, 2), kept=st.integers(0))
def test_a_truncated_file_is_named(filled: Journal, which: int, kept: int) -> None:
    """A segment shorter by any number of bytes is named as truncated."""
    path = files(filled)[which]
    content = path.read_bytes()

    path.write_bytes(content[: kept % len(content)])
    damage = found(filled)
    path.write_bytes(content)

    assert damage == [(f"segment {path.stem}", "truncated")]


@pytest.mark.fault_row(15)
def test_two_swapped_files_are_named(filled: Journal) -> None:
    """Two segments under each other's names are both named as swapped, whatever their sizes."""
    small, large = files(filled)[0], files(filled)[-1]
    contents = small.read_bytes(), large.read_bytes()

    small.write_bytes(contents[1])
    large.write_bytes(contents[0])
    damage = found(filled)
    small.write_bytes(contents[0])
    large.write_bytes(contents[1])

    assert sorted(damage) == sorted((f"segment {path.stem}", "swapped") for path in (small, large))


@pytest.mark.fault_row(14)
def test_a_missing_file_is_named(filled: Journal) -> None:
    """A segment that a header names and the shelf has not is named as missing."""
    path = files(filled)[1]
    content = path.read_bytes()

    path.unlink()
    damage = found(filled)
    path.write_bytes(content)

    assert damage == [(f"segment {path.stem}", "missing")]


@pytest.mark.parametrize("name", ["ab/notes.parquet", "notes.txt", "ab/" + "c" * 64 + ".parquet"])
def test_a_stray_file_is_named(filled: Journal, name: str) -> None:
    """A file where no segment can lie is named as a stray, and is not listed as a segment."""
    path = filled.shelf.root / name
    path.parent.mkdir(exist_ok=True)
    before = list(filled.shelf.stored())

    path.write_bytes(b"not ours")
    damage, listed = found(filled), list(filled.shelf.stored())
    path.unlink()

    assert damage == [(f"file {name}", "stray")]
    assert listed == before


def test_damage_says_what_was_expected(filled: Journal) -> None:
    """The detail of a damage has the number of bytes that were written and that were found."""
    path = files(filled)[0]
    content = path.read_bytes()

    path.write_bytes(content[:10])
    (damage,) = verify_segments(filled.store, filled.shelf)
    path.write_bytes(content)

    assert damage.detail == f"expected {len(content)} bytes, got 10"


@pytest.mark.fault_row(13)
@pytest.mark.parametrize("lsn", range(1, ACTS + 1))
@pytest.mark.parametrize("column", ["body", "kind", "at"])
def test_a_changed_act_is_named_by_its_place(filled: Journal, lsn: int, column: str) -> None:
    """An act whose body, kind or time was changed is named, and no other."""
    with filled.store.transaction() as tx:
        row = tx.execute(sa.select(ACT).where(ACT.c.lsn == lsn)).mappings().one()
        tx.execute(ACT.update().where(ACT.c.lsn == lsn), {column: f"{row[column]} "})

    damage = found(filled)
    with filled.store.transaction() as tx:
        tx.execute(ACT.update().where(ACT.c.lsn == lsn), {column: row[column]})

    assert damage == [(f"act {lsn}", "altered")]


def test_a_forged_hash_is_named_by_the_next_act(filled: Journal) -> None:
    """An act changed together with its own hash is betrayed by the act after it."""
    with filled.store.transaction() as tx:
        row = tx.execute(sa.select(ACT).where(ACT.c.lsn == 2)).one()
        forged = act_hash(row.previous, row.lsn, row.kind, "{}", row.at)
        tx.execute(ACT.update().where(ACT.c.lsn == 2), {"body": "{}", "hash": forged})

    damage = found(filled)
    with filled.store.transaction() as tx:
        tx.execute(ACT.update().where(ACT.c.lsn == 2), {"body": row.body, "hash": row.hash})

    assert damage == [("act 3", "altered")]


@pytest.mark.parametrize("lsn", range(1, ACTS))
def test_a_removed_act_is_named_by_its_place(filled: Journal, lsn: int) -> None:
    """An act that was taken out from before another is named as missing."""
    with filled.store.transaction() as tx:
        row = dict(tx.execute(sa.select(ACT).where(ACT.c.lsn == lsn)).mappings().one())
        tx.execute(ACT.delete().where(ACT.c.lsn == lsn))

    damage = found(filled)
    with filled.store.transaction() as tx:
        tx.execute(ACT.insert(), row)

    assert damage == [(f"act {lsn}", "missing")]


@pytest.mark.fault_row(13)
@pytest.mark.parametrize("envelope", ["one byte", "another header", "no envelope", "no JSON", "no base64"])
def test_a_changed_header_is_named(filled: Journal, envelope: str) -> None:
    """A header with another envelope than it was accepted with is named by stream and seq, and no other."""
    place = HEADER.c.seq == 2
    with filled.store.transaction() as tx:
        texts = {r.seq: r.envelope for r in tx.execute(sa.select(HEADER.c.seq, HEADER.c.envelope))}
        body = json.loads(texts[2])
        text = {
            "one byte": json.dumps(body | {"payload": "A" + body["payload"][1:]}),
            "another header": texts[1],
            "no envelope": "{}",
            "no JSON": texts[2][:-1],
            "no base64": json.dumps(body | {"payload": "A"}),
        }[envelope]
        tx.execute(HEADER.update().where(place), {"envelope": text})

    damage = found(filled)
    with filled.store.transaction() as tx:
        tx.execute(HEADER.update().where(place), {"envelope": texts[2]})

    assert damage == [(f"header {LIBRARY}#2", "altered")]


def test_a_removed_header_is_named_by_the_next(filled: Journal) -> None:
    """A header taken out of the middle of its stream is betrayed by the one after it."""
    with filled.store.transaction() as tx:
        row = dict(tx.execute(sa.select(HEADER).where(HEADER.c.seq == 2)).mappings().one())
        tx.execute(HEADER.delete().where(HEADER.c.seq == 2))

    damage = found(filled)
    with filled.store.transaction() as tx:
        tx.execute(HEADER.insert(), row)

    assert damage == [(f"header {LIBRARY}#3", "missing")]


@pytest.mark.fault_row(13)
@pytest.mark.parametrize("table", [MARK, STREAM], ids=["mark", "stream"])
@pytest.mark.parametrize(
    "change", [{"seq": 2}, {"head": "0" * 64}, {"epoch": 7}, {"incarnation": "c" * 32}, {"lsn": 1}]
)
def test_a_mark_that_points_to_nothing_is_named(
    filled: Journal, table: sa.Table, change: dict[str, object]
) -> None:
    """A mark, or a stream's newest place, that is not the batch it points to is named by its stream, and nothing else."""
    mine = table.c.stream == str(LIBRARY)
    with filled.store.transaction() as tx:
        row = dict(tx.execute(sa.select(table).where(mine)).mappings().one())
        tx.execute(table.update().where(mine), change)

    damage = found(filled)
    with filled.store.transaction() as tx:
        tx.execute(table.update().where(mine), {name: row[name] for name in change})

    what = "mark" if table is MARK else "stream"
    assert damage == [(f"{what} of {LIBRARY}", "altered")]


def test_a_re_based_mark_is_none_that_was_altered(journal: Journal) -> None:
    """A mark an operator set before a batch that is not here points to the act that set it."""
    journal.ledger.record(acts.created(EXCHANGE, "b" * 32))
    journal.ledger.record(acts.rebased(LIBRARY, "d" * 32, 1, 9, "9" * 64, "the city was created anew"))

    assert found(journal) == []
