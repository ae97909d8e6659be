"""Catalogues: how one kind of business database names its tables, words its values and finds its rows. SQL only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from jinbao.model.token import DIGEST, XMIN


@dataclass(frozen=True, slots=True)
class TableShape:
    """One business table as the database declares it; `key` may be empty."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


class Catalogue(Protocol):
    """What a snapshot needs to know of a kind of database."""

    def shapes(self, cursor: Any) -> Iterator[TableShape]:
        """Tables of the database's default schema."""
        ...

    def text(self, column: str, *, raw: bool) -> str:
        """SQL that gives a column as text, or as its bytes."""
        ...

    def token(self, cursor: Any, shape: TableShape, token: str) -> str:
        """SQL that gives a row's token as text; `token` is `DIGEST`, `XMIN` or a column."""
        ...

    def types(self, cursor: Any, table: str) -> dict[str, str]:
        """The SQL type of each column, where a text must be cast to be compared with it."""
        ...

    def among(self, columns: Mapping[str, str], keys: pl.DataFrame) -> str:
        """SQL after the table's name that leaves the rows of these keys; `columns` quoted, with their types, in order."""
        ...

    def typing_row(self, columns: Sequence[str], *, raw: bool) -> str:
        """SQL before the table's own that gives one row to be dropped again; empty where none is needed."""
        ...

    def is_as_seen(self, cursor: Any, table: str) -> bool:
        """Keep others from altering the table until the end; whether it is still the one the snapshot sees."""
        ...


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class SqliteCatalogue:
    """SQLite: any column may hold any type, so each value is cast by itself."""

    def shapes(self, cursor: Any) -> Iterator[TableShape]:
        """Ordinary tables."""
        cursor.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        )
        for name in cursor.fetch_arrow_table().column(0).to_pylist():
            cursor.execute(f"PRAGMA table_info({quoted(name)})")
            info = cursor.fetch_arrow_table().to_pylist()
            key = tuple(c["name"] for c in sorted(info, key=lambda c: c["pk"]) if c["pk"])
            yield TableShape(name, tuple(c["name"] for c in info), key)

    def text(self, column: str, *, raw: bool) -> str:
        """CAST in the database."""
        return f"CAST({quoted(column)} AS {'BLOB' if raw else 'TEXT'})"

    def token(self, cursor: Any, shape: TableShape, token: str) -> str:
        """A column's text; SQLite has no hash and no number of its writers."""
        del cursor, shape
        return self.text(token, raw=False)

    def types(self, cursor: Any, table: str) -> dict[str, str]:
        """None: a column's affinity makes of the text what it would have stored."""
        del cursor, table
        return {}

    def among(self, columns: Mapping[str, str], keys: pl.DataFrame) -> str:
        """A join with the keys as one JSON text, so that the key's index is used."""
        texts = _literal(json.dumps(keys.rows(), ensure_ascii=False))
        names = [f"asked_{at}" for at in range(len(columns))]
        chosen = ", ".join(f"json_extract(value, '$[{at}]') AS {name}" for at, name in enumerate(names))
        each = " AND ".join(f"{column} = asked.{name}" for column, name in zip(columns, names, strict=True))
        return f" JOIN (SELECT {chosen} FROM json_each({texts})) AS asked ON {each}"

    def typing_row(self, columns: Sequence[str], *, raw: bool) -> str:
        """The driver takes a column of NULLs for integers and refuses text in a later batch: show it text first."""
        empty = "x''" if raw else "''"
        return f"SELECT {', '.join(f'{empty} AS {quoted(c)}' for c in columns)} UNION ALL "

    def is_as_seen(self, cursor: Any, table: str) -> bool:
        """SQLite's snapshot holds the schema too: nothing can come between."""
        del cursor, table
        return True


