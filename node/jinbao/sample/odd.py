"""Odd but legal: kinds of rows that a careless rule would reject. None of them may give a finding."""

from __future__ import annotations

from collections.abc import Callable

from jinbao.sample.edit import Editor
from jinbao.sample.numbers import number_of

OLD_PREFIXES = {
    "142101": "雁北 (until 1993)", "142201": "忻州 (until 2000)", "142301": "吕梁 (until 2003)",
    "142401": "晋中 (until 1999)", "142601": "临汾 (until 2000)", "142701": "运城 (until 2000)",
}  # fmt: skip
"""Abolished prefecture prefixes Shanxi residents still carry; source: 民政部 history of GB/T 2260."""


def _elder(prefix: str, born: int) -> Callable[[Editor], None]:
    """A retiree of the year 1900 or so, with an old prefix: legal, and certainly not a living person."""

    def edit(editor: Editor) -> None:
        key = editor.take("retiree")
        number = number_of(prefix, born, "011")
        editor.set("AC01", key, {"AAC002": number, "AAC006": born, "AAC004": "M", "AAC007": born + 200_000})
        editor.set("IC10", key, {"AIC162": born + 600_000, "AIC160": (born + 600_000) // 100 + 1})

    return edit


def _person(**values: object) -> Callable[[Editor], None]:
    def edit(editor: Editor) -> None:
        editor.set("AC01", editor.take("paying"), values)

    return edit


def _fifteen(editor: Editor) -> None:
    key = editor.take("paying")
    number = editor.row("AC01", key)["AAC002"]
    editor.set("AC01", key, {"AAC002": number[:6] + number[8:17]})


def _lower_x(editor: Editor) -> None:
    key = editor.take("paying")
    row = editor.row("AC01", key)
    prefix, born, male = row["AAC002"][:6], row["AAC006"], row["AAC004"] == "M"
    ends = (number_of(prefix, born, f"{serial:03d}") for serial in range(901 if male else 900, 1000, 2))
    editor.set("AC01", key, {"AAC002": next(n for n in ends if n.endswith("X")).lower()})


def _full_width(editor: Editor) -> None:
    key = editor.take("paying")
    number = editor.row("AC01", key)["AAC002"]
    editor.set("AC01", key, {"AAC002": "".join(chr(ord(c) + 0xFEE0) for c in number)})


def _foreign(number: str) -> Callable[[Editor], None]:
    def edit(editor: Editor) -> None:
        editor.set("AC01", editor.take("paying"), {"AAC002": number, "AAC009": "40"})

    return edit


def _permit(prefix: str) -> Callable[[Editor], None]:
    def edit(editor: Editor) -> None:
        key = editor.take("paying")
        row = editor.row("AC01", key)
        serial = "991" if row["AAC004"] == "M" else "992"
        editor.set("AC01", key, {"AAC002": number_of(prefix, row["AAC006"], serial), "AAC009": "31"})

    return edit


def _age(years: int) -> Callable[[Editor], None]:
    def edit(editor: Editor) -> None:
        key = editor.take("paying")
        row = editor.row("AC01", key)
        born = (editor.city.period // 100 - years) * 10_000 + 229 * (years == 64) + 101 * (years != 64)
        serial = "981" if row["AAC004"] == "M" else "982"
        number = number_of(row["AAC002"][:6], born, serial)
        first = editor.city.period
        editor.set(
            "AC01", key, {"AAC002": number, "AAC006": born, "AAC007": (born // 10_000 + 15) * 10_000 + 901}
        )
        editor.set("AC02", key, {"AAC049": first, "AAC032": first, "AAE201": 0})

    return edit


def _participation(**values: object) -> Callable[[Editor], None]:
    def edit(editor: Editor) -> None:
        editor.set("AC02", editor.take("paying"), values)

    return edit


def _no_employer(editor: Editor) -> None:
    editor.set("IC10", editor.take("retiree"), {"AAB001": None})


def _no_wage(editor: Editor) -> None:
    editor.set("AC02", editor.take("idle"), {"AAC040": "0.00"})


def _hyphen(editor: Editor) -> None:
    key = editor.take("employer")
    code = editor.row("AB01", key)["AAB003"]
    while len(code) != 9:
        key = editor.take("employer")
        code = editor.row("AB01", key)["AAB003"]
    editor.set("AB01", key, {"AAB003": f"{code[:8]}-{code[8:]}"})


ODD_KINDS: dict[str, Callable[[Editor], None]] = {
    **{
        f"old prefix {p}, {text}": _elder(p, 19000101 + at)
        for at, (p, text) in enumerate(OLD_PREFIXES.items())
    },
    "older than 120": _elder("140199", 19030605),
    "passport": _foreign("E12345678"),
    "Hong Kong permit": _foreign("H1234567801"),
    "long document of two letters": _foreign("AB123456789012"),
    "residence permit of Hong Kong residents": _permit("819999"),
    "residence permit of Taiwan residents": _permit("839999"),
    "permanent residence card of a foreigner": _permit("911999"),
    "15-digit number": _fifteen,
    "check character x in lower case": _lower_x,
    "full-width digits": _full_width,
    "rare name, CJK extension B": _person(AAC003="𠮷𡋾𢡊"),
    "name with a middle dot": _person(AAC003="阿卜杜拉·买买提"),
    "long name": _person(AAC003="古丽巴哈尔·阿不都热西提·买买提依明江"),
    "compound surname": _person(AAC003="欧阳上官"),
    "Latin name": _person(AAC003="O'Neil-Smith"),
    "padded name": _person(AAC003="王力" + " " * 40),
    "name in full-width spaces": _person(AAC003="　李明　"),
    "no ethnicity": _person(AAC005=None),
    "empty ethnicity": _person(AAC005=""),
    "no education": _person(AAC011=None),
    "16 years old": _age(16),
    "75 years old": _age(75),
    "born on a leap day": _age(64),
    "open end 99991231": _participation(AAB191=99991231),
    "date 0": _participation(AAB191=0),
    "hazardous job": _participation(AAC019="5"),
    "suspended without wage": _no_wage,
    "retiree without employer": _no_employer,
    "organisation code with a hyphen": _hyphen,
}
"""Every kind by its name; each is planted once."""


def plant_odd_kinds(editor: Editor) -> list[str]:
    """Plant one row of each kind; returns the kinds planted."""
    for edit in ODD_KINDS.values():
        edit(editor)
    return list(ODD_KINDS)
