"""A border crossed by files: packages in, packages out, and this zone's signed marks for the other side.

Serves the carrier between two zones of a node (软交换), and a medium that stands in for a cut
line: the same packages, marks and receipts either way.
"""

from __future__ import annotations

from pathlib import Path

from jinbao.appliance.assembly import OpenZone
from jinbao.authority.identity_files import ZoneIdentity
from jinbao.carrier.spool import SpoolPeer, SpoolWriter
from jinbao.model.errors import JinbaoError
from jinbao.model.stream import Mark
from jinbao.model.zone import Endpoint
from jinbao.trust.documents import open_marks, seal_marks

PACKAGES_MAX = 1000
"""Packages that lie in an outbox at once: what the receiver has not taken waits in the journal."""


class Carrying:
    """Both directions between a zone and one neighbour; not shared between threads."""

    def __init__(self, zone: OpenZone, other: Endpoint, *, inbox: Path, outbox: Path) -> None:
        self._zone, self._other = zone, other
        self._said: tuple[list[Mark], ZoneIdentity] | None = None
        self.peer = SpoolPeer(other, inbox, refused=self._refused, may_send=self._may_send)
        self._writer = SpoolWriter(
            other,
            outbox,
            offer=zone.counter,
            receiver_marks=self._receiver_marks,
            files=zone.ports.files,
            packages_max=PACKAGES_MAX,
        )

    def _refused(self, package: str, exc: JinbaoError) -> None:
        self._zone.observer.event(
            "package_refused", peer=str(self._other), package=package, code=exc.code, reason=str(exc)
        )

    def _may_send(self) -> bool:
        """Whether whoever laid packages says with its marks that it holds the other side's identity now.

        Packages bear the seals of their origins alone, and those of before a grant still count. Where nothing was
        granted there is one holder, whose certificate may have ended while a medium was carried. Raises PeerError
        for a former holder.
        """
        row = self._zone.topology.row(self._other.node)
        if row is None or row.epoch == 1:
            return True
        return self._proved_marks() is not None

    def _proved_marks(self) -> list[Mark] | None:
        """The other side's marks, proved to be its own; None where it laid none down yet."""
        zone, sealed = self._zone, self.peer.marks()
        if sealed is None:
            return None
        return open_marks(sealed, self._other, zone.trust.book(), zone.topology, zone.ports.now())

    def _receiver_marks(self) -> list[Mark]:
        """What the other side proved it has; nothing before it said so."""
        return self._proved_marks() or []

    def take(self) -> int:
        """Accept what lies in the inbox; returns how many batches."""
        return self._zone.inbound.step(self.peer)

    def lay(self) -> bool:
        """Lay down our marks if they moved, and what lies beyond the other side's; whether packages changed."""
        # Signed anew with a renewed key: marks are believed while their signer's certificate holds.
        marks, mine = self._zone.index.marks(), self._zone.identity
        if (marks, mine) != self._said:
            self._writer.write_marks(seal_marks(marks, mine))
            self._said = marks, mine
        return self._writer.step()


def between(zone: OpenZone, other: Endpoint) -> Carrying:
    """The carrier between two zones of one node, in the node's own directories."""
    settings = zone.settings
    return Carrying(
        zone,
        other,
        inbox=settings.carrier_directory(other.zone, zone.me.zone),
        outbox=settings.carrier_directory(zone.me.zone, other.zone),
    )


def on_medium(zone: OpenZone, other: Endpoint, medium: Path) -> Carrying:
    """A directory that is carried to another node by hand, with one folder for each direction."""
    inbox, outbox = medium_folder(medium, other, zone.me), medium_folder(medium, zone.me, other)
    return Carrying(zone, other, inbox=inbox, outbox=outbox)


def medium_folder(medium: Path, sender: Endpoint, receiver: Endpoint) -> Path:
    """The folder of one direction on a medium."""
    return medium / f"{sender}-to-{receiver}".replace("/", "-")
