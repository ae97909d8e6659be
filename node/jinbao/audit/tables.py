"""Tables of the audit room; triggers of its migration let entries be added, and cut only below a recorded cut."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

ENTRY = sa.Table(
    "audit_entry",
    METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    # Taken out of the body to be searched; verification holds them against it.
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("about", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Index("audit_entry_about", "about"),
)

CUT = sa.Table(
    "audit_cut",
    METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
)
