"""A date is a day of the calendar, however its column writes it; anything else is a finding."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinbao.conversion.values import NOT_A_DATE, convert_texts
from jinbao.model.standard import Item, ItemType

DAY = Item("AAC006", "出生日期", "date of birth", ItemType.DATE, 8)
MONTH = Item("AAE002", "所属期", "period", ItemType.MONTH, 6)


@pytest.mark.parametrize(
    ("item", "text", "value", "wrong"),
    [
        (DAY, "20230203", 20230203, False),
        (DAY, "2023-02-03", 20230203, False),
        (DAY, "2023-02-03 00:00:00", 20230203, False),
        (DAY, "2023-02-03T12:30:00.5", 20230203, False),
        (DAY, "20230230", None, True),
        (DAY, "2023-02-30", None, True),
        (DAY, "2023-2-3", None, True),
        (DAY, "03/02/2023", None, True),
        (DAY, "0", None, False),
        (MONTH, "202410", 202410, False),
        (MONTH, "2024-10", 202410, False),
        (MONTH, "2024-13", None, True),
    ],
)
def test_a_date_is_read_as_its_column_writes_it(
    item: Item, text: str, value: int | None, *, wrong: bool
) -> None:
    """Digits and what DATE columns give mean the same day; a day that does not exist is a finding."""
    found = convert_texts(item, pl.Series([text]), {})

    assert found.rule == NOT_A_DATE
    assert found.values.to_list() == [value]
    assert (found.wrong is not None) is wrong


@given(
    st.lists(st.integers(0, 99_999_999) | st.dates().map(lambda d: int(f"{d:%Y%m%d}")), max_size=8),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_digits_are_a_date_where_the_calendar_has_it(numbers: list[int], hyphens: bool) -> None:
    """Of any eight digits, with hyphens or without, exactly the days of the calendar are values; "no date" is NULL."""
    texts = [f"{n:08d}" for n in numbers]
    if hyphens:
        texts = [f"{t[:4]}-{t[4:6]}-{t[6:]}" for t in texts]

    found = convert_texts(DAY, pl.Series(texts, dtype=pl.String), {})

    wrong = found.wrong.to_list() if found.wrong is not None else [False] * len(numbers)
    for number, value, bad in zip(numbers, found.values, wrong, strict=True):
        if number in {0, 99_991_231}:
            assert (value, bad) == (None, False)
        elif number >= 10_000:  # the calendar of the library begins with year 1
            assert (value, bad) == ((number, False) if _is_day(number) else (None, True))


def _is_day(number: int) -> bool:
    try:
        date(number // 10_000, number // 100 % 100, number % 100)
    except ValueError:
        return False
    return True
