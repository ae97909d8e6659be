"""A superseded zone's tail as a file: which grant ended its epoch, from which act on, and is the file there already.

Opens no zone and moves nothing: the zone is handed in, and `rejoining` sets it aside.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinbao.appliance.assembly import OpenZone
from jinbao.model.errors import LocalError, UnprovableError, UsageError
from jinbao.standby.divergence import Place, Said, granted_place
from jinbao.standby.diverging import Source, require_on_chain, write_divergence
from jinbao.standby.opening import open_own
from jinbao.store.files import Files
from jinbao.trust.encoding import decode_envelope
from jinbao.trust.grants import open_grant

REJOIN = "standby.rejoin"
"""The question that writes a zone's file before it is set aside; its own entries in the trail make no tail."""

_PAGE, _PAGE_BYTES = 100, 4 << 20


@dataclass(frozen=True, slots=True)
class Ended:
    """What ended a zone's epoch: the epoch that was granted, and up to which act the new holder was built."""

    granted_epoch: int
    cut: Place


def ended(zone: OpenZone, grant: bytes = b"") -> Ended:
    """What ended this zone's epoch: a grant that is handed in, as its envelope, or the newest recorded here.

    Where the topology alone says so, as of the root node, nobody says what the new holder was built from: all is tail.
    Raises LocalError while the zone holds its identity, PeerError for a grant that proves nothing.
    """
    node, mine = zone.me.node, zone.identity.epoch
    found = zone.trust.grant_of(node)
    # What is recorded was proved when it came, by the lists of then.
    if grant and grant != zone.trust.proof(node):
        found = open_grant(decode_envelope(grant), zone.trust.book(), zone.topology, zone.ports.now())
        if found.node != node:
            raise UsageError("grant", expected=f"one of {node}", got=found.node)
    if found is not None and found.epoch > mine:
        return Ended(found.epoch, granted_place(found, zone.me.zone))
    if found is None and zone.superseded:
        return Ended(zone.topology.by_node[node].epoch, Place(0, ""))
    raise LocalError(
        f"zone {zone.me}",
        expected=f"a grant of {node} at an epoch above {mine}, recorded here or handed in",
        got="none" if found is None else f"one at epoch {found.epoch}",
        next_step="a zone that holds its identity has no divergence; else: --grant FILE, from a node that knows it",
    )


def source_of(zone: OpenZone) -> Source:
    """A zone as what a divergence is made of, up to its newest act now."""
    newest = zone.index.overview().acts
    return Source(zone.me, zone.index.incarnation(), zone.identity.epoch, zone.ledger, newest, zone.shelf)


def diverge(zone: OpenZone, path: Path, end: Ended, files: Files) -> Said:
    """Write the zone's tail to a file; raises as `write_divergence` does."""
    with zone.shelving:  # nothing that the tail names is removed meanwhile
        return write_divergence(
            path,
            source_of(zone),
            end.cut,
            granted_epoch=end.granted_epoch,
            signer=zone.identity,
            made_at=zone.ports.now_text(),
            reserve_bytes=zone.settings.limits.disk_reserve_bytes,
            files=files,
        )


def kept(zone: OpenZone, path: Path, end: Ended) -> Said | None:
    """What is in the file that is there already; None where none is, or it lacks acts of this zone.

    Raises LocalError for a file that this zone did not write, or that was altered: it is never written over.
    """
    if not path.exists():
        return None
    try:
        said = open_own(path, zone.identity.certificates).said
    except UnprovableError as exc:
        raise LocalError(
            f"file {path}",
            expected=f"no file, or the whole divergence of {zone.me}",
            got=str(exc),
            next_step="move it away and give the command again",
        ) from exc
    source = source_of(zone)
    if (said.zone, said.granted_epoch, said.cut) != (zone.me, end.granted_epoch, end.cut):
        raise LocalError(
            f"file {path}",
            expected=f"the divergence of {zone.me} from act {end.cut.lsn} on",
            got=f"that of {said.zone} from act {said.cut.lsn} on",
            next_step="name another directory",
        )
    require_on_chain(source, said.last)
    return said if _is_all(source, said.last) else None


def _is_all(source: Source, last: Place) -> bool:
    """Whether nothing was recorded after a place but that somebody asked for this file."""
    lsn = last.lsn
    while found := source.journal.entries(lsn, _PAGE, _PAGE_BYTES):
        if not all(e.kind == "audited" and json.loads(e.body)["action"] == REJOIN for e in found):
            return False
        lsn = found[-1].lsn
    return True


def body_of(said: Said) -> dict[str, Any]:
    """What was sealed, as JSON."""
    return {
        "zone": str(said.zone),
        "epoch": said.epoch,
        "granted_epoch": said.granted_epoch,
        "cut": said.cut.lsn,
        "last": said.last.lsn,
        "acts": said.acts,
        "kinds": dict(sorted(said.counts.items())),
        "segments": said.segments,
        "segment_bytes": said.segment_bytes,
        "missing": said.missing,
        "made_at": said.made_at,
    }
