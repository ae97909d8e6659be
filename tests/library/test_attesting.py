"""Attesting reads back what a change wrote, and comes to the digest of all rows there are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from tests.library.parts import PERSON, STANDARD, Applied, Row, stream_of
from tests.library.test_rows import SUBMISSIONS, Model, cut, model_frame

from jinbao.library.attesting import At, Attesting
from jinbao.library.tables import sql_table
from jinbao.model.batch import Kind
from jinbao.trust.digest import Digest, digest

pytestmark = pytest.mark.database

_numbers = itertools.count(210001)
DAY = timedelta(days=1)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2024, 11, 5, tzinfo=UTC)


class Reader:
    """Attests one origin of a library again and again, and counts what it read."""

    def __init__(self, applied: Applied, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.applied, self.clock, self.read = applied, Clock(), 0
        self.directory = directory / "attested"
        self.origin = str(next(_numbers))
        self.attesting = Attesting(
            applied.library, self.directory, lambda: self.clock.now, 7 * DAY, kept_rows=1
        )
        real = applied.library.blocks

        def blocks(
            library: str, table: str, origin: str, columns: Any, after: Any = None
        ) -> Iterator[pl.DataFrame]:
            for frame in real(library, table, origin, columns, after):
                self.read += frame.height if "AAE180" in frame.columns else 0
                yield frame

        monkeypatch.setattr(applied.library, "blocks", blocks)

    def digest(self, promised: tuple[int, str] | None = None) -> Digest:
        """The digest of the persons now, promised to be what it is unless told otherwise; `read` is of this alone."""
        seq = self.applied.seqs[self.origin]
        at = At(str(stream_of(self.origin)), seq, f"{seq:064x}")
        truth = self.applied.library.digest(STANDARD.library, PERSON.id, self.origin)
        self.read = 0
        said = {PERSON.id: promised or (truth.rows, truth.root)}
        return self.attesting.digests(STANDARD.library, self.origin, at, said)[PERSON.id]

    @property
    def files(self) -> list[Path]:
        """What is kept."""
        return sorted(self.directory.glob("*"))

    def change(self, key: str) -> Digest:
        """Apply a change of one row; returns what all rows come to then."""
        self.applied.apply(self.origin, Kind.CHANGE, {key: ("李四", 1)})
        return self.applied.library.digest(STANDARD.library, PERSON.id, self.origin)

    def keep(self, rows: pl.DataFrame, said: str = "") -> None:
        """Put other rows into the file, and other words about them if given."""
        known = pl.read_parquet_metadata(self.files[0])["jinbao"]
        rows.write_parquet(self.files[0], metadata={"jinbao": said or known})

    def alter(self) -> None:
        """Change a stored row past every rule."""
        table = sql_table(STANDARD, PERSON)
        with self.applied.store.writer.begin() as connection:
            connection.execute(
                table.update()
                .where(table.c["_origin"] == self.origin, table.c["AAC001"] == "02")
                .values(AAC003=sa.literal("伪造"))
            )


@pytest.fixture
def reader(applied: Applied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """A new origin's."""
    return Reader(applied, tmp_path, monkeypatch)


ROWS: dict[str, Row | None] = {f"{n:02}": ("张三", n) for n in range(20)}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(submissions=SUBMISSIONS)
def test_what_is_attested_is_what_all_rows_come_to(
    reader: Reader, submissions: list[tuple[int, bool, dict[str, Row | None], int]]
) -> None:
    """After any snapshots and changes, attested each or several at once, digest, rows and buckets are those of all rows."""
    reader.origin = str(next(_numbers))
    model: Model = {}
    for attest, snapshot, rows, slices in submissions:
        seq = reader.applied.apply(
            reader.origin, Kind.SNAPSHOT if snapshot else Kind.CHANGE, *cut(rows, slices)
        )
        kept = {} if snapshot else {k: v for k, v in model.items() if k not in rows}
        model = kept | {key: (row, seq) for key, row in rows.items() if row is not None}
        if attest:
            assert reader.digest() == digest([model_frame(model)], PERSON.columns, PERSON.key)

    assert reader.digest() == digest([model_frame(model)], PERSON.columns, PERSON.key)


