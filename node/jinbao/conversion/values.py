"""Values: how one text of a business database becomes one value of an item.

Each function gives two expressions: the value, and whether the text was something the
item cannot be. NULL, empty and blank text are all NULL of the standard; old systems do
not tell them apart. 0 and 99991231 mean "no date" there.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from jinbao.model.standard import Item, ItemType

NOT_A_DATE, UNMAPPED, UNDECODED, NOT_A_NUMBER = "C-01", "C-02", "C-03", "C-04"
"""Findings of conversion: not a day or month, local code without a standard one, bytes kept raw, not a number."""

_NO_DATE = ("0", "00000000", "99991231", "999912")
_FULL_WIDTH = {chr(0xFF01 + at): chr(0x21 + at) for at in range(94)} | {"\u3000": " "}
_OLD_ID = r"^[0-9]{15}$"
_ID_ITEMS = frozenset({"AAC002"})
_CODE_ITEMS = frozenset({"AAB003"})

Converted = tuple[pl.Expr, pl.Expr]
"""The value, and whether it is a finding."""


def value_of(item: Item, text: pl.Expr, codes: Mapping[str, str]) -> tuple[str, Converted]:
    """The rule id of what may go wrong, with the value and the finding of an item."""
    filled = text.str.strip_chars().replace("", None)
    if item.type in (ItemType.DATE, ItemType.MONTH):
        return NOT_A_DATE, _date(item, filled)
    if not item.is_text:
        return NOT_A_NUMBER, _number(item, filled)
    if codes:
        return UNMAPPED, _code(filled, codes)
    return "", (_text(item, filled), pl.lit(value=False))


def _text(item: Item, filled: pl.Expr) -> pl.Expr:
    """Full-width letters, digits and spaces become plain ones; identifiers lose hyphens and small letters."""
    if item.code in _ID_ITEMS:
        plain = filled.str.replace_many(_FULL_WIDTH).str.strip_chars().str.to_uppercase()
        return pl.when(plain.str.contains(_OLD_ID)).then(_upgraded(plain)).otherwise(plain)
    if item.code in _CODE_ITEMS:
        plain = filled.str.replace_many(_FULL_WIDTH)
        return plain.str.replace_all("-", "", literal=True).str.to_uppercase()
    return filled.str.strip_chars("\u3000 ").replace("", None)


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


def _date(item: Item, filled: pl.Expr) -> Converted:
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


def _number(item: Item, filled: pl.Expr) -> Converted:
    """Exact: decimal text to an integer scaled by 10**scale; more decimals than the item has are a finding."""
    # Twenty digits hold any 64-bit integer; more would overflow the product and stop the whole library.
    plain = filled.str.contains(rf"^[+-]?[0-9]{{0,20}}(\.[0-9]{{0,{item.scale}}}0*)?$")
    exact = pl.when(plain).then(filled).cast(pl.Decimal(38, item.scale + 4), strict=False)
    scaled = exact * 10**item.scale
    value = scaled.cast(pl.Int64, strict=False)
    fits = exact.is_not_null() & (value.cast(pl.Decimal(38, item.scale + 4)) == scaled)
    return pl.when(fits).then(value).otherwise(None), filled.is_not_null() & ~fits.fill_null(value=False)


def _code(filled: pl.Expr, codes: Mapping[str, str]) -> Converted:
    value = filled.replace_strict(dict(codes), default=None, return_dtype=pl.String)
    return value, filled.is_not_null() & value.is_null()
