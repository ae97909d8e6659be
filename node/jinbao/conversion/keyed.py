"""Keyed rows: a table held whole and looked at part by part, each part at a cost of its own size. Pure."""

from __future__ import annotations

import polars as pl


class Keyed:
    """Rows and their leading key column; `near` narrows them to those a part may meet."""

    def __init__(self, rows: pl.DataFrame, lead: str) -> None:
        self.rows, self._lead = rows, lead
        column = rows.get_column(lead)
        self._is_sorted = column.null_count() == 0 and column.is_sorted()

    def near(self, keys: pl.Series) -> pl.DataFrame:
        """At least the rows whose leading key is among `keys`, in their order; NULL is met by NULL alone.

        By a search where the rows are sorted, as most tables are, else by a look at each.
        """
        if self.rows.height <= len(keys):
            return self.rows
        near = self.rows
        if self._is_sorted:
            lead, found = near.get_column(self._lead), keys.drop_nulls()
            if found.is_empty():
                return near.clear()
            ends = pl.Series([found.min(), found.max()], dtype=lead.dtype)
            begin, end = lead.search_sorted(ends, "left")[0], lead.search_sorted(ends, "right")[1]
            near = near.slice(begin, end - begin)
        if near.height > 2 * len(keys):
            near = near.filter(pl.col(self._lead).is_in(keys.implode(), nulls_equal=True))
        return near
