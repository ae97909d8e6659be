"""The examination: every check of every zone, in order, each answered even where it cannot be made.

A check that cannot be made says `unknown` and why; one that meets a bug says where it struck and nothing of what it
read. While the clock cannot be believed, checks that judge by time are not made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jinbao.appliance.doctor import (
    backup,
    certificate,
    clock,
    disk,
    engine,
    lock,
    peers,
    permissions,
    port,
    rules,
    schema,
    segments,
    source,
    standard,
    timezone,
    topology,
)
from jinbao.appliance.doctor.context import NodeContext, Surroundings, ZoneContext
from jinbao.appliance.doctor.findings import Finding, State, UnknownError, Words, same
from jinbao.appliance.observers import where_failed
from jinbao.appliance.settings import Settings
from jinbao.model.errors import JinbaoError, UsageError
from jinbao.model.zone import Zone

OfNode = Callable[[NodeContext], Iterable[Finding]]
OfZone = Callable[[ZoneContext], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check: looked at once a node, or once a zone; `is_timed` if it judges by the clock."""

    name: str
    what: Words
    of_node: OfNode | None = None
    of_zone: OfZone | None = None
    is_timed: bool = False


CHECKS: tuple[Check, ...] = (
    Check("clock", Words("clock against the past, certificates and neighbours", "时钟：对照流水、证书与邻居"), of_zone=clock.look),
    Check("timezone", Words("time zone of this machine", "本机时区"), of_node=timezone.look),
    Check("permissions", Words("who may read keys and the zone's files", "密钥与分区文件的权限"), of_zone=permissions.look),
    Check("lock", Words("who has the zone open", "谁占用分区"), of_zone=lock.look),
    Check("port", Words("whether the zone could listen", "端口是否可用"), of_zone=port.look),
    Check("engine", Words("SQLite: one library, one process, a local disk", "SQLite：单一库、单一进程、本机磁盘"), of_zone=engine.look),
    Check("schema", Words("schema of the database", "数据库表结构"), of_zone=schema.look),
    Check("disk", Words("free space and the reserve", "剩余空间与保留空间"), of_zone=disk.look),
    Check("segments", Words("segments that are missing, files nobody named", "缺失的数据段与无人引用的文件"), of_zone=segments.look),
    Check("certificate", Words("keys, certificates and the way to a root", "密钥、证书与证书链"), of_zone=certificate.look, is_timed=True),
    Check("topology", Words("the signed topology and this node's row", "签名拓扑与本节点的行"), of_zone=topology.look, is_timed=True),
    Check("peers", Words("whether each neighbour answers, and what it refuses", "各邻居是否应答、拒绝什么"), of_zone=peers.look, is_timed=True),
    Check("standard", Words("versions of standards against the node above", "标准版本：对照上级"), of_zone=standard.look, is_timed=True),
    Check("rules", Words("standards, quality rules and mappings", "标准、质量规则与对照表"), of_node=rules.look),
    Check("source", Words("business databases", "业务库"), of_zone=source.look),
    Check("backup", Words("age of the newest backup", "最近备份的时间"), of_zone=backup.look, is_timed=True),
)  # fmt: skip
"""Every check in the order a person would look."""


@dataclass(frozen=True, slots=True)
class Line:
    """A finding of one check; `zone` is `140100/exchange`, or the node alone."""

    check: str
    zone: str
    finding: Finding

    def as_json(self) -> dict[str, Any]:
        """As `--json` gives it; fields are added, and none taken away."""
        found = self.finding
        return {
            "check": self.check,
            "zone": self.zone,
            "state": str(found.state),
            "code": found.code,
            "thing": found.thing,
            "expected_en": found.expected.en,
            "expected_zh": found.expected.zh,
            "got_en": found.got.en,
            "got_zh": found.got.zh,
            "fix": found.fix,
            "advice_en": found.advice.en,
            "advice_zh": found.advice.zh,
            "numbers": dict(found.numbers),
        }


def chosen(names: Sequence[str]) -> tuple[Check, ...]:
    """The checks of these names, all if none is named; raises UsageError for a name there is not."""
    known = {check.name: check for check in CHECKS}
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise UsageError(
                "check",
                expected=", ".join(known),
                got=name,
                next_step=f"did you mean {near[0]}?" if near else "jinbao doctor --list",
            )
    return tuple(check for check in CHECKS if not names or check.name in names)


def examine(
    settings: Settings,
    config: Path,
    *,
    only: Sequence[str] = (),
    zones: Sequence[Zone] = (),
    around: Surroundings | None = None,
) -> list[Line]:
    """Every finding of the chosen checks, by check and zone. Raises UsageError, and nothing that a check meets."""
    checks = chosen(only)
    node = NodeContext(settings, config.absolute(), around or Surroundings())
    patients = [ZoneContext(node, zone) for zone in zones or settings.zones]
    for patient in patients:
        settings.endpoint(patient.zone)
    # One machine has one clock: what one zone shows of it keeps the others from judging by it too.
    is_misled = any(check.is_timed for check in checks) and any(map(_is_misled, patients))
    found: list[Line] = []
    for check in checks:
        if check.of_node is not None:
            found += _made(check, settings.node, lambda look=check.of_node: look(node))  # type: ignore[misc]
        if check.of_zone is not None:
            look = _no_time if check.is_timed and is_misled else check.of_zone
            for patient in patients:
                found += _made(check, str(patient.me), lambda look=look, one=patient: look(one))  # type: ignore[misc]
    return found


def _is_misled(patient: ZoneContext) -> bool:
    try:
        return clock.misled(patient) is not None
    except (JinbaoError, OSError):  # the check of the clock says so itself
        return False


def _no_time(_patient: ZoneContext) -> Iterable[Finding]:
    raise UnknownError(Words("the clock must be right first", "须先校正时钟"), clock.SET, "clock")


def _made(check: Check, zone: str, look: Callable[[], Iterable[Finding]]) -> list[Line]:
    """What a check found, until it could not go on."""
    lines: list[Line] = []
    try:
        for finding in look():
            lines.append(Line(check.name, zone, finding))  # noqa: PERF401  # those before an error count
    except UnknownError as exc:
        lines.append(_unknown(check, zone, exc.code, exc.why, exc.fix))
    except JinbaoError as exc:
        lines.append(_unknown(check, zone, exc.code, same(f"{exc.thing}: {exc.got}"), ""))
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        lines.append(_unknown(check, zone, "file", same(f"{where}{exc.strerror or type(exc).__name__}"), ""))
    except Exception as exc:  # noqa: BLE001  # a doctor that breaks off helps nobody; its text may quote a row
        lines.append(_unknown(check, zone, "bug", same(where_failed(exc)), ""))
    return lines


def _unknown(check: Check, zone: str, code: str, why: Words, fix: str) -> Line:
    return Line(check.name, zone, Finding(f"{check.name}.{code}", State.UNKNOWN, got=why, fix=fix))


def worst(lines: Iterable[Line]) -> State:
    """Red before unknown before a warning."""
    states = {line.finding.state for line in lines}
    return next((s for s in (State.RED, State.UNKNOWN, State.WARNING) if s in states), State.OK)
