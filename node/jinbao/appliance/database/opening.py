"""The database of a stopped zone, opened under the zone's lock and closed again. Starts no zone, upgrades nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from jinbao.appliance.assembly import projections_of
from jinbao.appliance.database.urls import PATIENCE, database_url, setting_of, shown
from jinbao.appliance.settings import Settings
from jinbao.appliance.zone_lock import Purpose, lock, require_owner
from jinbao.journal.segments import SegmentShelf
from jinbao.library.room import LibraryProjection
from jinbao.model.errors import LocalError
from jinbao.model.places import tiers_directory
from jinbao.model.zone import Zone
from jinbao.registry.standards import load_standards
from jinbao.store.engine import Store
from jinbao.store.files import Files
from jinbao.store.projection import Projection

_CONNECT_S = "10"
"""An operator waits no longer for a server that does not answer."""


def require_file(url: sa.URL) -> None:
    """Raise LocalError if a SQLite database is not there: opening it would make it."""
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        raise LocalError(
            f"database {shown(url)}",
            expected="a file",
            got="none",
            next_step="jinbao serve makes it when the zone first starts",
        )


@contextmanager
def stopped(settings: Settings, zone: Zone, *, as_is: bool = False) -> Iterator[Store]:
    """The store of a stopped zone; raises LockedError while another process has the zone open. `as_is`: see `lock`."""
    endpoint, directory = settings.endpoint(zone), settings.directory(zone)
    if not directory.is_dir():
        raise LocalError(
            f"zone {endpoint}",
            expected=f"a directory at {directory}",
            got="none",
            next_step="check data_directory, or run as the account that owns the zone",
        )
    url = database_url(settings.database(zone), setting_of(zone))
    require_file(url)
    require_owner(directory)
    unlock = lock(directory, Purpose.DATABASE, as_is=as_is)
    try:
        store = opened(url, directory / "stage")
        try:
            yield store
        finally:
            store.close()
    finally:
        unlock()


def opened(url: sa.URL, stage: Path) -> Store:
    """A store on a database; whoever opens it holds the zone's lock."""
    if url.get_backend_name() == "postgresql" and PATIENCE not in url.query:
        url = url.update_query_dict({PATIENCE: _CONNECT_S})
    return Store(url.render_as_string(hide_password=False), stage)


def readings(
    settings: Settings, zone: Zone
) -> tuple[LibraryProjection, tuple[Projection, ...], SegmentShelf]:
    """How a zone's tables follow from its journal: the libraries, every room, and where its segments lie."""
    standards = load_standards((settings.standards_directory or tiers_directory()) / "standards")
    shelf = SegmentShelf(settings.directory(zone) / "segments", Files())
    libraries, projections = projections_of(standards, shelf)
    return libraries, projections, shelf
