"""Every check of the doctor, with the codes its findings may have."""

from __future__ import annotations

import re

from jinbao.appliance.doctor.examine import CHECKS
from jinbao.appliance.doctor.repair import SAFE

from .places import DOCTOR
from .tables import Block, Rows, Tabled
from .words import Lang

NODE: dict[Lang, str] = {"en": "node", "zh": "节点"}
ZONE: dict[Lang, str] = {"en": "zone", "zh": "分区"}


def doctor_codes(check: str) -> list[str]:
    """Codes that a check's module gives its findings, in the order they stand there."""
    found = re.findall(rf'"({check}[.][a-z]+)"', (DOCTOR / f"{check}.py").read_text(encoding="utf-8"))
    return list(dict.fromkeys(found))


def _checks(lang: Lang) -> Rows:
    for one in CHECKS:
        codes = (f"`{code}`" + (" *" if code in SAFE else "") for code in doctor_codes(one.name))
        what = one.what.zh if lang == "zh" else one.what.en
        yield f"`{one.name}`", what, (NODE if one.of_node else ZONE)[lang], ", ".join(codes)


BLOCKS: dict[str, Block] = {
    "doctor": Tabled(
        {
            "en": ["check", "what is looked at", "once a", "codes (*: mended by `--fix`)"],
            "zh": ["检查项", "查看什么", "按什么各查一次", "代码（*：由 `--fix` 修复）"],
        },
        _checks,
    ),
}
