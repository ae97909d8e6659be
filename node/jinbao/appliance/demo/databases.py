"""Where a demonstration keeps its zones and its cities' business: SQLite files, or one PostgreSQL server.

Every zone has a database of its own, and on the server a role of its own that owns it. The capture
reads a city's business as a role that may only read. Opens no database.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

import sqlalchemy as sa

from jinbao.appliance.demo.server import SUPERUSER, PostgresServer
from jinbao.model.zone import Endpoint

Backend = Literal["sqlite", "postgresql"]

_BUSY_S = "30"
"""How long to wait for whoever writes a SQLite file now."""

CONNECTIONS_PER_ZONE = 16
"""A zone's pools hold ten at most; bulk reads have connections of their own, one for each question under way."""


class Databases(Protocol):
    """What a demonstration asks of either kind."""

    def start(self, zones: int) -> None:
        """Be ready to make databases for so many zones."""
        ...

    def business(self, node: str) -> str:
        """URL of a new business database, to be filled."""
        ...

    def source(self, node: str) -> str:
        """URL by which the capture reads a business database that is filled."""
        ...

    def zone(self, endpoint: Endpoint) -> str:
        """URL of a zone's database; empty: the zone's own default."""
        ...

    def stop(self) -> str:
        """End what was started; the line that starts it again, if one is needed to look at what is kept."""
        ...


class SqliteDatabases:
    """Files in the nodes' directories."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def start(self, zones: int) -> None:
        """Nothing runs."""

    def business(self, node: str) -> str:
        """A file beside the node's settings."""
        return f"sqlite:///{self._directory / node / 'business.db'}"

    source = business

    def zone(self, endpoint: Endpoint) -> str:
        """The zone's own default."""
        del endpoint
        return ""

    def stop(self) -> str:
        """Nothing runs."""
        return ""


class PostgresDatabases:
    """Databases of one server in the demonstration's directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server: PostgresServer | None = None

    @property
    def server(self) -> PostgresServer:
        """The server, once started."""
        assert self._server is not None, "databases were not started"
        return self._server

    def start(self, zones: int) -> None:
        """Start the server; raises LocalError if it is not installed or does not start."""
        self._server = PostgresServer(self._directory, connections_max=(zones + 1) * CONNECTIONS_PER_ZONE)
        self._server.start()

    def business(self, node: str) -> str:
        """An empty database of the city."""
        return self.server.create(_business(node))

    def source(self, node: str) -> str:
        """The same, for a role that may only read."""
        return self.server.reader(_business(node))

    def zone(self, endpoint: Endpoint) -> str:
        """An empty database that a role of the zone's name owns."""
        return self.server.create(f"zone_{endpoint.node}_{endpoint.zone}")

    def stop(self) -> str:
        """End the server; the line that starts it again by hand."""
        if self._server is None:
            return ""
        self._server.stop()
        return self._server.command()


def _business(node: str) -> str:
    return f"business_{node}"


def databases(backend: Backend, directory: Path) -> Databases:
    """Databases of one kind for a demonstration in `directory`."""
    return PostgresDatabases(directory) if backend == "postgresql" else SqliteDatabases(directory)


def with_all_rights(url: str) -> sa.URL:
    """The same database for someone with every right: the city's clerks, or an intruder."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(username=SUPERUSER)
    return parsed.update_query_dict({"timeout": _BUSY_S})
