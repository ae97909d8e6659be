"""Check digits of person and organisation numbers, over whole columns.

GB 11643 (citizen identity number), GB 11714 (organisation code), GB 32100 (unified
social credit code). NULL is not judged: the answer there is False, not bad.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = np.frombuffer(b"10X98765432", dtype=np.uint8)
_ORG_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
_USCC_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_USCC_ALPHABET = b"0123456789ABCDEFGHJKLMNPQRTUWXY"
_NOT_A_VALUE = 99

PROVINCES = frozenset(
    {
        *range(11, 16),
        *range(21, 24),
        *range(31, 38),
        *range(41, 47),
        *range(50, 55),
        *range(61, 66),
        71,
        81,
        82,
        83,
        91,
    }
)
"""First two digits of any region ever coded, with the residence permits (81-83) and the
permanent residence cards of foreigners (91) that follow GB 11643."""

_IS_PROVINCE = np.isin(np.arange(256), sorted(PROVINCES))

FOREIGN_PATTERN = r"^[A-Z]{1,3}[0-9]{6,12}$"
"""Passports and permits as an agency enters them: letters, then digits; no check digit of ours."""


def _values(alphabet: bytes) -> npt.NDArray[np.uint8]:
    table = np.full(256, _NOT_A_VALUE, dtype=np.uint8)
    table[np.frombuffer(alphabet, dtype=np.uint8)] = np.arange(len(alphabet))
    return table


_DIGITS = _values(b"0123456789")
_ALNUM = _values(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_USCC = _values(_USCC_ALPHABET)


def _bytes_of(texts: pl.Series, width: int) -> npt.NDArray[np.uint8]:
    """One row of `width` bytes per text; all texts are exactly that long."""
    array = texts.to_arrow().cast(pa.large_binary())
    _, offsets, body = array.buffers()
    first = np.frombuffer(offsets, dtype=np.int64)[array.offset]
    flat = np.frombuffer(body or b"", dtype=np.uint8)[first : first + width * len(texts)]
    return flat.reshape(-1, width)


def _of_width(texts: pl.Series, width: int) -> npt.NDArray[np.bool_]:
    return np.asarray((texts.str.len_bytes() == width).fill_null(value=False).to_numpy())


def _weighed(
    raw: npt.NDArray[np.uint8], values: npt.NDArray[np.uint8], weights: tuple[int, ...]
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
    """The weighted sum of the first characters of each row, and whether all of them have a value.

    Character by character over all rows: no table of rows times characters is made.
    """
    total, known = np.zeros(len(raw), dtype=np.uint16), np.ones(len(raw), dtype=bool)
    for at, weight in enumerate(weights):
        value = values[raw[:, at]]
        known &= value != _NOT_A_VALUE
        total += value * np.uint16(weight)
    return total, known


def citizen_id_ok(texts: pl.Series) -> pl.Series:
    """Whether a text is an 18-character number with a right check digit and a known province."""
    ok = np.zeros(len(texts), dtype=bool)
    at = np.flatnonzero(_of_width(texts, 18))
    if len(at):
        raw = _bytes_of(texts.gather(at), 18)
        total, known = _weighed(raw, _DIGITS, _ID_WEIGHTS)
        province = _DIGITS[raw[:, 0]] * 10 + _DIGITS[raw[:, 1]]
        ok[at] = known & (raw[:, 17] == _ID_CHECKS[total % 11]) & _IS_PROVINCE[province]
    return pl.Series(ok)


def organisation_code_ok(texts: pl.Series) -> pl.Series:
    """Whether a text is a 9-character organisation code or an 18-character credit code with a right check."""
    ok = np.zeros(len(texts), dtype=bool)
    at = np.flatnonzero(_of_width(texts, 9))
    if len(at):
        raw = _bytes_of(texts.gather(at), 9)
        total, known = _weighed(raw, _ALNUM, _ORG_WEIGHTS)
        rest = (11 - total % 11) % 11
        check = np.where(rest == 10, ord("X"), ord("0") + rest % 10)
        ok[at] = known & (raw[:, 8] == check)
    at = np.flatnonzero(_of_width(texts, 18))
    if len(at):
        raw = _bytes_of(texts.gather(at), 18)
        total, known = _weighed(raw, _USCC, _USCC_WEIGHTS)
        ok[at] = known & (_USCC[raw[:, 17]] == (31 - total % 31) % 31)
    return pl.Series(ok)
