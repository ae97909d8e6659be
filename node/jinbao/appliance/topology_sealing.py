"""Sealing a newer topology by the zone that is its root: judged by what the zone believes, before its seal is on it.

Every node believes a sealed topology it is shown, so what it may not say is refused here, in words: an older version,
another domain, a time that is not after the last one's, an epoch below one that was granted. Hands nothing out: the
operator does, by `trust.import`. Before the zone's first start there is nothing to judge by: `topology_file.seal_first`.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from jinbao.appliance.admin_client import is_running
from jinbao.appliance.assembly import MIGRATIONS, OpenZone
from jinbao.appliance.database.opening import stopped
from jinbao.appliance.database.urls import database_url, setting_of
from jinbao.appliance.database.usable import require_usable
from jinbao.appliance.settings import Settings
from jinbao.appliance.topology_file import parse_topology, require_root, sealed
from jinbao.appliance.zone_lock import LockedError
from jinbao.journal.tables import ZONE
from jinbao.model.errors import UsageError
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.documents import open_topology
from jinbao.trust.encoding import decode_envelope


def is_founded(settings: Settings) -> bool:
    """Whether the exchange zone of a node was ever started: it has a journal, in which an act is recorded.

    Raises LocalError where its database cannot be looked at.
    """
    if is_running(settings, Zone.EXCHANGE):
        return True
    url = database_url(settings.database(Zone.EXCHANGE), setting_of(Zone.EXCHANGE))
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        return False
    try:
        with stopped(settings, Zone.EXCHANGE, as_is=True) as store:
            require_usable(store, MIGRATIONS)
            with store.read() as connection:
                if not sa.inspect(connection).has_table(ZONE.name):
                    return False
                return connection.scalar(sa.select(ZONE.c.incarnation)) is not None
    except LockedError:  # whoever has it open is about to listen, or is a question that will be answered
        return True


def seal(zone: OpenZone, text: str, name: str) -> tuple[Topology, bytes]:
    """The topology of a text and its envelope, sealed by a zone whose own trust proves it.

    Raises SettingsError for a text that is no topology, UsageError for one that cannot follow the one in force.
    """
    now = zone.trust.topology()
    if zone.me != Endpoint(now.root, Zone.EXCHANGE):
        raise UsageError(
            f"seal of topology {name}",
            expected=f"to be asked of {now.root}/exchange, the root",
            got=zone.me,
            next_step="seal it at the root node",
        )
    zone.outdated.require_newest()
    found = parse_topology(text, name, zone.ports.now())
    require_root(found, zone.me.node, name)
    _check_follows(found, now, name)
    _check_epochs(found, now, name)
    held = zone.trust.identity().epoch
    if (said := found.epoch(zone.me.node)) != held:
        raise UsageError(
            f"topology {name}: {zone.me.node}: epoch",
            expected=f"{held}, of the certificate that seals",
            got=said,
            next_step=f"write epoch = {held}",
        )
    body = sealed(found, zone.trust.identity())
    open_topology(decode_envelope(body), zone.trust.book(), zone.ports.now())
    return found, body


def _check_follows(found: Topology, now: Topology, name: str) -> None:
    """Raise UsageError for another domain, a version that is no newer, or a time that is not later."""
    if found.trust_domain != now.trust_domain:
        raise UsageError(
            f"topology {name}: trust_domain",
            expected=now.trust_domain,
            got=found.trust_domain,
            next_step="a network keeps its domain",
        )
    if found.version <= now.version:
        raise UsageError(
            f"topology {name}: version",
            expected=f"a number above {now.version}, which is in force",
            got=found.version,
            next_step=f"write version = {now.version + 1}",
        )
    if found.made_at <= now.made_at:
        raise UsageError(
            f"topology {name}: time of its seal",
            expected=f"after {now.made_at}, of the version in force",
            got=found.made_at,
            next_step="seal it again once the clock is right: jinbao doctor --only clock",
        )


def _check_epochs(found: Topology, now: Topology, name: str) -> None:
    """Raise UsageError where a node falls back behind an epoch that is in force, by the last version or by a grant."""
    for row in found.rows:
        held = now.epoch(row.node)
        if row.epoch < held:
            raise UsageError(
                f"topology {name}: {row.node}: epoch",
                expected=f"{held}, which is in force, or more",
                got=row.epoch,
                next_step=f"write epoch = {held}: no older holder of an identity is let in again",
            )
