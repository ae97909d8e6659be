"""Repairs that are safe without a person: modes of private files, files nobody named, segments a neighbour has, a schema.

A schema is brought up where that only adds to it. Each is the command that the finding names, done here; whatever else
is found is left, and said to be left.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinbao.appliance import admin_client
from jinbao.appliance.database.upgrading import migrate
from jinbao.appliance.doctor.examine import Line
from jinbao.appliance.doctor.findings import State, Words
from jinbao.appliance.settings import Settings
from jinbao.model.errors import JinbaoError
from jinbao.model.zone import Endpoint


@dataclass(frozen=True, slots=True)
class Repair:
    """What became of one finding: done and how, or left and why."""

    line: Line
    is_done: bool
    said: Words

    def as_json(self) -> dict[str, Any]:
        """Beside the lines of `--json`."""
        return {
            "check": self.line.check,
            "zone": self.line.zone,
            "code": self.line.finding.code,
            "done": self.is_done,
            "said_en": self.said.en,
            "said_zh": self.said.zh,
        }


def repair(settings: Settings, lines: Sequence[Line]) -> list[Repair]:
    """Do what is safe about everything that is not ok, in the order it was found; raises nothing a repair meets."""
    return [_one(settings, line) for line in lines if line.finding.state is not State.OK]


def _one(settings: Settings, line: Line) -> Repair:
    known = SAFE.get(line.finding.code)
    if known is None:
        return Repair(line, is_done=False, said=Words("left to a person", "须由人处理"))
    if known is not _close and not _is_ours(settings, line):
        return Repair(line, is_done=False, said=Words("left to the zone's account", "须由分区账户处理"))
    try:
        return Repair(line, is_done=True, said=known(settings, line))
    except JinbaoError as exc:
        return Repair(line, is_done=False, said=Words(f"{exc.thing}: {exc.got}", f"{exc.thing}：{exc.got}"))
    except OSError as exc:
        return Repair(line, is_done=False, said=Words(str(exc.strerror), str(exc.strerror)))


def _is_ours(settings: Settings, line: Line) -> bool:
    """Whether this account is the zone's: what another opens is then that one's, and root's too."""
    return settings.directory(Endpoint.parse(line.zone).zone).stat().st_uid == os.geteuid()


def _close(_settings: Settings, line: Line) -> Words:
    """The `chmod` that the finding prints."""
    _, mode, path = shlex.split(line.finding.fix)
    Path(path).chmod(int(mode, 8))
    return Words(f"mode {mode} given to {path}", f"{path} 已设为 {mode}")


def _sweep(settings: Settings, line: Line) -> Words:
    freed = _ask(settings, line, "journal.retention", apply=True)["freed_bytes"]
    return Words(f"{freed} bytes nobody needs removed", f"已删除无人需要的 {freed} 字节")


def _mend(settings: Settings, line: Line) -> Words:
    found = _ask(settings, line, "journal.mend")
    mended, left = len(found["mended"]), len(found["left"])
    return Words(f"{mended} segments brought again, {left} left", f"已重新取得 {mended} 段，剩余 {left} 段")


def _migrate(settings: Settings, line: Line) -> Words:
    steps = migrate(settings, Endpoint.parse(line.zone).zone, only_plan=False, only_plain=True)
    return Words(f"{len(steps)} steps done", f"已完成 {len(steps)} 步")


def _ask(settings: Settings, line: Line, question: str, **arguments: Any) -> dict[str, Any]:
    return admin_client.ask(settings, Endpoint.parse(line.zone).zone, question, arguments)


SAFE: Mapping[str, Callable[[Settings, Line], Words]] = {
    "permissions.open": _close,
    "permissions.password": _close,
    "schema.older": _migrate,
    "segments.orphans": _sweep,
    "segments.missing": _mend,
    "disk.full": _sweep,
    "disk.low": _sweep,
}
"""Findings by code that are mended without asking."""
