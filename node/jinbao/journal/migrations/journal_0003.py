"""The epoch at which a zone was created, or last took over from the holder before."""

import sqlalchemy as sa
from alembic import op

revision = "journal_0003"
down_revision = "journal_0002"
branch_labels = None
depends_on = None
release = "0.2"
step = "expand"
runs_on = "0.2"


def upgrade() -> None:
    """Before there were grants every zone was created at epoch 1."""
    op.add_column("journal_zone", sa.Column("epoch", sa.BigInteger(), nullable=False, server_default="1"))
