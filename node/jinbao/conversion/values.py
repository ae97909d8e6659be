"""Values: how the texts of a business column become the values of an item, and which of them cannot.

NULL, empty and blank text are all NULL of the standard; old systems do not tell them apart.
0 and 99991231 mean "no date" there. Texts in the form most systems write are read at once;
the others are looked at by their distinct values, so that a form costs once however often it
repeats. Nothing here raises for what a text holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from jinbao.model.standard import Item, ItemType

NOT_A_DATE, UNMAPPED, UNDECODED, NOT_A_NUMBER = "C-01", "C-02", "C-03", "C-04"
"""Findings of conversion: not a day or month, local code without a standard one, bytes kept raw, not a number."""

_NO_DATE = ("0", "00000000", "99991231", "999912")
_FULL_WIDTH = {chr(0xFF01 + at): chr(0x21 + at) for at in range(94)} | {"\u3000": " "}
_OLD_ID = r"^[0-9]{15}$"
_ID_ITEMS = frozenset({"AAC002"})
_CODE_ITEMS = frozenset({"AAB003"})
_USUAL_ID, _USUAL_CODE = r"^[0-9]{17}[0-9X]$", r"^[0-9A-Z]{9,18}$"
_TEXT, _VALUE, _WRONG = "text", "value", "wrong"


@dataclass(frozen=True)
class Converted:
    """One column: `values` as text or scaled integers, and which texts (`rule`) the item cannot be; None: none."""

    values: pl.Series
    rule: str = ""
    wrong: pl.Series | None = None


def convert_texts(item: Item, texts: pl.Series, codes: Mapping[str, str]) -> Converted:
    """The values of one item, row by row; `codes` translates local codes."""
    if item.type is ItemType.DATE:
        return _dates(item, texts)
    if item.type is ItemType.MONTH:
        return _by_distinct(texts, texts.is_not_null(), _date(item, _filled()), NOT_A_DATE, _nothing(texts))
    if not item.is_text:
        return _numbers(item, texts)
    if codes:
        return _by_distinct(texts, texts.is_not_null(), _code(_filled(), codes), UNMAPPED, texts)
    usual = _USUAL_ID if item.code in _ID_ITEMS else _USUAL_CODE if item.code in _CODE_ITEMS else ""
    if usual:
        odd = ~texts.str.contains(usual)
        return Converted(
            _by_distinct(
                texts, odd.fill_null(value=False), (_text(item, _filled()), pl.lit(value=False)), "", texts
            ).values
        )
    stripped = texts.str.strip_chars()
    return Converted(stripped.zip_with(stripped != "", _nothing(texts, pl.String())))  # NULL stays NULL


_Pair = tuple[pl.Expr, pl.Expr]
"""The value, and whether it is a finding."""


def _filled() -> pl.Expr:
    return pl.col(_TEXT).str.strip_chars().replace("", None)


def _nothing(texts: pl.Series, dtype: pl.DataType | None = None) -> pl.Series:
    return pl.Series([None], dtype=dtype or pl.Int64()).new_from_index(0, len(texts))


def _by_distinct(texts: pl.Series, odd: pl.Series, said: _Pair, rule: str, usual: pl.Series) -> Converted:
    """`usual` with the rows that are `odd` read by the two expressions, each distinct text once."""
    at = odd.arg_true()
    if at.is_empty():
        return Converted(usual, rule)
    asked = texts.gather(at).alias(_TEXT).to_frame()
    value, wrong = said
    answers = asked.unique().with_columns(value.alias(_VALUE), wrong.alias(_WRONG))
    found = asked.join(answers, on=_TEXT, how="left", maintain_order="left", nulls_equal=True)
    whole = len(at) == len(texts)
    values = found.get_column(_VALUE) if whole else usual.clone().scatter(at, found.get_column(_VALUE))
    bad = found.get_column(_WRONG).fill_null(value=False)
    if not bad.any():
        return Converted(values, rule)
    none = pl.Series([False]).new_from_index(0, len(texts))
    return Converted(values, rule, bad if whole else none.scatter(at, bad))


def _text(item: Item, filled: pl.Expr) -> pl.Expr:
    """Full-width letters, digits and spaces become plain ones; identifiers lose hyphens and small letters."""
    plain = filled.str.replace_many(_FULL_WIDTH)
    if item.code in _CODE_ITEMS:
        return plain.str.replace_all("-", "", literal=True).str.to_uppercase()
    plain = plain.str.strip_chars().str.to_uppercase()
    return pl.when(plain.str.contains(_OLD_ID)).then(_upgraded(plain)).otherwise(plain)


def _upgraded(old: pl.Expr) -> pl.Expr:
    """A 15-digit number with its century and the check character of GB 11643."""
    body = pl.concat_str(old.str.slice(0, 6), pl.lit("19"), old.str.slice(6, 9))
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total: pl.Expr = pl.lit(0)
    for at, weight in enumerate(weights):
        total += body.str.slice(at, 1).cast(pl.Int64, strict=False) * weight
    check = (total % 11).replace_strict(dict(enumerate("10X98765432")), default=None, return_dtype=pl.String)
    return pl.concat_str(body, check)


_DASHED = {
    ItemType.DATE: r"^([0-9]{4})-([0-9]{2})-([0-9]{2})([ T][0-9:.]+)?$",
    ItemType.MONTH: r"^([0-9]{4})-([0-9]{2})()$",
}


_USUAL_DATE = r"^(?:[0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2})$"
_FIRST_YEAR = 1000
_NEVER = 99991231


def _dates(item: Item, texts: pl.Series) -> Converted:
    """Eight digits, or with hyphens, of a day that exists: at once; by `_date` what is anything else."""
    is_usual = texts.str.contains(_USUAL_DATE)
    digits = texts.str.replace_all("-", "", literal=True)
    value = digits.zip_with(is_usual, _nothing(texts, pl.String())).cast(pl.Int64).alias(_VALUE)
    is_day = value.to_frame().select(_is_day(pl.col(_VALUE))).to_series()
    usual = value.zip_with(is_day, _nothing(texts))
    return _by_distinct(
        texts, texts.is_not_null() & usual.is_null(), _date(item, _filled()), NOT_A_DATE, usual
    )


def _is_day(value: pl.Expr) -> pl.Expr:
    """Whether YYYYMMDD is a day of the calendar, and none that means "no date"."""
    year, month, day = value // 10_000, value // 100 % 100, value % 100
    leap = ((year % 4 == 0) & (year % 100 != 0)) | (year % 400 == 0)
    short = (month == 4) | (month == 6) | (month == 9) | (month == 11)  # noqa: PLR2004  # months of thirty days
    last = pl.when(month == 2).then(28 + leap.cast(pl.Int64)).otherwise(31 - short.cast(pl.Int64))  # noqa: PLR2004
    in_year = month.is_between(1, 12) & day.is_between(1, last)
    return (in_year & (year >= _FIRST_YEAR) & (value != _NEVER)).fill_null(value=False)


def _date(item: Item, filled: pl.Expr) -> _Pair:
    """Digits, or what a DATE column gives as text (`2023-02-03`, with or without a time of day)."""
    width = 8 if item.type is ItemType.DATE else 6
    compact = filled.str.replace(_DASHED[item.type], "${1}${2}${3}")
    plain = pl.when(compact.is_in(_NO_DATE)).then(None).otherwise(compact)
    digits = pl.when(plain.str.contains(rf"^[0-9]{{{width}}}$")).then(plain).otherwise(None)
    layout, padded = "%Y%m%d", digits if item.type is ItemType.DATE else pl.concat_str(digits, pl.lit("01"))
    real = padded.str.to_date(layout, strict=False).is_not_null()
    return pl.when(real).then(digits.cast(pl.Int64, strict=False)).otherwise(
        None
    ), plain.is_not_null() & ~real


def _numbers(item: Item, texts: pl.Series) -> Converted:
    """Exact, scaled by 10**scale: at once where every digit the scale has is written, by `_number` where not."""
    point = rf"\.[0-9]{{{item.scale}}}" if item.scale else ""
    is_usual = texts.str.contains(rf"^-?[0-9]{{1,{18 - item.scale}}}{point}$")
    digits = texts.str.replace(".", "", literal=True) if item.scale else texts
    usual = digits.zip_with(is_usual, _nothing(texts, pl.String())).cast(pl.Int64)
    odd = (~is_usual).fill_null(value=False)
    return _by_distinct(texts, odd, _number(item, _filled()), NOT_A_NUMBER, usual)


def _number(item: Item, filled: pl.Expr) -> _Pair:
    """Decimal text of any length to an integer scaled by 10**scale; more decimals than the item has are a finding."""
    # Twenty digits hold any 64-bit integer; more would overflow the product and stop the whole library.
    plain = filled.str.contains(rf"^[+-]?[0-9]{{0,20}}(\.[0-9]{{0,{item.scale}}}0*)?$")
    exact = pl.when(plain).then(filled).cast(pl.Decimal(38, item.scale + 4), strict=False)
    scaled = exact * 10**item.scale
    value = scaled.cast(pl.Int64, strict=False)
    fits = exact.is_not_null() & (value.cast(pl.Decimal(38, item.scale + 4)) == scaled)
    return pl.when(fits).then(value).otherwise(None), filled.is_not_null() & ~fits.fill_null(value=False)


def _code(filled: pl.Expr, codes: Mapping[str, str]) -> _Pair:
    value = filled.replace_strict(dict(codes), default=None, return_dtype=pl.String)
    return value, filled.is_not_null() & value.is_null()
