"""Every question a zone answers, and who may ask it."""

from __future__ import annotations

from jinbao.appliance.questions import QUESTIONS
from jinbao.appliance.questions.registry import Question

from .tables import Block, Rows, Tabled
from .words import Lang, Sentences

SAID = Sentences("questions", lambda: {name: asked.text for name, asked in sorted(QUESTIONS.items())})

MEANT: dict[Lang, dict[str, str]] = {
    "en": {},
    "zh": {
        "read": "读取",
        "act": "操作",
        "system": "系统管理员",
        "security": "安全管理员",
        "audit": "安全审计员",
        "security, if in clear": "看原文时须安全管理员",
        "required": "必填",
        "required, if in clear": "看原文时必填",
    },
}
"""What the words of the code are called where they are not themselves."""


def _roles(lang: Lang) -> Rows:
    said, meant = SAID.of(lang), MEANT[lang]
    for name, asked in sorted(QUESTIONS.items()):
        words = (asked.kind, _role(asked), _why(asked))
        yield f"`{name}`", *(meant.get(word, word) for word in words), said[name]


def _role(asked: Question) -> str:
    return asked.role or ("security, if in clear" if asked.unmasks else "")


def _why(asked: Question) -> str:
    always = asked.role == "security" or (asked.person and not asked.role)
    return "required" if always else "required, if in clear" if asked.unmasks else ""


BLOCKS: dict[str, Block] = {
    "roles": Tabled(
        {
            "en": ["question", "kind", "role", "reason", "what it is"],
            "zh": ["问题", "种类", "角色", "事由", "含义"],
        },
        _roles,
    ),
}
