"""Schema migrations by Alembic: one branch per room, run together before a zone serves.

Each room with tables keeps its revisions in its own `migrations` folder under a branch
label of its name. This module finds and runs them, and keeps a record of what each was (`steps`),
so that an older release knows whether it can run on what a newer one made. It defines no table of a room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from jinbao import __version__
from jinbao.model.errors import LocalError
from jinbao.store.steps import Kind, Step, catch_up, declared, leave_behind, minor, record, recorded

ENVIRONMENT = Path(__file__).with_name("alembic")


def _config(folders: Sequence[Path]) -> Config:
    config = Config()
    config.set_main_option("script_location", str(ENVIRONMENT))
    config.set_main_option("version_locations", "\n".join(str(folder) for folder in folders))
    config.set_main_option("path_separator", "newline")
    return config


def upgrade(engine: sa.Engine, folders: Sequence[Path], backup: str = "") -> None:
    """Bring the database to the newest revision of every room, in one transaction; does nothing when it is there.

    `backup` is the name of the copy that was made before. A schema of a newer release is left as it is where this
    release can run on it; raises LocalError where it cannot.
    """
    config = _config(folders)
    modules = _modules(ScriptDirectory.from_config(config))
    with engine.connect() as connection, connection.begin():
        found = revisions(connection, folders)
        found.require_borne("database schema")
        leave_behind(connection, found.ahead)
        if found.pending:
            config.attributes |= {"connection": connection, "ran": _recorder(backup)}
            command.upgrade(config, "heads")
        _record_others(connection, modules)
        for _ in catch_up(connection, modules):
            pass


def _modules(script: ScriptDirectory) -> dict[str, ModuleType]:
    return {revision.revision: revision.module for revision in script.walk_revisions()}


def _recorder(backup: str) -> Any:
    """What Alembic calls after each revision, in its transaction."""

    def ran(*, ctx: MigrationContext, step: Any, **_: Any) -> None:
        assert ctx.connection is not None
        module = step.up_revision.module
        said = declared(module)
        if said.kind == Kind.MIGRATE:
            module.move(ctx.connection)
        record(ctx.connection, said, __version__, backup)

    return ran


def _record_others(connection: sa.Connection, modules: Mapping[str, ModuleType]) -> None:
    """Put on record what ran before there was a record."""
    known = recorded(connection)
    for name in reversed(list(modules)):
        if name not in known:
            record(connection, declared(modules[name]), "", "")


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
    """Where a database stands: heads `present`, revisions `pending` in the order they run, heads `unknown` here.

    `ahead` has what is on record of steps that are unknown here, by revision; `refused` names those this release cannot
    run on, or that nobody recorded; `moving` the pending ones that are more than an expansion.
    """

    present: tuple[str, ...]
    pending: tuple[str, ...]
    unknown: tuple[str, ...]
    ahead: Mapping[str, Step]
    refused: tuple[str, ...]
    moving: tuple[str, ...]

    @property
    def is_borne(self) -> bool:
        """Whether this release can run on all that it does not know."""
        return not self.refused and not (self.unknown and self.pending)

    @property
    def made_by(self) -> str:
        """The newest release that is on record of what is unknown here; empty for none."""
        return max((step.made_by for step in self.ahead.values() if step.made_by), key=minor, default="")

    @property
    def copy(self) -> str:
        """Name of the copy made before the first of what is unknown here; empty for none."""
        return min((step.backup for step in self.ahead.values() if step.backup), default="")

    def require_borne(self, thing: str) -> None:
        """Raise LocalError with the way back where this release cannot run on this schema."""
        if self.is_borne:
            return
        lacks = f", and lacks {', '.join(self.pending)}" if self.pending else ""
        newer = f"start release {self.made_by} again" if self.made_by else "start the release that made it"
        older = f", or restore the copy {self.copy} made before: jinbao backup restore" if self.copy else ""
        raise LocalError(
            thing,
            expected=f"a schema that release {__version__} can run on",
            got=f"{', '.join(self.refused or self.unknown)}{lacks}",
            next_step=f"{newer}{older}",
        )


def revisions(connection: sa.Connection, folders: Sequence[Path], release: str = "") -> Revisions:
    """What a database has and lacks of every room's revisions; changes nothing.

    With `release` as that one would find it, by what each revision says of itself and by what is on record.
    """
    script = ScriptDirectory.from_config(_config(folders))
    known = {
        revision.revision: revision
        for revision in script.walk_revisions()
        if not release or minor(revision.module.release) <= minor(release)
    }
    present = sorted(MigrationContext.configure(connection).get_current_heads())
    unknown = [name for name in present if name not in known]
    ahead, roots, unrecorded = _ahead(connection, unknown, known)
    done: set[str] = set()
    left = [name for name in (*present, *roots) if name in known]
    while left:
        name = left.pop()
        done.add(name)
        below = known[name].down_revision
        left += [below] if isinstance(below, str) else list(below or ())
    pending = [name for name in reversed(known) if name not in done]
    lacking = [step for step in ahead.values() if not (release and step.is_of(release))]
    refused = [*unrecorded, *(step.revision for step in lacking if not step.bears(release or __version__))]
    moving = [name for name in pending if declared(known[name].module).kind != Kind.EXPAND]
    return Revisions(
        tuple(present), tuple(pending), tuple(unknown), ahead, tuple(sorted(refused)), tuple(moving)
    )


def _ahead(
    connection: sa.Connection, unknown: Sequence[str], known: Mapping[str, Any]
) -> tuple[dict[str, Step], list[str], list[str]]:
    """What is on record from unknown heads down, the revisions known here that they follow, and what is not on record."""
    steps = recorded(connection) if unknown else {}
    ahead: dict[str, Step] = {}
    roots, unrecorded = [], []
    for head in unknown:
        name = head
        while name and name not in known and name not in ahead:
            if name not in steps:
                unrecorded.append(name)
                break
            ahead[name] = steps[name]
            name = steps[name].follows
        if name in known:
            roots.append(name)
    return ahead, roots, unrecorded
