"""Revisions of a release that does not exist yet, as real files that Alembic runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

import jinbao
from jinbao.appliance.assembly import MIGRATIONS
from jinbao.store import migrations
from jinbao.store.migrations import upgrade

EXPAND = """
def upgrade() -> None:
    op.add_column("journal_mark", sa.Column("note", sa.Text(), nullable=False, server_default="new"))
    op.create_table("journal_extra", sa.Column("n", sa.BigInteger(), primary_key=True, autoincrement=False))
"""

MOVE = """
def upgrade() -> None:
    op.add_column("journal_pause", sa.Column("said", sa.Text(), nullable=False, server_default=""))


def move(connection: sa.Connection) -> None:
    connection.exec_driver_sql("UPDATE journal_pause SET said = upper(reason) WHERE said = ''")
"""

CONTRACT = """
def upgrade() -> None:
    with op.batch_alter_table("journal_mark") as batch:
        batch.drop_column("head")
"""


def folder_of(
    directory: Path, *, step: str, body: str, runs_on: str = "0.1", follows: str = ""
) -> list[Path]:
    """Every folder of this release, and one with a revision after the journal's newest, or after one of these."""
    directory.mkdir(exist_ok=True)
    at = len(list(directory.glob("*.py"))) + 1
    name = f"journal_90{at:02d}"
    text = f'''"""A step of a release to come."""

import sqlalchemy as sa
from alembic import op

revision = "{name}"
down_revision = "{follows or newest("journal")}"
branch_labels = None
depends_on = None
release = "9.1"
step = "{step}"
runs_on = "{runs_on}"
ends = ()

{body}'''
    (directory / f"{name}.py").write_text(text, encoding="utf-8")
    return [*MIGRATIONS, directory]


def newest(room: str) -> str:
    """The newest revision of a room."""
    folder = Path(jinbao.__file__).parent / room / "migrations"
    return max(path.stem for path in folder.glob(f"{room}_*.py"))


@contextmanager
def release(version: str) -> Iterator[None]:
    """Let what is upgraded inside be upgraded by a release of that number."""
    own = migrations.__version__
    migrations.__version__ = version
    try:
        yield
    finally:
        migrations.__version__ = own


def upgraded(engine: sa.Engine, folders: list[Path], copy: str = "") -> None:
    """Upgrade a database as release 9.1 does, after a copy of that name."""
    with release("9.1.0"):
        upgrade(engine, folders, copy)