def test_a_change_reads_back_what_it_wrote(reader: Reader) -> None:
    """After a first look at all rows, a change of two of twenty reads those two; a snapshot reads all again."""
    reader.applied.apply(reader.origin, Kind.SNAPSHOT, ROWS)
    reader.digest()
    assert reader.read == len(ROWS)

    reader.applied.apply(reader.origin, Kind.CHANGE, {"03": ("李四", 1), "04": None, "99": ("新", 1)})
    found = reader.digest()
    assert (reader.read, found.rows) == (2, len(ROWS))

    reader.applied.apply(reader.origin, Kind.SNAPSHOT, ROWS)
    reader.digest()
    assert reader.read == len(ROWS)


def test_the_same_submission_again_reads_all_rows(reader: Reader) -> None:
    """What was attested and is to be attested again, as after a restore, is read whole: a file proves no database."""
    reader.applied.apply(reader.origin, Kind.SNAPSHOT, ROWS)
    before = reader.digest()
    reader.alter()

    found = reader.digest((before.rows, before.root))

    assert reader.read == len(ROWS)
    assert found.root != before.root


def test_what_is_kept_is_believed_for_its_days_alone(reader: Reader) -> None:
    """A row altered behind the zone's back is found, at the latest, by the first change after the stated days."""
    reader.applied.apply(reader.origin, Kind.SNAPSHOT, ROWS)
    reader.digest()
    truth = reader.change("03")
    reader.alter()

    reader.clock.now += 7 * DAY
    assert reader.digest((truth.rows, truth.root)) == truth
    reader.clock.now += DAY
    reader.change("03")
    found = reader.digest()

    assert reader.read == len(ROWS)
    assert found.differing(truth) != ()


def test_what_is_not_as_promised_is_read_whole_before_it_is_told(reader: Reader) -> None:
    """Where the leaves kept do not come to what was promised, all rows are read, and what they say is told."""
    reader.applied.apply(reader.origin, Kind.SNAPSHOT, ROWS)
    reader.digest()
    reader.keep(pl.read_parquet(reader.files[0]).with_columns(pl.col("leaf").reverse()))
    truth = reader.change("03")

    assert reader.digest() == truth
    assert reader.read == 1 + len(ROWS)
    truth = reader.change("04")
    assert reader.digest(promised=(20, "0" * 64)) == truth
    assert reader.read == 1 + len(ROWS)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 999], ids=["empty", "cut", "other"])
def test_a_file_that_cannot_be_read_is_none(reader: Reader, content: bytes) -> None:
    """A file a power loss tore is passed over: all rows are read, and it is written anew."""
    reader.applied.apply(reader.origin, Kind.SNAPSHOT, ROWS)
    reader.digest()
    reader.files[0].write_bytes(content)

    truth = reader.change("03")
    assert reader.digest() == truth
    assert reader.read == len(ROWS)
    truth = reader.change("04")
    assert reader.digest() == truth
    assert reader.read == 1


def test_what_was_kept_of_another_history_is_not_believed(reader: Reader) -> None:
    """A file made at a submission this database never applied, as after a restore, is passed over."""
    reader.applied.apply(reader.origin, Kind.SNAPSHOT, ROWS)
    reader.digest()
    said = pl.read_parquet_metadata(reader.files[0])["jinbao"]
    other = said.replace("00000000", "ffffffff", 1)
    assert other != said
    reader.keep(pl.read_parquet(reader.files[0]), other)

    truth = reader.change("03")
    assert reader.digest() == truth
    assert reader.read == len(ROWS)


def test_a_small_table_keeps_nothing(applied: Applied, tmp_path: Path) -> None:
    """Below some rows all are read each time, and no file is made."""
    origin = str(next(_numbers))
    seq = applied.apply(origin, Kind.SNAPSHOT, ROWS)
    attesting = Attesting(applied.library, tmp_path / "attested", lambda: datetime.now(UTC), DAY)

    attesting.digests(STANDARD.library, origin, At(str(stream_of(origin)), seq, f"{seq:064x}"), {})

    assert not (tmp_path / "attested").exists()
