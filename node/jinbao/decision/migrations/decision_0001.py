"""First tables of the decision room."""

import sqlalchemy as sa
from alembic import op

revision = "decision_0001"
down_revision = None
branch_labels = ("decision",)
depends_on = None
release = "0.1"
step = "expand"
runs_on = "0.1"


def upgrade() -> None:
    """Create the room's tables."""
    op.create_table(
        "decision_segment",
        sa.Column("library", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("table", sa.Text(), nullable=False),
        sa.Column("lsn", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("origin_seq", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("standard", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("library", "origin", "table", "lsn", "n"),
    )
