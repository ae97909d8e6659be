"""Steps of a schema: what kind each revision is, which release can run on it, and its record in the database.

A revision says of itself `release` (the first that has it), `step`, and `runs_on` (the oldest release that can
run on what it leaves): `expand` adds and no more; `migrate` moves data by a function `move` that may run any number of
times; `contract` takes away, and names in `ends` the steps it is the end of. The record is made in the revision's
own transaction, so that a release which does not know it can tell whether it may go on. Runs no revision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType

import sqlalchemy as sa

METADATA = sa.MetaData()

STEP = sa.Table(
    "schema_step",
    METADATA,
    sa.Column("revision", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("follows", sa.Text, nullable=False),
    sa.Column("runs_on", sa.Text, nullable=False),
    sa.Column("made_by", sa.Text, nullable=False),
    sa.Column("backup", sa.Text, nullable=False),
    sa.Column("behind", sa.BigInteger, nullable=False),
)
"""One row a revision that ran: `follows` the one before it in its room, was `made_by` a release after a `backup` of that
name (empty for none). Data of a `migrate` is `behind` once a release that does not know it began to write."""


RECORDED_SINCE = (0, 2)
"""The release that began to put steps on record: the one before refuses every step it does not know."""


class Kind(StrEnum):
    """What a revision does to those who do not know it."""

    EXPAND = "expand"
    MIGRATE = "migrate"
    CONTRACT = "contract"


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded revision; see the table."""

    revision: str
    kind: str
    follows: str
    runs_on: str
    made_by: str = ""
    backup: str = ""
    behind: int = 0

    def bears(self, release: str) -> bool:
        """Whether a release that does not know this step may run on what it left; a kind nobody knows bears none."""
        needed = max(minor(self.runs_on), RECORDED_SINCE)
        return self.kind in {Kind.EXPAND, Kind.MIGRATE} and needed <= minor(release)

    def is_of(self, release: str) -> bool:
        """Whether a release has this step: it, or one before it, was the one that ran it."""
        return bool(self.made_by) and minor(self.made_by) <= minor(release)


def minor(release: str) -> tuple[int, int]:
    """Major and minor of a release, `0.2.1` or `0.2`."""
    major, _, rest = release.partition(".")
    return int(major), int(rest.partition(".")[0] or 0)


def declared(module: ModuleType) -> Step:
    """The step a revision says it is; one that says nothing is a bug."""
    named = module.down_revision
    assert named is None or isinstance(named, str), f"{module.revision} follows one revision of its room"
    kind = Kind(module.step)
    assert kind is not Kind.MIGRATE or callable(module.move), f"{module.revision} moves data by a function"
    return Step(module.revision, kind, named or "", module.runs_on)


def recorded(connection: sa.Connection) -> dict[str, Step]:
    """Every step on record by revision; empty in a database that no release since 0.2 upgraded."""
    if not sa.inspect(connection).has_table(STEP.name):
        return {}
    rows = connection.execute(sa.select(STEP)).mappings().all()
    steps = [Step(**row) for row in rows]
    return {step.revision: step for step in steps}


def record(connection: sa.Connection, step: Step, made_by: str, backup: str) -> None:
    """Put a step on record; the table is made where there is none."""
    STEP.create(connection, checkfirst=True)
    said = {"kind": step.kind, "follows": step.follows, "runs_on": step.runs_on}
    row = {"revision": step.revision, **said, "made_by": made_by, "backup": backup, "behind": 0}
    connection.execute(STEP.delete().where(STEP.c.revision == step.revision))
    connection.execute(STEP.insert(), row)


def leave_behind(connection: sa.Connection, steps: Mapping[str, Step]) -> None:
    """Note of data that was moved by steps we do not know that rows we write will not be."""
    for step in steps.values():
        if step.kind == Kind.MIGRATE and not step.behind:
            connection.execute(STEP.update().where(STEP.c.revision == step.revision).values(behind=1))


def catch_up(connection: sa.Connection, modules: Mapping[str, ModuleType]) -> Iterator[str]:
    """Move again what an older release left behind; names each step once that is done."""
    for name, step in recorded(connection).items():
        if step.behind and name in modules:
            modules[name].move(connection)
            connection.execute(STEP.update().where(STEP.c.revision == name).values(behind=0))
            yield name
