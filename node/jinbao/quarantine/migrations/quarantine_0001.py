"""First tables of the quarantine room."""

import sqlalchemy as sa
from alembic import op

revision = "quarantine_0001"
down_revision = None
branch_labels = ("quarantine",)
depends_on = None
release = "0.1"
step = "expand"
runs_on = "0.1"


def upgrade() -> None:
    """Create the room's tables."""
    op.create_table(
        "quarantine_finding",
        sa.Column("library", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("table", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("run", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("library", "n"),
    )
    op.create_table(
        "quarantine_release",
        sa.Column("library", sa.Text(), nullable=False),
        sa.Column("table", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("quarantined_in", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("library", "table", "key", "run"),
    )
    op.create_table(
        "quarantine_row",
        sa.Column("library", sa.Text(), nullable=False),
        sa.Column("table", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("row", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("library", "table", "key", "n"),
    )
