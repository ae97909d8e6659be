"""A part meets the same rows of a table whether it is looked up or joined whole."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from jinbao.conversion.keyed import Keyed

keys = st.lists(st.sampled_from(["", "a", "b", "c", "d", "e", None]), max_size=12)


@given(keys, keys, st.booleans())
@settings(max_examples=200, deadline=None)
def test_near_holds_every_row_a_part_meets(
    rows: list[str | None], part: list[str | None], ordered: bool
) -> None:
    """Whatever is in the table, sorted or not, each row with a key of the part is there, in the table's order."""
    held = sorted(rows, key=lambda k: (k is not None, k or "")) if ordered else rows
    table = pl.DataFrame({"k": held, "n": range(len(held))}, schema={"k": pl.String, "n": pl.Int64})

    near = Keyed(table, "k").near(pl.Series(part, dtype=pl.String))

    numbers = near.get_column("n").to_list()
    assert {n for n, k in enumerate(held) if k in part and k is not None} <= set(numbers)
    assert numbers == sorted(numbers)


def test_a_small_part_of_a_large_table_meets_little() -> None:
    """What is looked at is of the size of the part, in a sorted table and in one that is not."""
    table = pl.DataFrame({"k": [f"{n:05d}" for n in range(10_000)]})
    part = pl.Series([f"{n:05d}" for n in range(500, 510)])

    for rows in (table, table.reverse()):
        assert Keyed(rows, "k").near(part).sort("k").get_column("k").to_list() == part.to_list()
