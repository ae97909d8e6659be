"""The clauses of digest and evidence."""

from __future__ import annotations

import re

from jinbao.trust import digest, evidence

from .tables import Block, Tabled
from .words import Sentences

_CLAUSE = re.compile(r"^([DE]\d+)\s+(.*?)(?=\n[DE]\d+ |\n\n|\Z)", flags=re.MULTILINE | re.DOTALL)


def evidence_clauses() -> dict[str, str]:
    """Clauses of digest and evidence by number, as their modules' docstrings say them."""
    found = _CLAUSE.findall(f"{digest.__doc__}\n\n{evidence.__doc__}")
    return {number: " ".join(said.split()) for number, said in found}


SAID = Sentences("evidence", evidence_clauses)

BLOCKS: dict[str, Block] = {
    "evidence-clauses": Tabled(
        {"en": ["clause", ""], "zh": ["条款", ""]}, lambda lang: SAID.of(lang).items()
    ),
}
