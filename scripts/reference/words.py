"""What the pages say in both languages: English from where it is written, Chinese from `docs/reference/zh.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from functools import cache
from typing import Literal, NamedTuple

from .places import CHINESE

Lang = Literal["en", "zh"]


@cache
def chinese() -> dict[str, dict[str, str]]:
    """What the Chinese pages say, by kind and name; no name can stand there twice."""
    return tomllib.loads(CHINESE.read_text(encoding="utf-8"))


class Sentences(NamedTuple):
    """Sentences of one kind that speak English alone where they are written, by name, in the order of their page."""

    kind: str
    english: Callable[[], dict[str, str]]

    def of(self, lang: Lang) -> dict[str, str]:
        """The sentences in one language, by name."""
        return self.english() if lang == "en" else chinese()[self.kind]
