"""Applied submissions give the rows a plain dictionary gives, each with its origin and the submission it came by."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.library.parts import PERSON, SCHEMA, STANDARD, Applied, Row, frame, stream_of

from jinbao.library.tables import METADATA, ORIGIN, SEQ, sql_table
from jinbao.model import acts
from jinbao.model.batch import Kind
from jinbao.model.errors import CorruptionError, LocalError
from jinbao.trust.digest import EMPTY_ROOT, digest

pytestmark = pytest.mark.database

_numbers = itertools.count(110001)

KEYS = st.sampled_from(["1", "2", "10", "张", "", " 1", "a|b"])
TEXTS = st.sampled_from(["张三", "", "NULL", "\\N", "\\.", 'a"b,\n c', "'", "é", "0012"]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6
)
ROWS = st.tuples(st.none() | TEXTS, st.none() | st.integers(-(2**63), 2**63 - 1))
SUBMISSIONS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.booleans(),
        st.dictionaries(KEYS, st.none() | ROWS, max_size=5),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=5,
)

Model = dict[str, tuple[Row, int]]


def fresh_origin() -> str:
    """A city that no other test speaks for."""
    return str(next(_numbers))


def cut(rows: Mapping[str, Row | None], slices: int) -> list[dict[str, Row | None]]:
    """The rows in so many parts; some may be empty."""
    pairs = list(rows.items())
    return [dict(pairs[at::slices]) for at in range(slices)]


def model_frame(model: Model) -> pl.DataFrame:
    """The model's rows as the standard's columns."""
    return frame({key: row for key, (row, _) in model.items()}).drop("op")


def stored(applied: Applied, origin: str) -> Model:
    """What the library holds of an origin, in the model's words."""
    found = applied.library.frame(STANDARD.library, PERSON.id, origin=origin)
    assert found.columns == [ORIGIN, *SCHEMA, SEQ]
    assert found.get_column(ORIGIN).unique().to_list() in ([], [origin])
    rows = {row["AAC001"]: ((row["AAC003"], row["AAE180"]), row[SEQ]) for row in found.to_dicts()}
    assert len(rows) == found.height
    return rows


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(submissions=SUBMISSIONS)
def test_rows_are_those_of_a_dictionary(
    applied: Applied, submissions: list[tuple[int, bool, dict[str, Row | None], int]]
) -> None:
    """Snapshots replace and changes upsert and delete one origin's rows; rows, counts, digests and seqs follow."""
    origins = [fresh_origin(), fresh_origin()]
    models: list[Model] = [{}, {}]

    for who, snapshot, rows, slices in submissions:
        kind = Kind.SNAPSHOT if snapshot else Kind.CHANGE
        seq = applied.apply(origins[who], kind, *cut(rows, slices))
        kept = {} if snapshot else {k: v for k, v in models[who].items() if k not in rows}
        models[who] = kept | {key: (row, seq) for key, row in rows.items() if row is not None}

    for origin, model in zip(origins, models, strict=True):
        assert stored(applied, origin) == model
        assert applied.library.origins(STANDARD.library, PERSON.id).get(origin, 0) == len(model)
        found = applied.library.digest(STANDARD.library, PERSON.id, origin)
        assert found == digest([model_frame(model)], PERSON.columns, PERSON.key)


def test_an_untouched_row_keeps_its_submission(applied: Applied) -> None:
    """A row says which submission last wrote it; a change of another row does not touch that."""
    origin = fresh_origin()
    first = applied.apply(origin, Kind.SNAPSHOT, {"1": ("张三", 1), "2": ("李四", 2)})

    second = applied.apply(origin, Kind.CHANGE, {"2": ("李四", 3)})

    assert stored(applied, origin) == {"1": (("张三", 1), first), "2": (("李四", 3), second)}


