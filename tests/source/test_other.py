"""Databases without a columnar driver: rows through SQLAlchemy, in bounded blocks, into columns of text.

Promised for Oracle through oracledb: one `SET TRANSACTION READ ONLY` before the first read, which
is Oracle's one snapshot for all tables of a run and refuses writes (no flashback by SCN); NUMBER
arrives as an exact decimal and leaves as its plain digits; DATE leaves as `YYYY-MM-DD HH:MM:SS`;
CHAR keeps its padding; '' was stored as NULL by Oracle and leaves as NULL. The driver decodes text.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from tests.source import legacy
from tests.source.business import Desk, read
from tests.source.legacy import Server

from jinbao.model.errors import SourceError
from jinbao.source.reader import BATCH_ROWS, Source

PERSON = ("aac001", "aac003", "aac006", "aac040", "aac013")


def test_values_leave_as_plain_text() -> None:
    """Decimals keep their digits without an exponent, dates their time, CHAR its padding, and NULL stays NULL."""
    row = ("1", "王力  ", datetime(1980, 3, 3), Decimal("2800.10"), None)  # noqa: DTZ001  # as drivers give it
    tiny = ("2", "李明  ", None, Decimal("0.0000001"), Decimal("1E+8"))
    Server.serve("ac01", PERSON, [row, tiny])

    rows = read("legacy://", "AC01").rows()

    assert rows == [
        ("1", "王力  ", "1980-03-03 00:00:00", "2800.10", None),
        ("2", "李明  ", None, "0.0000001", "100000000"),
    ]


def test_integers_of_any_length_keep_their_digits() -> None:
    """A NUMBER of 38 digits leaves whole, as integer or as decimal."""
    long = 10**37 + 7
    Server.serve("ac01", ("aac001", "a", "b"), [("1", long, Decimal(long))])

    assert read("legacy://", "AC01").rows() == [("1", str(long), str(long))]


def test_rows_are_asked_for_in_blocks() -> None:
    """No more than BATCH_ROWS rows are fetched at once, and all rows arrive in their order."""
    count = 2 * BATCH_ROWS + 3
    Server.serve("ac01", ("aac001",), [(at,) for at in range(count)])

    with Source("county", "legacy://").snapshot() as snapshot:
        blocks = list(snapshot.batches(snapshot.tables()["AC01"]))

    assert [block.height for block in blocks] == [BATCH_ROWS, BATCH_ROWS, 3]
    assert max(Server.fetched) == BATCH_ROWS
    assert pl.concat(blocks).get_column("aac001").cast(pl.Int64).to_list() == list(range(count))


def test_a_table_is_captured_like_any_other(tmp_path: Path) -> None:
    """Names become those of the mapping, the catalogue's key is used, and a second run finds only what changed."""
    Server.serve("ac01", PERSON[:2], [("1", "王力"), ("2", "李明")])
    desk = Desk("legacy://", "AC01", tmp_path)
    first = desk.capture()
    Server.serve("ac01", PERSON[:2], [("1", "王力"), ("2", "李鸣")])

    second = desk.capture()

    assert (first.upserts, second.upserts, second.deletes) == (2, 1, 0)
    assert desk.changes is not None
    assert desk.changes.select("AAC001", "AAC003").rows() == [("2", "李鸣")]


def test_oracle_is_read_in_one_read_only_transaction() -> None:
    """Before anything is read, an Oracle connection is told that its transaction only reads."""
    Server.serve("ac01", PERSON[:2], [("1", "王力")])

    rows = read("oracle+stub://", "AC01").rows()

    assert rows == [("1", "王力")]
    assert Server.statements[0] == "SET TRANSACTION READ ONLY"
    assert Server.statements[1].endswith("FROM ac01")


def test_a_line_cut_in_mid_table_is_a_source_error() -> None:
    """A driver's error while rows are fetched names the source, in the driver's words."""
    Server.serve("ac01", ("aac001",), [(at,) for at in range(BATCH_ROWS + 1)], fails_after=BATCH_ROWS)

    with pytest.raises(SourceError, match="source county: expected a database that answers") as found:
        read("legacy://", "AC01")

    assert "end-of-file on communication channel" in str(found.value.got)


def test_a_driver_that_is_not_installed_is_named() -> None:
    """A URL whose driver is missing is an error that names the module and says to install it."""
    with pytest.raises(SourceError, match="expected a driver, got No module named 'olddb'; install it"):
        read("driverless://", "AC01")


def test_a_dialect_nobody_knows_is_a_source_error() -> None:
    """A URL of an unknown kind of database names the source and the kind."""
    with pytest.raises(SourceError, match=r"source county: .*nosuch"):
        read("nosuch://", "AC01")


def test_the_stub_never_hands_out_a_whole_table() -> None:
    """Asking the stub for all rows at once is a failure, so the tests above prove that nobody does."""
    with pytest.raises(AssertionError, match="all rows"):
        legacy.Cursor().fetchall()
