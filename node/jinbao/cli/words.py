"""Words in two languages: Chinese where the locale is Chinese, English elsewhere; `--lang` decides first.

Texts stand in pairs where they are used, so that neither language can be forgotten.
"""

from __future__ import annotations

import os

_CHOSEN = ""


def choose(lang: str) -> None:
    """Speak `zh` or `en` from now on; empty means by locale."""
    global _CHOSEN  # noqa: PLW0603  # one language per process
    _CHOSEN = lang


def is_chinese() -> bool:
    """Whether to speak Chinese."""
    if _CHOSEN:
        return _CHOSEN == "zh"
    for name in ("JINBAO_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name, "")
        if value:
            return value.lower().startswith("zh")
    return False


def t(en: str, zh: str) -> str:
    """The text in the reader's language."""
    return zh if is_chinese() else en