@pytest.mark.parametrize("size", [1, 5, 9, 20], ids=["few", "a third", "half", "all"])
def test_a_change_of_any_size_touches_the_keys_it_names(applied: Applied, size: int) -> None:
    """A change writes and deletes what it names and nothing else, be it of one row or of all there are."""
    origin = fresh_origin()
    rows: dict[str, Row | None] = {f"{n:02}": ("张三", n) for n in range(20)}
    first = applied.apply(origin, Kind.SNAPSHOT, rows)

    change: dict[str, Row | None] = {f"{n:02}": None if n % 2 else ("李四", -n) for n in range(size)}
    second = applied.apply(origin, Kind.CHANGE, change | {"99": ("新", 1), "98": None})

    kept = {key: (row, first) for key, row in rows.items() if row and key not in change}
    new = {key: (row, second) for key, row in change.items() if row}
    assert stored(applied, origin) == kept | new | {"99": (("新", 1), second)}


def test_a_key_deleted_and_written_is_written(applied: Applied) -> None:
    """A key that one submission both deletes and writes is there after it, be it a small change or a large one."""
    rows: dict[str, Row | None] = {f"{n:02}": ("张三", n) for n in range(20)}
    for others in ({}, rows):
        origin = fresh_origin()
        applied.apply(origin, Kind.SNAPSHOT, rows)

        applied.apply(origin, Kind.CHANGE, others | {"07": None}, {"07": ("李四", 1)} if not others else {})
        applied.apply(origin, Kind.CHANGE, {"07": ("李四", 1)}, {"07": None})

        assert stored(applied, origin)["07"][0] == ("李四", 1)


def test_an_origins_first_change_needs_no_snapshot(applied: Applied) -> None:
    """A change of an origin that has no rows writes its rows, and deletes nothing."""
    origin = fresh_origin()

    seq = applied.apply(origin, Kind.CHANGE, {"1": ("张三", 1), "2": None})

    assert stored(applied, origin) == {"1": (("张三", 1), seq)}


def test_tables_of_one_submission_are_replaced_together(applied: Applied) -> None:
    """A submission of two tables replaces both, and one that one table refuses replaces neither."""
    origin = fresh_origin()

    def submit(seq: int, person: dict[str, Row | None], other: dict[str, Row | None]) -> None:
        uses = []
        for table, rows in (("person", person), ("other", other)):
            sha256, size = applied.shelf.write(frame(rows))
            uses.append(acts.SegmentUse(seq, Kind.SNAPSHOT, table, sha256, len(rows), size))
        uses += uses[1:] if seq == 2 else []
        applied.seqs[origin] = seq
        applied._record(origin, seq, uses, "person")

    submit(1, {"1": ("张三", 1)}, {"1": ("张三", 1)})
    with pytest.raises(LocalError):
        submit(2, {"2": ("李四", 1), "3": ("王五", 1)}, {"2": ("李四", 1)})
    before = {t: d.rows for t, d in applied.library.digests(STANDARD.library, origin).items()}
    submit(3, {"2": ("李四", 1), "3": ("王五", 1)}, {"2": ("李四", 1), "3": ("王五", 1)})
    after = {t: d.rows for t, d in applied.library.digests(STANDARD.library, origin).items()}

    assert (before, after) == ({"person": 1, "other": 1}, {"person": 2, "other": 2})


def test_a_key_is_found_in_every_origin(applied: Applied) -> None:
    """Rows of one key are found in every origin that has it, and in no origin that does not."""
    origins = sorted(fresh_origin() for _ in range(3))
    for origin, key in zip(origins, ["k7", "k7", "k8"], strict=True):
        applied.apply(origin, Kind.SNAPSHOT, {key: ("张三", 1)})

    found = applied.library.frame(STANDARD.library, PERSON.id, key={"AAC001": "k7"})

    assert sorted(found.get_column(ORIGIN)) == origins[:2]


def test_one_table_of_a_library_is_not_another(applied: Applied) -> None:
    """A snapshot of one table leaves the rows of the library's other tables as they are."""
    origin = fresh_origin()
    applied.apply(origin, Kind.SNAPSHOT, {"1": ("张三", 1)})

    applied.apply(origin, Kind.SNAPSHOT, {"9": ("王五", 9)}, table="other")

    digests = applied.library.digests(STANDARD.library, origin)
    assert list(stored(applied, origin)) == ["1"]
    assert {table: found.rows for table, found in digests.items()} == {"person": 1, "other": 1}


