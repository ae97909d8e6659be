"""A table is compared with what was kept of it in bounded memory, and the result is that of holding everything."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.source.business import Desk, put_sqlite, run_sqlite

from jinbao.source import capture, known
from jinbao.source.capture import CaptureFiles

rows = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["", "1", "2"])), max_size=9)


def put(path: Path, content: list[tuple[str, str]]) -> None:
    """Let the table hold these rows and no others; a key may come twice."""
    run_sqlite(path, "DELETE FROM T")
    put_sqlite(path, "T", [{"K": key, "V": value} for key, value in content])


def change(path: Path, runs: Path, before: list[tuple[str, str]], after: list[tuple[str, str]]) -> object:
    """What a second run says and writes, without the names of its files."""
    url = run_sqlite(path, "CREATE TABLE IF NOT EXISTS T (K TEXT, V TEXT)")
    desk = Desk(url, "T", runs, "K")
    put(path, before)
    desk.capture()
    put(path, after)
    files: CaptureFiles = desk.capture()
    written = [] if desk.changes is None else sorted(desk.changes.select("op", "K", "V").rows())
    return (
        replace(files, current=None, changes=None, folded=None),
        written,
        sorted(desk.rows().select("K", "V").rows()),
    )


@settings(max_examples=40, deadline=None)
@given(rows, rows)
def test_shares_and_files_find_what_is_found_at_once(
    before: list[tuple[str, str]], after: list[tuple[str, str]]
) -> None:
    """By shares of a row or two, or through a file, rows, counts, findings and changes are the same."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        path = Path(name) / "c.db"
        at_once = change(path, Path(name) / "at-once", before, after)
        patch.setattr(known, "SHARE_ROWS", 2)
        patch.setattr(known, "_SLICE_ROWS", 2)
        by_shares = change(path, Path(name) / "shares", before, after)
        patch.setattr(capture, "KNOWN_ROWS_MAX", 0)
        through_file = change(path, Path(name) / "file", before, after)

    assert by_shares == at_once
    assert through_file == at_once


def test_a_capture_leaves_no_scratch_file(tmp_path: Path) -> None:
    """The keys a run has seen are gone when it ends, well or not."""
    url = run_sqlite(tmp_path / "c.db", "CREATE TABLE T (K TEXT, V TEXT)", "INSERT INTO T VALUES ('a', '1')")
    desk = Desk(url, "T", tmp_path / "runs", "K")

    desk.capture()
    run_sqlite(tmp_path / "c.db", "ALTER TABLE T RENAME COLUMN K TO L")
    with pytest.raises(Exception, match="column K"):
        desk.capture()

    assert not list((tmp_path / "runs").rglob("*.seen"))


_PEAK = """
import re, sys
from pathlib import Path
from tests.source.business import run_sqlite
from jinbao.source.capture import capture_table, find_table
from jinbao.source.kept import Kept
from jinbao.source.reader import Source

directory, rows = Path(sys.argv[1]), int(sys.argv[2])
made = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
cells = ", ".join(f"hex(randomblob(60)) AS V{at}" for at in range(4))
url = run_sqlite(directory / "c.db", f"CREATE TABLE T AS {made} SELECT printf('%018d', i) AS K, {cells} FROM n")

def capture(previous):
    with Source("county", url).snapshot() as snapshot:
        shape = find_table(snapshot.tables(), "county", "T")
        return capture_table(snapshot, shape, ("K",), previous, directory)

base = capture(None).current.rename(directory / "base")
run_sqlite(directory / "c.db", "UPDATE T SET V1 = 'new' WHERE rowid % 100 = 1")
assert capture(Kept(base)).upserts == rows // 100
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def peak_mb(directory: Path, rows: int) -> int:
    """Most memory of a process that captured so many rows of 500 bytes, and then their change."""
    directory.mkdir()
    command = [sys.executable, "-c", _PEAK, str(directory), str(rows)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    return int(said.stdout) >> 10


def test_memory_does_not_follow_the_rows(tmp_path: Path) -> None:
    """Five times the rows take less than half of what these are larger by, in a first run and a change."""
    small, large = 200_000, 1_000_000

    more = peak_mb(tmp_path / "large", large) - peak_mb(tmp_path / "small", small)

    assert more < (large - small) * 500 / 2 / (1 << 20)
