"""Decoding of text that is not UTF-8, a column at a time.

The bytes of a column are joined by line feeds, decoded once and cut again: GB 18030 never
uses that byte inside a character. A column that does not decode whole goes cell by cell: a
cell whose bytes do not decode keeps U+FFFD in its text, and its bytes, in hex, in the column
`__undecodable`. Nothing is lost and the finding names the row.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

REPLACEMENT = "\ufffd"

UNDECODABLE = "__undecodable"
"""`COLUMN=hex` of each cell of the row that did not decode, joined by `;`; NULL for all others."""


def decode_columns(batch: pa.RecordBatch, encoding: str) -> pl.DataFrame:
    """The batch's byte columns as text, and the column of what did not decode."""
    columns: dict[str, pl.Series] = {}
    broken: list[pl.Series] = []
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        raw = array.cast(pa.binary())
        text = _decode(raw, encoding)
        columns[name] = text
        if text.str.contains(REPLACEMENT, literal=True).any():
            broken.append(_in_hex(name, raw, text))
    said = pl.DataFrame({str(at): series for at, series in enumerate(broken)})
    together = (
        said.select(pl.concat_str(pl.all(), separator=";", ignore_nulls=True).replace("", None))
        if broken
        else None
    )
    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, batch.num_rows)
    return pl.DataFrame(columns | {UNDECODABLE: together.to_series() if together is not None else nothing})


def _in_hex(name: str, raw: pa.Array, text: pl.Series) -> pl.Series:
    frame = pl.DataFrame({"raw": pl.from_arrow(raw), "text": text})
    hexed = pl.concat_str(pl.lit(f"{name}="), pl.col("raw").bin.encode("hex"))
    is_broken = pl.col("text").str.contains(REPLACEMENT, literal=True)
    return frame.select(pl.when(is_broken).then(hexed)).to_series()


def _decode(array: pa.Array, encoding: str) -> pl.Series:
    if len(array) == 0:
        return pl.Series([], dtype=pl.String)
    if pc.any(pc.match_substring(array, b"\n")).as_py():
        # A cell with a line feed of its own would be cut in two: such a column goes cell by cell.
        return _cell_by_cell(array, encoding)
    filled = pc.fill_null(array, b"")
    offsets = pa.array([0, len(filled)], pa.int32())
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, filled), b"\n")[0].as_py()
    try:
        text = pl.Series([joined.decode(encoding)]).str.split("\n").explode()
    except UnicodeDecodeError:
        # An unfinished character near the end would take the line feeds after it along.
        return _cell_by_cell(array, encoding)
    valid = pl.Series(pl.from_arrow(array.is_valid()))
    return text.zip_with(valid, pl.Series([None], dtype=pl.String).new_from_index(0, len(text)))


def _cell_by_cell(array: pa.Array, encoding: str) -> pl.Series:
    cells = [None if cell is None else cell.decode(encoding, "replace") for cell in array.to_pylist()]
    return pl.Series(cells, dtype=pl.String)
