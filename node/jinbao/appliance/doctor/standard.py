"""Standard 标准版本: whether the node above, or a batch that came, is of a newer version of a standard than ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from jinbao.appliance.doctor.context import Hello, ZoneContext
from jinbao.appliance.doctor.findings import Finding, State, UnknownError, Words, same
from jinbao.appliance.doctor.rules import place, renewal
from jinbao.model.errors import JinbaoError
from jinbao.model.standard import Standard, newest_versions, version_order
from jinbao.model.zone import Zone
from jinbao.registry.standards import load_standards


def look(zone: ZoneContext) -> Iterator[Finding]:
    """One finding for each standard that is older than one known of; of the exchange zone, which meets the others."""
    if zone.zone is not Zone.EXCHANGE:
        return
    try:
        mine = load_standards(place(zone.node) / "standards")
    except JinbaoError as exc:
        raise UnknownError(Words("the standards cannot be read", "无法读取标准"), code="rules") from exc
    said = _said(zone)
    known = {library: version for library, version in newest_versions(said or ()).items() if library in mine}
    older = [s for s in mine.values() if version_order(s.version) < version_order(known.get(s.library, ""))]
    for standard in older:
        yield _old(zone, standard, known[standard.library])
    if not older:
        if said is None:
            raise UnknownError(Words("the node above does not answer", "上级未应答"), code="peers")
        got = Words(f"{len(mine)} standards, none newer is known", f"{len(mine)} 个标准，未见更新的版本")
        yield Finding("standard.ok", State.OK, got=got, numbers={"standards": len(mine)})


def _said(zone: ZoneContext) -> list[str] | None:
    """Ids that the node above and the batches here name; None where neither could be asked."""
    above, said, answered = zone.topology.parent(zone.me), list[str](), False
    hello = zone.hellos.get(above) if above is not None else None
    if isinstance(hello, Hello):
        said, answered = list(hello.standards), True
    with suppress(UnknownError):
        said += zone.facts.standards or ()
        answered |= above is None or bool(zone.facts.standards)
    return said if answered else None


def _old(zone: ZoneContext, standard: Standard, newer: str) -> Finding:
    return Finding(
        "standard.outdated",
        State.RED,
        same(newer),
        same(standard.version),
        standard.library,
        renewal(zone.node),
        Words(
            f"if this release has no {newer}, install the release the node above runs; then restart the zones",
            f"若本版本没有 {newer}，请安装上级所用的版本；随后重启各分区",
        ),
    )