class PostgresCatalogue:
    """PostgreSQL: the schema's own text form of every type; numeric keeps its digits."""

    def shapes(self, cursor: Any) -> Iterator[TableShape]:
        """Ordinary and partitioned tables of the current schema."""
        cursor.execute(_POSTGRES_COLUMNS)
        tables: dict[str, list[tuple[str, bool]]] = {}
        for row in cursor.fetch_arrow_table().to_pylist():
            tables.setdefault(row["tab"], []).append((row["col"], bool(row["is_key"])))
        for name, columns in tables.items():
            yield TableShape(name, tuple(c for c, _ in columns), tuple(c for c, is_key in columns if is_key))

    def text(self, column: str, *, raw: bool) -> str:
        """CAST in the database; it always speaks UTF-8 to us."""
        del raw
        return f"CAST({quoted(column)} AS text)"

    def token(self, cursor: Any, shape: TableShape, token: str) -> str:
        """A hash of the row, `xmin`, or a column's text."""
        if token == XMIN:
            return f"{quoted(shape.name)}.xmin::text"
        return self._digest(cursor, shape) if token == DIGEST else self.text(token, raw=False)

    def _digest(self, cursor: Any, shape: TableShape) -> str:
        """A hash of the row's values where equal values have one text, else of its text; of an old server by MD5."""
        cursor.execute(_POSTGRES_HASHES)
        known = set(cursor.fetch_arrow_table().column(0).to_pylist())
        row = f"ROW({', '.join(quoted(c) for c in shape.columns)})"
        # A row handed from a worker costs less than its hash; the server's own settings say how many may work.
        cursor.execute("SET LOCAL parallel_tuple_cost = 0.001")
        if "hash_record_extended" in known:
            cursor.execute(_POSTGRES_SINGLE_TEXT.format(table=_literal(quoted(shape.name))))
            if cursor.fetch_arrow_table().column(0)[0].as_py():
                cursor.execute(_POSTGRES_FORMS)
                forms = cursor.fetch_arrow_table().column(0)[0].as_py()
                return f"hash_record_extended({row}, CAST('{forms}' AS bigint))::text"
        return (
            f"hashtextextended({row}::text, 0)::text" if "hashtextextended" in known else f"md5({row}::text)"
        )

    def types(self, cursor: Any, table: str) -> dict[str, str]:
        """By their full names, without length: a text too long for a column is not cut to meet it."""
        cursor.execute(
            "SELECT attname::text AS col, format('%I.%I', nspname, typname) AS type FROM pg_attribute a "
            "JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace "
            f"WHERE a.attrelid = {_literal(quoted(table))}::regclass AND a.attnum > 0 AND NOT a.attisdropped"
        )
        return {row["col"]: row["type"] for row in cursor.fetch_arrow_table().to_pylist()}

    def among(self, columns: Mapping[str, str], keys: pl.DataFrame) -> str:
        """A join with the keys as arrays, so that the key's index is used."""
        names = [f"asked_{at}" for at in range(len(columns))]
        arrays = (f"{_literal(_array(keys.get_column(column)))}::text[]" for column in keys.columns)
        casts = zip(columns.items(), names, strict=True)
        each = " AND ".join(f"{column} = CAST(asked.{name} AS {kind})" for (column, kind), name in casts)
        return f" JOIN unnest({', '.join(arrays)}) AS asked({', '.join(names)}) ON {each}"

    def typing_row(self, columns: Sequence[str], *, raw: bool) -> str:
        """None: the server says the type of every column."""
        del columns, raw
        return ""

    def is_as_seen(self, cursor: Any, table: str) -> bool:
        """Compare the table's file as the snapshot knows it with the file there is, under a lock that lasts.

        TRUNCATE and an ALTER TABLE that rewrites are not under PostgreSQL's snapshots: afterwards
        an older one sees no row at all, and a capture would take every row for deleted.
        """
        cursor.execute(f"LOCK TABLE {quoted(table)} IN ACCESS SHARE MODE")
        cursor.execute(_POSTGRES_AS_SEEN.format(table=quoted(table).replace("'", "''")))
        return bool(cursor.fetch_arrow_table().column(0)[0].as_py())


def _array(texts: pl.Series) -> str:
    """An array as PostgreSQL reads one, every text in quotes and NULL as NULL."""
    escaped = texts.str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)
    return "{" + ",".join(('"' + escaped + '"').fill_null("NULL")) + "}"


_POSTGRES_COLUMNS = """
SELECT c.relname::text AS tab, a.attname::text AS col,
       coalesce(a.attnum = ANY (i.indkey::int2[]), false) AS is_key
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema()
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname, a.attnum
"""


_POSTGRES_HASHES = """
SELECT DISTINCT proname::text FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace AND proname IN ('hash_record_extended', 'hashtextextended')
"""

# Settings by which the server writes one value in two ways, as a number to begin a hash with.
_POSTGRES_FORMS = """
SELECT hashtextextended(
    concat_ws(' ', current_setting('DateStyle'), current_setting('TimeZone'), current_setting('bytea_output')), 0)
"""

# A number without a scale, a float or an interval may be written in two ways and be one value.
_POSTGRES_SINGLE_TEXT = """
SELECT bool_and(
    t.typnamespace = 'pg_catalog'::regnamespace
    AND t.typname IN ('bool', 'int2', 'int4', 'int8', 'text', 'varchar', 'bpchar', 'bytea', 'uuid',
                      'date', 'time', 'timestamp', 'timestamptz', 'numeric')
    AND (t.typname <> 'numeric' OR a.atttypmod <> -1)
    AND coalesce(c.collisdeterministic, true))
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_collation c ON c.oid = a.attcollation
WHERE a.attrelid = {table}::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""

# pg_class is read under the snapshot; regclass and the file's number are what is now.
_POSTGRES_AS_SEEN = """
SELECT coalesce(bool_and(c.relfilenode = coalesce(pg_relation_filenode(c.oid), 0)), false)
FROM pg_class c
WHERE c.oid = '{table}'::regclass
   OR c.oid IN (SELECT relid FROM pg_partition_tree('{table}'::regclass))
"""
