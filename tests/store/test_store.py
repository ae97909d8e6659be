"""The store keeps what is committed, forgets what is not, and moves columns unchanged."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest
import sqlalchemy as sa

from jinbao.model.errors import LocalError
from jinbao.store.engine import Store

TABLE = sa.Table(
    "person",
    sa.MetaData(),
    sa.Column("AAC001", sa.Text, primary_key=True),
    sa.Column("AAC003", sa.Text),
    sa.Column("AAE180", sa.BigInteger),
)
SCHEMA = {"AAC001": pl.String(), "AAC003": pl.String(), "AAE180": pl.Int64()}
PEOPLE = pl.DataFrame(
    {
        "AAC001": ["1", "2", "3", "4"],
        "AAC003": ["张三", "", None, 'a"b,\n c'],
        "AAE180": [123_45, -1, None, 2**62],
    },
    schema=SCHEMA,
)


@pytest.fixture
def people(store: Store) -> Store:
    """A store with an empty table."""
    with store.writer.connect() as connection, connection.begin():
        TABLE.create(connection)
    return store


def load(store: Store, *frames: pl.DataFrame) -> None:
    """Stage frames and insert them in one transaction."""

    def blocks() -> Iterator[pl.DataFrame]:
        yield from frames

    stage = store.stage(tuple(SCHEMA), blocks)
    with store.transaction(stage) as tx:
        rows = tx.staged(stage)
        tx.execute(TABLE.insert().from_select(list(SCHEMA), sa.select(*(rows.c[c] for c in SCHEMA))))


def stored(store: Store) -> pl.DataFrame:
    """All rows, by key."""
    return store.frame(sa.select(TABLE).order_by(TABLE.c.AAC001), SCHEMA)


@pytest.mark.database
@pytest.mark.parametrize("text", ["a%b", "a%%b", "%s", "it's", "back\\slash", ":name"])
def test_rows_are_found_by_any_text(people: Store, text: str) -> None:
    """Whatever a text holds, the row that has it is found by it."""
    load(people, PEOPLE.head(1).with_columns(pl.lit(text).alias("AAC001")))

    found = people.frame(sa.select(TABLE).where(text == TABLE.c.AAC001), SCHEMA)

    assert found.get_column("AAC001").to_list() == [text]


@pytest.mark.database
def test_columns_come_back_as_they_went_in(people: Store) -> None:
    """NULL, empty text, quotes, line ends, Chinese and 63-bit integers survive stage and read-out."""
    load(people, PEOPLE.head(2), PEOPLE.tail(2))

    assert stored(people).equals(PEOPLE)


@pytest.mark.database
def test_a_failed_transaction_leaves_nothing(people: Store) -> None:
    """Rows of a transaction that ends in an error are not there, and the next one works."""

    def fail() -> None:
        with people.transaction() as tx:
            tx.execute(TABLE.insert(), {"AAC001": "9", "AAC003": None, "AAE180": 0})
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()

    load(people, PEOPLE)

    assert stored(people).height == PEOPLE.height


@pytest.mark.database
def test_a_database_refusal_is_a_local_error(people: Store) -> None:
    """A doubled key is refused as LocalError that names the database and stores nothing."""
    load(people, PEOPLE)

    with pytest.raises(LocalError, match="database"):
        load(people, PEOPLE)

    assert stored(people).height == PEOPLE.height


@pytest.mark.database
def test_a_reader_sees_one_view(people: Store) -> None:
    """A reading connection sees one view of what is committed while a writer goes on."""
    load(people, PEOPLE.head(1))
    with people.read() as connection:
        before = connection.execute(sa.select(sa.func.count()).select_from(TABLE)).scalar_one()
        load(people, PEOPLE.tail(3))
        after = connection.execute(sa.select(sa.func.count()).select_from(TABLE)).scalar_one()

    assert (before, after) == (1, 1)
