"""Amounts are exact, and one that is none stops neither its library nor vanishes."""

from __future__ import annotations

import polars as pl
import pytest

from jinbao.conversion.values import NOT_A_NUMBER, convert_texts
from jinbao.model.standard import Item, ItemType


@pytest.mark.parametrize(
    ("text", "value", "wrong"),
    [
        ("1.23", 123, False),
        ("-5.00", -500, False),
        ("7.1000", 710, False),
        ("1.235", None, True),
        ("1.2300000004", None, True),
        ("1" * 31, None, True),
        ("1e30", None, True),
        ("abc", None, True),
    ],
    ids=["cents", "negative", "zeros", "three decimals", "ten decimals", "31 digits", "exponent", "letters"],
)
def test_an_amount_is_exact_or_a_finding(text: str, value: int | None, *, wrong: bool) -> None:
    """Nothing is rounded, and no length of text raises."""
    item = Item("AAE180", "基数", "base", ItemType.AMOUNT, 10, 2)

    found = convert_texts(item, pl.Series([text]), {})

    assert found.rule == NOT_A_NUMBER
    assert found.values.to_list() == [value]
    assert (found.wrong is not None) is wrong
