"""Tables of the registry room: signed documents as they came, the newest of each."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

DOCUMENT = sa.Table(
    "registry_document",
    METADATA,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("peer", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("lsn", sa.BigInteger, nullable=False),
)
