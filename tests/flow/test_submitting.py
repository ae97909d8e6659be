"""A table that is sealed a few lines at a time has the lines, digest, totals and segments of one sealed at once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from tests.flow.test_comparing import SCHEMA, TABLE, Content, bounded, contents, rows
from tests.sim.order import OneByOne

from jinbao.flow import submitting
from jinbao.flow.ports import JudgedPart
from jinbao.flow.submitting import Before, TableSubmission
from jinbao.journal import growing
from jinbao.journal.segments import SegmentShelf
from jinbao.model.acts import ConvertedTable
from jinbao.model.errors import SpaceError
from jinbao.store.files import Files
from jinbao.trust.digest import digest

NOTHING = pl.DataFrame()


@pytest.fixture(autouse=True)
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lines are read, held and digested at once."""
    monkeypatch.setattr(submitting, "LINES_ROWS", 2)
    monkeypatch.setattr(submitting, "SHARE_ROWS", 2)
    monkeypatch.setattr(growing, "GROUP_ROWS", 2)


def sealed(
    shelf: SegmentShelf, content: Content, before: Before | None = None, affected: list[str] | None = None
) -> tuple[ConvertedTable, TableSubmission]:
    """A table submitted in parts of three rows, only the affected ones judged."""
    keys = None if affected is None else pl.Series("key", affected, pl.String)
    judged = {k: v for k, v in content.items() if affected is None or k in affected}
    with shelf.growing() as lines:
        submission = TableSubmission(TABLE, before, shelf, 3, lines=lines, beside=OneByOne(), affected=keys)
        for part in rows(judged).iter_slices(3) if judged else [rows({})]:
            submission.add(JudgedPart(part.height, 0, part, NOTHING, NOTHING))
        submission.end()
        return submission.kept(), submission


@bounded
@given(contents, contents)
def test_lines_of_two_days_are_those_of_the_second_alone(old: Content, new: Content) -> None:
    """Lines taken over and lines made anew digest to the rows of now, and what is kept holds each key once."""
    with tempfile.TemporaryDirectory() as name:
        shelf = SegmentShelf(Path(name) / "segments", Files())
        first, _ = sealed(shelf, old)
        affected = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))

        second, submission = sealed(shelf, new, Before(first.sha256, first.digest), affected)

        expected = digest([rows(new)], TABLE.columns, TABLE.key)
        assert (second.rows, second.digest, submission.passed) == (len(new), expected.root, len(new))
        assert sorted(shelf.read(second.sha256).get_column("AAC001")) == sorted(new)
        sent = [shelf.read(one.sha256) for one in submission.segments]
        assert sorted(key for part in sent for key in part.get_column("AAC001")) == affected
        assert not list(shelf.incoming.iterdir())


def test_a_full_disk_leaves_no_half_written_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that find no room are SpaceError, and nothing of them stays."""
    shelf = SegmentShelf(tmp_path / "segments", Files())
    part = pl.DataFrame({"AAC001": ["a", "b"]}, schema={"AAC001": SCHEMA["AAC001"]})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with shelf.growing() as lines:
        lines.add(part)
        monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
        with pytest.raises(SpaceError):
            lines.add(part)

    assert not list(shelf.incoming.iterdir())
