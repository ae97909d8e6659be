"""Tables of the standby room: how far each protected journal is here, and how far backups below said they are."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

WITNESS = sa.Table(
    "standby_witness",
    METADATA,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("backup", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("head", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("went_back_at", sa.Text, nullable=False),
)

DRILL = sa.Table(
    "standby_drill",
    METADATA,
    sa.Column("node", sa.Text, primary_key=True),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("milliseconds", sa.BigInteger, nullable=False),
    sa.Column("restored_to", sa.Text, nullable=False),
    sa.Column("wrong", sa.BigInteger, nullable=False),
    sa.Column("good_at", sa.Text, nullable=False),
    sa.Column("lsn", sa.BigInteger, nullable=False),
)

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
    sa.Column("since", sa.BigInteger, nullable=False),
)
