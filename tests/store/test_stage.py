"""What is staged is text and 64-bit integers, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest
import sqlalchemy as sa

from jinbao.model.errors import LocalError
from jinbao.store import copying
from jinbao.store.engine import Store

pytestmark = pytest.mark.database

TABLE = sa.Table(
    "amount",
    sa.MetaData(),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger),
)
SCHEMA = {"key": pl.String(), "value": pl.Int64()}


@pytest.fixture
def amounts(store: Store) -> Store:
    """A store with an empty table."""
    with store.writer.connect() as connection, connection.begin():
        TABLE.create(connection)
    return store


def load(store: Store, *frames: pl.DataFrame | Exception) -> None:
    """Stage frames and insert their rows; an exception among them is raised where it stands."""

    def blocks() -> Iterator[pl.DataFrame]:
        for frame in frames:
            if isinstance(frame, Exception):
                raise frame
            yield frame

    with store.staging():
        stage = store.stage(tuple(SCHEMA), blocks)
    with store.transaction(stage) as tx:
        tx.execute(TABLE.insert(), {"key": "before", "value": 0})
        rows = tx.staged(stage)
        chosen = sa.select(*(rows.c[c] for c in SCHEMA))
        tx.execute(TABLE.insert().from_select(list(SCHEMA), chosen))


def stored(store: Store) -> dict[str, int | None]:
    """All rows."""
    return {row["key"]: row["value"] for row in store.frame(sa.select(TABLE), SCHEMA).to_dicts()}


def frame(values: list[int | float | None], dtype: pl.DataType) -> pl.DataFrame:
    """Rows of these values under keys of their own."""
    keys = pl.Series("key", [str(n) for n in range(len(values))], dtype=pl.String())
    return pl.DataFrame({"key": keys, "value": pl.Series(values, dtype=dtype, strict=False)})


@pytest.mark.parametrize("dtype", [pl.Int8(), pl.UInt32(), pl.UInt64(), pl.Int128()], ids=str)
def test_integers_of_any_width_are_stored(amounts: Store, dtype: pl.DataType) -> None:
    """An integer column of another width is stored as the numbers it holds, and NULL as NULL."""
    load(amounts, frame([7, None], dtype))

    assert stored(amounts) == {"before": 0, "0": 7, "1": None}


@pytest.mark.parametrize("dtype", [pl.UInt64(), pl.Int128()], ids=str)
def test_a_number_out_of_range_stores_nothing(amounts: Store, dtype: pl.DataType) -> None:
    """A number beyond 64 bits is refused by column and count, without the number, and nothing is stored."""
    with pytest.raises(LocalError, match=r"column value: expected integers of 64 bits, got 1 beyond"):
        load(amounts, frame([1, 2**63], dtype))

    assert stored(amounts) == {}


@pytest.mark.parametrize("dtype", [pl.Float64(), pl.Boolean()], ids=str)
def test_another_type_is_refused(amounts: Store, dtype: pl.DataType) -> None:
    """A column that is neither text nor integers is refused by name and type; money is never a float."""
    with pytest.raises(LocalError, match="column value: expected text or 64-bit integers"):
        load(amounts, frame([1, 0], dtype))

    assert stored(amounts) == {}


def test_an_error_between_blocks_stores_nothing(amounts: Store) -> None:
    """Blocks that end in an error leave nothing of the blocks before, and the next transaction works."""
    many = frame(list(range(50_000)), pl.Int64())

    with pytest.raises(OSError, match="segment"):
        load(amounts, many, OSError("segment"))
    load(amounts, frame([1], pl.Int64()))

    assert stored(amounts) == {"before": 0, "0": 1}


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_refused_block_stores_nothing(amounts: Store) -> None:
    """Text the server refuses in the middle of a COPY ends the transaction as LocalError that quotes no row."""
    fine = frame(list(range(50_000)), pl.Int64())
    odd = pl.DataFrame({"key": ["张三\0丰"], "value": [1]}, schema=SCHEMA)

    with pytest.raises(LocalError, match="0x00") as caught:
        load(amounts, fine, odd, fine)
    load(amounts, frame([1], pl.Int64()))

    assert "张三" not in str(caught.value)
    assert stored(amounts) == {"before": 0, "0": 1}


def test_rows_are_read_in_bounded_blocks(amounts: Store) -> None:
    """Rows come out in blocks, each a part, together all of them; a reader that stops early leaves no file."""
    many = pl.DataFrame(
        {"key": [f"{n:0500}" for n in range(100_000)], "value": range(100_000)}, schema=SCHEMA
    )
    load(amounts, many)
    query = sa.select(TABLE).where(TABLE.c.key != "before")

    blocks = list(amounts.frames(query, SCHEMA))
    early = amounts.frames(query, SCHEMA)
    next(early)
    early.close()  # type: ignore[attr-defined]  # a generator, whoever made it

    assert len(blocks) > 1
    assert pl.concat(blocks).sort("key").equals(many)
    assert list(amounts._stage_directory.iterdir()) == []


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "csv"])
def test_every_text_and_number_arrives_by_either_copy(
    amounts: Store, monkeypatch: pytest.MonkeyPatch, binary: bool
) -> None:
    """NULL, empty and odd texts and the ends of the range are stored as they are, with the encoder and without it."""
    monkeypatch.setattr(copying, "has_encoder", lambda: binary)
    keys = ["", "\\N", "\\.", 'a"b', "a,b", "a\nb", "a\r\nb", " a ", "NULL", "张三", "\t", "'"]
    values = [None, 0, -1, 2**63 - 1, -(2**63), *range(7)]

    load(amounts, pl.DataFrame({"key": keys, "value": values}, schema=SCHEMA))

    assert stored(amounts) == {"before": 0, **dict(zip(keys, values, strict=True))}


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "csv"])
def test_an_absent_text_is_not_an_empty_one(
    store: Store, monkeypatch: pytest.MonkeyPatch, binary: bool
) -> None:
    """A table of one text column keeps NULL and the empty text apart, and the server's end mark is a text."""
    monkeypatch.setattr(copying, "has_encoder", lambda: binary)
    said: list[str | None] = []

    with store.staging():
        stage = store.stage(("key",), lambda: iter([pl.DataFrame({"key": [None, "", "\\.", "x"]})]))
    with store.transaction(stage) as tx:
        said = [row.key for row in tx.execute(sa.select(tx.staged(stage).c["key"]))]

    assert sorted(said, key=str) == ["", None, "\\.", "x"]
