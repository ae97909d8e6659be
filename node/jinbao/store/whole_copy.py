"""A SQLite database copied whole and as of one moment, pages as they are, by the connection that owns it.

Knows nothing of what is in it, so that a database of any release is copied. Gives the copy no name of its own
and makes nothing durable.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from jinbao.model.errors import CorruptionError
from jinbao.store.engine import Store
from jinbao.store.files import telling_full_disk


def size_bytes(store: Store) -> int:
    """Room that a copy takes at most: the database, and the log that is not yet in it."""
    place = Path(str(store.url.database))
    beside = (place, place.with_name(f"{place.name}-wal"))
    return sum(path.stat().st_size for path in beside if path.is_file())


def copy_whole(store: Store, target: Path, next_step: str) -> None:
    """Copy the database into a new file, and read every page of the copy.

    Raises SpaceError for a full disk, with `next_step`, and CorruptionError for a copy that is not sound.
    """
    target.unlink(missing_ok=True)
    target.touch(mode=0o600)
    with (
        telling_full_disk(f"copy {target}", next_step),
        store.writer.connect() as connection,
        closing(sqlite3.connect(target)) as copy,
    ):
        source: Any = connection.connection.driver_connection
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, with no log beside it
        found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise CorruptionError(
            f"copy {target}",
            expected="every page as it was written",
            got=str(found)[:200],
            next_step="jinbao doctor; docs/how-to/when-a-disk-fails.md",
        )
