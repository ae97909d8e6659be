"""Numbers that pass their checks and belong to nobody: county suffix 99 was never assigned.

Written here a second time on purpose: the gate's own arithmetic must not vouch for itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def synthetic_county(region: str) -> str:
    """The county code no citizen of `region` can have."""
    return f"{region[:4]}99"


def id_numbers(prefix: pl.Expr, born: pl.Expr, male: pl.Expr, serial: pl.Expr) -> pl.Expr:
    """18-character numbers; `serial` counts persons of one prefix, birth date and sex from 0 to 498."""
    order = (serial * 2 + pl.when(male).then(1).otherwise(2)).cast(pl.String).str.zfill(3)
    return with_check(pl.concat_str(prefix, born.cast(pl.String), order))


def number_of(prefix: str, born: int, serial: str) -> str:
    """One 18-character number; an odd serial is a man's."""
    return str(pl.select(with_check(pl.lit(f"{prefix}{born}{serial}"))).item())


def with_check(body: pl.Expr) -> pl.Expr:
    """Append the GB 11643 check character: 2 to the power of the place, modulo 11."""
    total: pl.Expr = pl.lit(0)
    for place in range(17):
        total += body.str.slice(place, 1).cast(pl.Int64) * (2 ** (17 - place) % 11)
    return pl.concat_str(body, ((12 - total % 11) % 11).cast(pl.String).replace("10", "X"))


def credit_codes(region: str, count: int) -> list[str]:
    """`count` different unified social credit codes (GB 32100) of the synthetic county."""
    return [_credit_code(f"91{synthetic_county(region)}{organisation_code(at)}") for at in range(count)]


def organisation_code(serial: int) -> str:
    """A 9-character organisation code (GB 11714) that starts with MA9."""
    body = f"MA9{serial:05d}" if serial < 100_000 else f"MB{serial:06d}"
    weights: Sequence[int] = (3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(c, 36) * w for c, w in zip(body, weights, strict=True))
    rest = 11 - total % 11
    return body + {10: "X", 11: "0"}.get(rest, str(rest))


def _credit_code(body: str) -> str:
    # The weights are the powers of 3 modulo 31.
    total = sum(_ALPHABET.index(c) * (3**place % 31) for place, c in enumerate(body))
    return body + _ALPHABET[(31 - total % 31) % 31]
