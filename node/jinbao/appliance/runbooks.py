"""Runbooks 处置手册: one page per alert, in Chinese and English, as Markdown or as a page of HTML.

They ship with the product, so that whoever is woken finds them where the alert points: at the zone
itself, without any other network. Reads files; loads the renderer when the first page is asked for.
"""

from __future__ import annotations

import difflib
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs

from jinbao.model.errors import UsageError
from jinbao.model.places import monitoring_directory

PREFIX = "Jinbao"
"""Every alert's name begins with it; nobody need type it."""

LANGUAGES = ("zh", "en")

HTML, MARKDOWN = "text/html; charset=utf-8", "text/markdown; charset=utf-8"

_NONE = "没有这份手册，全部见 /runbooks/\nno such runbook; all are listed at /runbooks/\n"

_TITLES = {"zh": "处置手册", "en": "Runbooks"}

_PAGE = """<!doctype html>
<html lang="{lang}"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ font: 16px/1.6 sans-serif; max-width: 48rem; margin: 1rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff }}
pre {{ background: #f3f3f3; padding: .7rem; overflow-x: auto; border-left: 3px solid #b3261e }}
code {{ font-family: monospace; background: #f3f3f3 }}
nav {{ text-align: right }} table {{ border-collapse: collapse }} td, th {{ border: 1px solid #ccc; padding: .2rem .6rem }}
</style></head><body>
<nav><a href="./">{index}</a> · <a href="?lang={other}">{other_name}</a></nav>
{body}</body></html>
"""


@dataclass(frozen=True)
class Runbooks:
    """The pages of one directory, `NAME.zh.md` and `NAME.md`."""

    directory: Path = field(default_factory=lambda: monitoring_directory() / "runbooks")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every page there is, by name."""
        pages = (path.name for path in self.directory.glob("*.md"))
        return tuple(sorted(name.removesuffix(".md") for name in pages if not name.endswith(".zh.md")))

    def find(self, wanted: str) -> str:
        """The name somebody means: in any case, with the prefix or without. Raises UsageError that names the nearest."""
        known = {name.lower(): name for name in self.names}
        for form in (wanted.lower(), f"{PREFIX}{wanted}".lower()):
            if form in known:
                return known[form]
        near = difflib.get_close_matches(f"{PREFIX}{wanted}".lower(), known, 1)
        hint = f"did you mean {known[near[0]]}? " if near else ""
        raise UsageError(
            "runbook",
            expected="the name of an alert",
            got=wanted[:80],
            next_step=f"{hint}jinbao runbook lists all",
        )

    def text(self, name: str, lang: str) -> str:
        """A page as Markdown; `name` is one of `names`."""
        end = ".zh.md" if lang == "zh" else ".md"
        return (self.directory / f"{name}{end}").read_text(encoding="utf-8")

    def index(self, lang: str) -> str:
        """All pages as a Markdown list, each with its title."""
        lines = [f"- [{name}]({name}): {self.title(name, lang)}\n" for name in self.names]
        return f"# {_TITLES[lang]}\n\n{''.join(lines)}"

    def title(self, name: str, lang: str) -> str:
        """What a page says of itself in its first line, after the name."""
        first = self.text(name, lang).split("\n", 1)[0]
        return re.sub(r"^# \w+[::] ?", "", first)

    def page(self, path: str, query: str, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        """Status, content type and body for what lies behind `/runbooks/`; an unknown page names where all are."""
        lang = chosen_language(query, headers.get("accept-language", ""))
        try:
            text = self.text(self.find(path), lang) if path else self.index(lang)
        except UsageError:
            return 404, "text/plain; charset=utf-8", _NONE.encode()
        if _wants_markdown(headers.get("accept", "")):
            return 200, MARKDOWN, text.encode()
        return 200, HTML, rendered(self._linked(text), lang).encode()

    def _linked(self, text: str) -> str:
        """A page whose words that name another page lead there; its title stays."""
        title, _, rest = text.partition("\n")
        names = "|".join(self.names)
        return f"{title}\n" + re.sub(rf"(?<![\w`/(\[])({names})\b(?![\])])", r"[\1](\1)", rest)


def chosen_language(query: str, accepted: str) -> str:
    """`?lang=` decides; else the first of ours that the reader's program asks for; else Chinese."""
    asked = [value for value in parse_qs(query).get("lang", []) if value in LANGUAGES]
    if asked:
        return asked[0]
    weighed = []
    for at, part in enumerate(accepted.split(",")[:20]):
        name, _, weight = part.strip().partition(";q=")
        weighed.append((-_weight(weight), at, name.strip().lower()[:2]))
    return next((name for _, _, name in sorted(weighed) if name in LANGUAGES), LANGUAGES[0])


def _weight(text: str) -> float:
    return float(text) if re.fullmatch(r"[01](\.\d{1,3})?", text) else 1.0


def _wants_markdown(accept: str) -> bool:
    """Whether a reader's program asks for text and not for HTML."""
    return "text/html" not in accept and ("text/plain" in accept or "text/markdown" in accept)


def rendered(text: str, lang: str) -> str:
    """A page of HTML that needs nothing else: no script, no picture, no font."""
    from markdown_it import MarkdownIt  # noqa: PLC0415  # a zone that nobody asks need not load it

    other = "en" if lang == "zh" else "zh"
    return _PAGE.format(
        lang=lang,
        title=html.escape(text.split("\n", 1)[0].lstrip("# ")),
        index=_TITLES[lang],
        other=other,
        other_name={"en": "English", "zh": "中文"}[other],
        body=MarkdownIt("commonmark", {"html": False}).enable("table").render(text),
    )
