"""Tables of the source room: what was captured and sealed last, per table."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

CAPTURED = sa.Table(
    "source_captured",
    METADATA,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("table", sa.Text, primary_key=True),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("current", sa.Text, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("upserts", sa.BigInteger, nullable=False),
    sa.Column("deletes", sa.BigInteger, nullable=False),
    sa.Column("findings", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("changes", sa.Text, nullable=False, server_default="[]"),
    sa.Column("checked", sa.Text, nullable=False, server_default=""),
)

ASKED = sa.Table(
    "source_asked",
    METADATA,
    sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Text, nullable=False),
)

SEALED = sa.Table(
    "source_sealed",
    METADATA,
    sa.Column("library", sa.Text, primary_key=True),
    sa.Column("table", sa.Text, primary_key=True),
    sa.Column("standard", sa.Text, nullable=False),
    sa.Column("period", sa.Text, nullable=False),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("segment", sa.Text, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("source_rows", sa.BigInteger, nullable=False),
    sa.Column("quarantined", sa.BigInteger, nullable=False),
)

VERDICT = sa.Table(
    "source_verdict",
    METADATA,
    sa.Column("library", sa.Text, primary_key=True),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("period", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("quarantine", sa.Text, nullable=False, server_default=""),
    sa.Column("findings", sa.Text, nullable=False, server_default=""),
    sa.Column("way", sa.Text, nullable=False, server_default=""),
)