def test_an_empty_snapshot_empties(applied: Applied) -> None:
    """After a snapshot without rows an origin has none, and the digest is that of nothing."""
    origin = fresh_origin()
    applied.apply(origin, Kind.SNAPSHOT, {"1": ("张三", 1)})

    applied.apply(origin, Kind.SNAPSHOT, {})

    found = applied.library.digest(STANDARD.library, PERSON.id, origin)
    assert (found.rows, found.root) == (0, EMPTY_ROOT)


@pytest.mark.parametrize("repeated", [{"1": ("张三", 1)}, {"1": ("李四", 2)}], ids=["same", "other"])
def test_a_key_twice_in_a_submission_applies_nothing(applied: Applied, repeated: dict[str, Row]) -> None:
    """Two rows of one key in a submission are refused by the database, and the rows before it stay."""
    origin = fresh_origin()
    applied.apply(origin, Kind.SNAPSHOT, {"1": ("张三", 0)})
    before = stored(applied, origin)

    with pytest.raises(LocalError):
        applied.apply(origin, Kind.CHANGE, {"1": ("张三", 1)}, repeated)

    assert stored(applied, origin) == before


def test_a_missing_segment_applies_nothing(applied: Applied) -> None:
    """A submission one of whose segments is gone changes no row and is not listed."""
    origin = fresh_origin()
    applied.apply(origin, Kind.SNAPSHOT, {"1": ("张三", 0)})
    before, listed = stored(applied, origin), len(applied.library.submissions())
    use = acts.SegmentUse(3, Kind.CHANGE, "person", "e" * 64, 1)

    with pytest.raises(CorruptionError, match="e" * 12):
        applied._record(origin, 3, [use], "person")

    assert stored(applied, origin) == before
    assert len(applied.library.submissions()) == listed


def test_submissions_are_listed_newest_first(applied: Applied) -> None:
    """Applied and refused submissions are listed newest first, each with its place, status and reason."""
    origin = fresh_origin()
    seq = applied.apply(origin, Kind.SNAPSHOT, {"1": ("张三", 0)}, {"2": ("李四", 1)})
    applied.ledger.record(acts.refused(stream_of(origin), seq + 1, seq + 2, "f" * 64, "an old standard"))

    refused, done, *_ = applied.library.submissions(STANDARD.library)

    assert (refused["status"], refused["reason"], refused["seq"]) == ("refused", "an old standard", seq + 2)
    assert (done["status"], done["first"], done["seq"], done["origin"]) == ("applied", 1, seq, origin)
    assert [use["rows"] for use in done["segments"]] == [1, 1]
    assert list(stored(applied, origin)) == ["1", "2"]


def test_a_frame_of_one_key_and_of_few_rows(applied: Applied) -> None:
    """A frame is of one origin, of one key, or the first rows by origin and key, as asked."""
    origin = fresh_origin()
    applied.apply(origin, Kind.SNAPSHOT, {str(n): (None, n) for n in range(5)})
    room = applied.library

    one = room.frame(STANDARD.library, PERSON.id, origin=origin, key={"AAC001": "3"})
    few = room.frame(STANDARD.library, PERSON.id, origin=origin, limit=2)

    assert one.get_column("AAE180").to_list() == [3]
    assert few.get_column("AAC001").to_list() == ["0", "1"]


def test_a_newer_standards_column_is_added(applied: Applied) -> None:
    """A column that a newer version of the standard brought is added to the table, empty in the rows there are."""
    from jinbao.library.room import LibraryProjection

    old = sql_table(STANDARD, STANDARD.table("other"))
    with applied.store.writer.connect() as connection, connection.begin():
        connection.exec_driver_sql(f'ALTER TABLE {old.name} DROP COLUMN "AAE180"')

    LibraryProjection({STANDARD.library: STANDARD}, applied.shelf).ensure(applied.store)

    with applied.store.read() as connection:
        columns = {column["name"] for column in sa.inspect(connection).get_columns(old.name)}
    assert columns == {column.name for column in old.columns}
    assert old.name not in METADATA.tables
