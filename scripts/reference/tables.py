"""Tables in Markdown, and blocks of pages that are one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .words import Lang

Block = Callable[[Lang], str]
"""What makes a block of a page, and of its twin."""

Rows = Iterable[Sequence[object]]


def table(titles: Sequence[str], rows: Rows) -> str:
    """A Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(value: object) -> str:
    """One cell: no bar and no line end of its own, and no tag outside of code."""
    parts = str(value).replace("|", "\\|").replace("\n", " ").split("`")
    return "`".join(part if at % 2 else part.replace("<", "&lt;") for at, part in enumerate(parts))


@dataclass(frozen=True)
class Tabled:
    """A block that is one table: its titles, and the rows that stand below them."""

    titles: Mapping[Lang, Sequence[str]]
    rows: Callable[[Lang], Rows]

    def __call__(self, lang: Lang) -> str:
        """The table in one language."""
        return table(self.titles[lang], self.rows(lang))
