"""Changes of a city's business database between two captures, chosen by the seed."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

PERSON_TABLES = ("AC01", "AC02", "AC43", "IC10", "JC01", "JC10")


def thin(database: Path) -> None:
    """Keep every fifth person, so that a simulated run is quick."""
    with closing(sqlite3.connect(database)) as connection:
        for table in PERSON_TABLES:
            connection.execute(f"DELETE FROM {table} WHERE substr(AAC001, -2, 1) NOT IN ('1', '2')")
        connection.commit()
        connection.execute("VACUUM")


class Business:
    """One city's business database; persons who left may come back."""

    def __init__(self, database: Path, rng: random.Random) -> None:
        self._database, self._rng = database, rng
        self._gone: list[dict[str, list[tuple[object, ...]]]] = []

    def edit(self, kind: str = "") -> str:
        """Do one change, of a kind if it is named, and say which."""
        with closing(sqlite3.connect(self._database)) as connection:
            kind = kind or self._rng.choice(["raise", "raise", "leave", "return"])
            if kind == "return" and self._gone:
                self._return(connection)
            elif kind == "leave":
                self._leave(connection)
            else:
                kind = "raise"
                self._raise(connection)
            connection.commit()
        return kind

    def _persons(self, connection: sqlite3.Connection, table: str, where: str) -> list[str]:
        query = f"SELECT DISTINCT AAC001 FROM {table} WHERE {where} ORDER BY AAC001"
        found = [row[0] for row in connection.execute(query)]
        return self._rng.sample(found, min(len(found), self._rng.randint(1, 5)))

    def _raise(self, connection: sqlite3.Connection) -> None:
        for kind in ("110", "210"):
            for person in self._persons(connection, "AC02", f"AAE140 = '{kind}'"):
                by = self._rng.randint(1, 99)
                connection.execute(
                    "UPDATE AC02 SET AAE240 = AAE240 + ?, AAC040 = AAC040 + ? WHERE AAC001 = ? AND AAE140 = ?",
                    (by, by, person, kind),
                )

    def _leave(self, connection: sqlite3.Connection) -> None:
        for person in self._persons(connection, "AC01", "1"):
            rows = {}
            for table in PERSON_TABLES:
                query = f"SELECT * FROM {table} WHERE AAC001 = ? ORDER BY rowid"
                rows[table] = connection.execute(query, (person,)).fetchall()
                connection.execute(f"DELETE FROM {table} WHERE AAC001 = ?", (person,))
            self._gone.append(rows)

    def _return(self, connection: sqlite3.Connection) -> None:
        rows = self._gone.pop(self._rng.randrange(len(self._gone)))
        for table, lines in rows.items():
            for line in lines:
                marks = ", ".join("?" * len(line))
                connection.execute(f"INSERT INTO {table} VALUES ({marks})", line)
