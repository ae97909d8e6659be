"""Every error code with its family and its exit code."""

from __future__ import annotations

from jinbao.model import errors

from .tables import Block, Rows, Tabled
from .words import Lang, Sentences


def error_classes() -> list[type[errors.JinbaoError]]:
    """Every error class of the model that has a code of its own, families before their members."""
    found = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.JinbaoError)]
    return [c for c in found if "code" in vars(c)]


def _meanings() -> dict[str, str]:
    return {kind.code: (kind.__doc__ or "").strip().split("\n")[0] for kind in error_classes()}


SAID = Sentences("errors", _meanings)


def _errors(lang: Lang) -> Rows:
    said = SAID.of(lang)
    return (
        (f"[`{kind.code}`](#{kind.code})", _family(kind), kind.exit_code, said[kind.code])
        for kind in error_classes()
    )


def _family(kind: type[errors.JinbaoError]) -> str:
    parent = kind.__mro__[1]
    return f"`{parent.code}`" if issubclass(parent, errors.JinbaoError) else ""


BLOCKS: dict[str, Block] = {
    "errors": Tabled(
        {
            "en": ["code", "belongs to", "exit code", "meaning"],
            "zh": ["代码", "属于", "退出码", "含义"],
        },
        _errors,
    ),
}
