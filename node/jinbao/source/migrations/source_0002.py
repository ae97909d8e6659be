"""A captured table is a base and the changes since; a verdict names what it stopped and how it judged."""

import sqlalchemy as sa
from alembic import op

revision = "source_0002"
down_revision = "source_0001"
branch_labels = None
depends_on = None
release = "0.2"
step = "migrate"
runs_on = "0.2"


def upgrade() -> None:
    """Add the columns. Release 0.1 wrote a table whole, and judged all of it in every run."""
    op.add_column("source_captured", sa.Column("since", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("source_captured", sa.Column("changes", sa.Text(), nullable=False, server_default="[]"))
    op.add_column("source_captured", sa.Column("checked", sa.Text(), nullable=False, server_default=""))
    for name in ("quarantine", "findings", "way"):
        op.add_column("source_verdict", sa.Column(name, sa.Text(), nullable=False, server_default=""))


def move(connection: sa.Connection) -> None:
    """A table that release 0.1 captured was written whole by its newest run; no run has the number 0."""
    connection.exec_driver_sql("UPDATE source_captured SET since = run WHERE since = 0")
