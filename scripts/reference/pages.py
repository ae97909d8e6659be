"""All pages of `docs/reference/` and all blocks on them.

A page holds prose and blocks between `<!-- made: name -->` and `<!-- end -->`; on a Chinese page the name ends in `-zh`.
Prose is left as it is; each block is written again.
"""

from __future__ import annotations

import re
from functools import cache, partial
from pathlib import Path

from . import (
    alerts,
    cli,
    doctor,
    errors,
    evidence,
    faults,
    indicators,
    metrics,
    roles,
    sample,
    settings,
    standards,
    wire,
)
from .places import PAGES
from .tables import Block
from .words import Lang, Sentences

COMMAND = ".venv/bin/python scripts/make_reference.py"

SENTENCES: tuple[Sentences, ...] = (
    settings.KEYS_SAID,
    settings.TABLES_SAID,
    errors.SAID,
    roles.SAID,
    evidence.SAID,
    wire.CLAUSES_SAID,
    wire.MESSAGES_SAID,
    faults.FAULTS_SAID,
    faults.OUTCOMES_SAID,
    sample.FIGURES_SAID,
    sample.ODD_SAID,
)
"""All that has its Chinese in `zh.toml`, in its order."""

MADE: dict[str, Block] = {
    **settings.BLOCKS,
    **roles.BLOCKS,
    **metrics.BLOCKS,
    **alerts.BLOCKS,
    **errors.BLOCKS,
    **doctor.BLOCKS,
    **cli.BLOCKS,
    **standards.BLOCKS,
    **indicators.BLOCKS,
    **wire.BLOCKS,
    **evidence.BLOCKS,
    **sample.BLOCKS,
    **faults.BLOCKS,
}
ENDS: dict[Lang, str] = {"en": "", "zh": "-zh"}
BLOCKS = {f"{name}{end}": partial(make, lang) for name, make in MADE.items() for lang, end in ENDS.items()}
"""What makes each block, by the name that stands on its page."""

_BLOCK = re.compile(r"(<!-- made: ([a-z-]+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


@cache
def english() -> dict[str, dict[str, str]]:
    """What the pages say in English of what has its Chinese in `zh.toml`, by kind and name, as `chinese()` has it."""
    return {one.kind: one.english() for one in SENTENCES}


def renewed(page: str) -> str:
    """The page with every block made again; KeyError for a block nobody makes."""
    return _BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n{found[3]}", page)


def made_pages() -> list[Path]:
    """Pages that hold at least one block."""
    return [page for page in sorted(PAGES.glob("*.md")) if _BLOCK.search(page.read_text(encoding="utf-8"))]
