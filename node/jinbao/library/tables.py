"""Tables of the library room: submissions by migration, one table per standard table by its standard.

A library table has the standard's columns under their LB codes, the origin node and the
seq of the submission that last wrote the row; its key is origin and the standard's key.
On PostgreSQL it is in parts, one per origin.
"""

from __future__ import annotations

import sqlalchemy as sa

from jinbao.model.standard import Standard, Table

METADATA = sa.MetaData()

ORIGIN = "_origin"
SEQ = "_seq"

SUBMISSION = sa.Table(
    "library_submission",
    METADATA,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("head", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("first", sa.BigInteger, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("library", sa.Text, nullable=False),
    sa.Column("standard", sa.Text, nullable=False),
    sa.Column("period", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("segments", sa.Text, nullable=False),
    sa.Column("tables", sa.Text, nullable=False),
    sa.Column("lsn", sa.BigInteger, nullable=False),
)


def table_name(library: str, table: str) -> str:
    """The SQL name of a library's table; both parts come from a standard we hold."""
    return f"{library}__{table}"


def sql_table(standard: Standard, table: Table) -> sa.Table:
    """The SQLAlchemy table of one standard table."""
    return sa.Table(
        table_name(standard.library, table.id),
        sa.MetaData(),
        sa.Column(ORIGIN, sa.Text, primary_key=True),
        *(
            sa.Column(
                item.code,
                sa.Text if item.is_text else sa.BigInteger,
                primary_key=item.code in table.key,
                autoincrement=False,
            )
            for item in table.items
        ),
        sa.Column(SEQ, sa.BigInteger, nullable=False),
        postgresql_partition_by=f'LIST ("{ORIGIN}")',
    )
