"""Check digits over columns: GB 11643, GB 11714, GB 32100."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinbao.quality.numbers import citizen_id_ok, organisation_code_ok

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def with_check(body: str) -> str:
    """A number of 17 digits with the check character of GB 11643."""
    rest = sum(int(digit) * weight for digit, weight in zip(body, WEIGHTS, strict=True)) % 11
    return body + "10X98765432"[rest]


@settings(max_examples=60)
@given(st.lists(st.from_regex(r"1423[0-9]{13}", fullmatch=True), max_size=20))
def test_a_right_check_character_is_right_wherever_it_stands(bodies: list[str]) -> None:
    """A column of right numbers, NULLs between them, is right at every number and nowhere else."""
    texts = [text for body in bodies for text in (with_check(body), None)]

    judged = citizen_id_ok(pl.Series(texts, dtype=pl.String)).to_list()

    assert judged == [text is not None for text in texts]


@settings(max_examples=60)
@given(st.from_regex(r"14[0-9]{15}", fullmatch=True), st.integers(2, 16), st.integers(1, 9))
def test_one_altered_digit_is_always_found(body: str, place: int, by: int) -> None:
    """GB 11643 finds every single altered digit."""
    number = with_check(body)
    altered = number[:place] + str((int(number[place]) + by) % 10) + number[place + 1 :]

    judged = citizen_id_ok(pl.Series([number, altered])).to_list()

    assert judged == [True, False]


@pytest.mark.parametrize(
    "text",
    ["11010519491231002x", "中文中文中文", "", "11010519491231002", "001051949123100210"],
    ids=["small x", "18 bytes of Chinese", "empty", "17 digits", "no such province"],
)
def test_what_is_no_citizen_number_is_not_taken_for_one(text: str) -> None:
    """Conversion makes x large; the gate takes nothing but 18 right characters."""
    assert not citizen_id_ok(pl.Series([text])).item()


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("91350100M000100Y43", True),
        ("91350100M000100Y44", False),
        ("D2143569X", True),
        ("D21435691", False),
        ("D214-569X", False),
    ],
    ids=["credit code", "credit code, wrong check", "organisation code", "wrong check", "hyphen inside"],
)
def test_organisation_codes_of_both_standards_are_judged(text: str, *, right: bool) -> None:
    """GB 32100 (18 characters) and the examples of GB 11714 (9 characters)."""
    assert organisation_code_ok(pl.Series([text])).item() is right
