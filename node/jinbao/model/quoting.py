"""Quoting: a peer's text made harmless for one line of a log, an error, a metric or a terminal.

Shortens and escapes; says nothing of whether the text is right.
"""

from __future__ import annotations

import unicodedata

CHARACTERS_MAX = 80
"""What a person needs to recognise a name; more only fills the log."""


def quoted(text: str, characters_max: int = CHARACTERS_MAX) -> str:
    """The text on one line: what steers a terminal, a log or a direction of writing is escaped, the rest cut off."""
    shown = "".join(c if _is_plain(c) else ascii(c)[1:-1] for c in text[:characters_max])
    cut = len(text) > characters_max or len(shown) > characters_max
    return shown[:characters_max] + "…" if cut else shown


def _is_plain(character: str) -> bool:
    """Whether a character stands for itself: no control, format, surrogate, private or line-separating one."""
    return character == " " or unicodedata.category(character)[0] not in "CZ"
