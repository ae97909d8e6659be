"""What a peer's segment must be before this zone reads it: its shape first, then every value decoded once.

Runs in the decoder's process (`decoder`), or in a simulator's own. Says yes, or why not;
judges no rule of a standard.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from jinbao.model.errors import UnacceptableError
from jinbao.model.quoting import quoted
from jinbao.trust.parquet import ParquetLimits, Shape, check_parquet

_AT_ONCE_ROWS = 65_536
"""Rows whose texts are measured at once: what is found on the way is as long as they are many."""


@dataclass(frozen=True, slots=True)
class InspectLimits:
    """Bounds of one inspection; each is a setting under `limits`, with its reason there.

    `memory_bytes` is the decoder's whole address space, `job_s` its time for one segment,
    `deaths_max` how many decoders may end on one segment before the segment is to blame.
    """

    parquet: ParquetLimits = field(default_factory=ParquetLimits)
    memory_bytes: int = 2 << 30
    job_s: float = 60.0
    deaths_max: int = 3
    idle_s: float = 60.0


def examine(path: Path, shape: Shape, limits: ParquetLimits) -> str:
    """Why the file may not be read; empty when it is a segment of this shape and can be read whole."""
    try:
        with path.open("rb") as file:
            # The map ends with its last reference: an error may still hold a part of it.
            check_parquet(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), shape, limits)
        _check_values(pl.read_parquet(path, glob=False), shape, limits)
    except UnacceptableError as exc:
        return str(exc)
    except (OSError, ValueError, pl.exceptions.PolarsError) as exc:
        return f"segment: expected values that decode, got {quoted(str(exc))}"
    return ""


def _check_values(frame: pl.DataFrame, shape: Shape, limits: ParquetLimits) -> None:
    named = shape.columns or {name: dtype == pl.String for name, dtype in frame.schema.items()}
    expected = {name: pl.String() if is_text else pl.Int64() for name, is_text in named.items()}
    if dict(frame.schema) != expected:
        got = quoted(str(list(frame.schema.values())))
        raise UnacceptableError("segment: columns", expected="text and 64-bit integers", got=got)
    if frame.height != shape.rows:
        raise UnacceptableError("segment: rows", expected=shape.rows, got=frame.height)
    sizes = _text_sizes(frame)
    for name, (_, longest, nul) in sizes.items():
        if longest > limits.cell_bytes_max:
            most = f"at most {limits.cell_bytes_max} bytes"
            raise UnacceptableError(f"segment: cell of {name}", expected=most, got=longest)
        if nul:
            raise UnacceptableError(f"segment: cell of {name}", expected="text without NUL", got="NUL")
    total = sum(size for size, _, _ in sizes.values()) + 8 * shape.rows * (len(expected) - len(sizes))
    if total > limits.decoded_bytes_max:
        most = f"at most {limits.decoded_bytes_max}"
        raise UnacceptableError("segment: bytes of all cells", expected=most, got=total)


def _text_sizes(frame: pl.DataFrame) -> Mapping[str, tuple[int, int, bool]]:
    """Of each text column: bytes in all, those of the longest cell, and whether any cell has a NUL in it."""
    found = {name: (0, 0, False) for name, dtype in frame.schema.items() if dtype == pl.String}
    asked = [_sizes(name) for name in found]
    for part in frame.iter_slices(_AT_ONCE_ROWS):
        for name, of_part in part.select(asked).row(0, named=True).items():
            total, longest, nul = found[name]
            found[name] = (
                total + of_part["total"],
                max(longest, of_part["longest"] or 0),
                nul or of_part["nul"],
            )
    return found


def _sizes(name: str) -> pl.Expr:
    """What `_text_sizes` says of one column."""
    column = pl.col(name)
    return pl.struct(
        total=column.str.len_bytes().cast(pl.Int64).sum(),
        longest=column.str.len_bytes().max(),
        nul=column.str.contains("\0", literal=True).any(),
    ).alias(name)
