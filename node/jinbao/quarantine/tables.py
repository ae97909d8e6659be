"""Tables of the quarantine room."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

ROW = sa.Table(
    "quarantine_row",
    METADATA,
    sa.Column("library", sa.Text, primary_key=True),
    sa.Column("table", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("period", sa.Text, nullable=False),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("row", sa.Text, nullable=False),
)

FINDING = sa.Table(
    "quarantine_finding",
    METADATA,
    sa.Column("library", sa.Text, primary_key=True),
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("table", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("value", sa.Text),
    sa.Column("run", sa.Text, nullable=False),
)

RELEASE = sa.Table(
    "quarantine_release",
    METADATA,
    sa.Column("library", sa.Text, primary_key=True),
    sa.Column("table", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("quarantined_in", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
)
