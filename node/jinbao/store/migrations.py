"""Schema migrations by Alembic: one branch per room, run together before a zone serves.

Each room with tables keeps its revisions in its own `migrations` folder under a branch
label of its name. This module finds and runs them; it defines no table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from jinbao.model.errors import LocalError

ENVIRONMENT = Path(__file__).with_name("alembic")


def _config(folders: Sequence[Path]) -> Config:
    config = Config()
    config.set_main_option("script_location", str(ENVIRONMENT))
    config.set_main_option("version_locations", "\n".join(str(folder) for folder in folders))
    config.set_main_option("path_separator", "newline")
    return config


def upgrade(engine: sa.Engine, folders: Sequence[Path]) -> None:
    """Bring the database to the newest revision of every room; does nothing when it is there."""
    config = _config(folders)
    with engine.connect() as connection, connection.begin():
        found = revisions(connection, folders)
        if not (found.pending or found.unknown):
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "heads")


def check(engine: sa.Engine, folders: Sequence[Path]) -> None:
    """Refuse a database of another release: raises LocalError naming both sets of revisions."""
    newest = set(ScriptDirectory.from_config(_config(folders)).get_heads())
    with engine.connect() as connection:
        present = set(MigrationContext.configure(connection).get_current_heads())
    if present != newest:
        raise LocalError(
            "database schema",
            expected=sorted(newest),
            got=sorted(present) or "no schema",
            next_step="start the zone with the release that made it, or upgrade by jinbao serve",
        )


@dataclass(frozen=True, slots=True)
class Revisions:
    """Where a database stands: heads `present`, revisions `pending` in the order they run, heads `unknown` here."""

    present: tuple[str, ...]
    pending: tuple[str, ...]
    unknown: tuple[str, ...]


def revisions(connection: sa.Connection, folders: Sequence[Path]) -> Revisions:
    """What a database has and lacks of every room's revisions; changes nothing."""
    script = ScriptDirectory.from_config(_config(folders))
    downwards = {revision.revision: revision for revision in script.walk_revisions()}
    present = sorted(MigrationContext.configure(connection).get_current_heads())
    done: set[str] = set()
    left = [name for name in present if name in downwards]
    while left:
        name = left.pop()
        done.add(name)
        below = downwards[name].down_revision
        left += [below] if isinstance(below, str) else list(below or ())
    pending = [name for name in reversed(downwards) if name not in done]
    unknown = [name for name in present if name not in downwards]
    return Revisions(tuple(present), tuple(pending), tuple(unknown))
