"""A date is a day of the calendar, however its column writes it; anything else is a finding."""

from __future__ import annotations

import polars as pl
import pytest

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
