"""A library table at today's shape: made, given new columns, or put in parts.

Library tables follow the standards a zone holds, so no migration can name them; this
runs at every start, inside the caller's transaction. Never deletes a column.
"""

from __future__ import annotations

import sqlalchemy as sa

from jinbao.library.tables import ORIGIN
from jinbao.store.partition import Part, is_partitioned


def ensure_table(connection: sa.Connection, table: sa.Table) -> None:
    """Bring one table to the shape it is declared in; does nothing where it has it."""
    inspector = sa.inspect(connection)
    if not inspector.has_table(table.name):
        table.create(connection)
        return
    present = {column["name"] for column in inspector.get_columns(table.name)}
    for column in table.columns:
        if column.name not in present:
            kind = column.type.compile(connection.dialect)
            connection.exec_driver_sql(f'ALTER TABLE {table.name} ADD COLUMN "{column.name}" {kind}')
    if connection.dialect.name == "postgresql" and not is_partitioned(connection, table):
        _divide(connection, table)


def _divide(connection: sa.Connection, table: sa.Table) -> None:
    """Put the rows of a whole table, as release 0.1 made it, in one part per origin."""
    whole = f"{table.name}_whole"
    connection.exec_driver_sql(f"ALTER TABLE {table.name} RENAME TO {whole}")
    # Its key keeps the name that the new table's key will have.
    connection.exec_driver_sql(f"ALTER TABLE {whole} DROP CONSTRAINT {_key_name(connection, whole)}")
    table.create(connection)
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    for (origin,) in connection.exec_driver_sql(f'SELECT DISTINCT "{ORIGIN}" FROM {whole}').all():
        part = Part(connection, table, ORIGIN, origin)
        part.create()
        rows = sa.text(
            f'INSERT INTO {part.fresh} ({names}) SELECT {names} FROM {whole} WHERE "{ORIGIN}" = :origin'
        )
        connection.execute(rows, {"origin": origin})
        part.finish()
        part.swap()
    connection.exec_driver_sql(f"DROP TABLE {whole}")


def _key_name(connection: sa.Connection, table: str) -> str:
    name = sa.inspect(connection).get_pk_constraint(table)["name"]
    return connection.dialect.identifier_preparer.quote(str(name))
