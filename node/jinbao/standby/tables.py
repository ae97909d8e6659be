"""Tables of the standby room: up to where the journal of each protected zone is here, whole."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

CUT = sa.Table(
    "standby_cut",
    METADATA,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("head", sa.Text, nullable=False),
    sa.Column("lsn", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("captured_at", sa.Text, nullable=False),
    sa.Column("missing", sa.BigInteger, nullable=False),
)
