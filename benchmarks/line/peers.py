"""Cells of PostgreSQL's own ways to bring a table from one database into another with a primary key.

None of them checks a row, proves a byte or keeps a journal; they are the floor that ours is
compared with. Source and target are databases of the same server, as ours are.
"""

from __future__ import annotations

import subprocess
import time

from benchmarks.line.cell import Bench, Cell, Watch, main
from benchmarks.line.sources import TABLE, USED, many, table_ddl

TARGET = "target"
_POLL_S, _WAIT_S = 0.01, 600.0


def _target(bench: Bench) -> None:
    """A source as it was made, and an empty table with its primary key."""
    bench.business("postgresql")
    bench.server.fresh(TARGET)
    bench.server.execute(table_ddl(), database=TARGET)
    bench.server.execute("CHECKPOINT")


def _done(bench: Bench) -> int:
    """Rows that arrived; the target is gone then."""
    rows = int(str(bench.server.value(f"SELECT count(*) FROM {TABLE}", TARGET)))
    assert rows == bench.rows, f"target: expected {bench.rows} rows, got {rows}"
    bench.server.execute(f"DROP DATABASE {TARGET} WITH (FORCE)")
    return rows


def _piped(first: list[str], second: list[str]) -> None:
    with subprocess.Popen(first, stdout=subprocess.PIPE) as reading:
        subprocess.run(second, stdin=reading.stdout, stdout=subprocess.DEVNULL, check=True)
    assert reading.returncode == 0, f"{first[0]}: expected exit code 0, got {reading.returncode}"


def dump(bench: Bench, watch: Watch, _variant: str) -> None:
    """`pg_dump --data-only | psql`: what every ratio is to."""
    _target(bench)
    server = bench.server
    watch.begin("dump")
    _piped(
        server.program("pg_dump", USED, "--data-only", f"--table={TABLE}"),
        server.program("psql", TARGET, "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1"),
    )
    watch.end("dump", rows=bench.rows)
    _done(bench)


def copy(bench: Bench, watch: Watch, _variant: str) -> None:
    """`psql` COPY in binary, piped into the same."""
    _target(bench)
    server, quiet = bench.server, ("--quiet", "--no-psqlrc", "--command")
    watch.begin("copy")
    _piped(
        server.program("psql", USED, *quiet, f"\\copy {TABLE} to stdout (format binary)"),
        server.program("psql", TARGET, *quiet, f"\\copy {TABLE} from stdin (format binary)"),
    )
    watch.end("copy", rows=bench.rows)
    _done(bench)


def packed(bench: Bench, watch: Watch, _variant: str) -> None:
    """`pg_dump -Fc` into a file: the bytes ours are compared with."""
    bench.business("postgresql")
    file = bench.directory / "packed.dump"
    watch.begin("packed")
    subprocess.run(bench.server.program("pg_dump", USED, "-Fc", "-f", str(file)), check=True)
    watch.end("packed", bytes=file.stat().st_size)
    file.unlink()


def replication(bench: Bench, watch: Watch, _variant: str) -> None:
    """Logical replication: its initial copy, then a large change from the log that holds it to visible."""
    _target(bench)
    server = bench.server
    server.execute(f"CREATE PUBLICATION bench FOR TABLE {TABLE}", database=USED)
    # In one cluster a subscription cannot make its own slot: the slot would wait for the statement that makes it.
    server.execute("SELECT pg_create_logical_replication_slot('bench', 'pgoutput')", database=USED)
    watch.begin("replication-copy")
    server.execute(
        f"CREATE SUBSCRIPTION bench CONNECTION '{server.url(USED)}' PUBLICATION bench "
        "WITH (create_slot = false, slot_name = 'bench')",
        database=TARGET,
    )
    _await(bench, "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel")
    watch.end("replication-copy", rows=bench.rows)
    _stream(bench, watch)
    server.execute("DROP SUBSCRIPTION bench", database=TARGET)
    _done(bench)


def _stream(bench: Bench, watch: Watch) -> None:
    """The change is committed while nobody follows, as ours is sealed while the parent is paused."""
    server = bench.server
    server.execute("ALTER SUBSCRIPTION bench DISABLE", database=TARGET)
    _await(bench, "SELECT count(*) = 0 FROM pg_stat_subscription WHERE pid IS NOT NULL")
    with_transaction = time.perf_counter()
    server.execute(*many(bench.rows, bench.many), database=USED)
    spent = time.perf_counter() - with_transaction
    watch.begin("replication-change")
    server.execute("ALTER SUBSCRIPTION bench ENABLE", database=TARGET)
    _await(bench, f"SELECT count(*) > 0 FROM {TABLE} WHERE aae180 = 7777.07")
    watch.end("replication-change", rows=bench.many, transaction_s=round(spent, 4))


def _await(bench: Bench, query: str) -> None:
    """Ask on the target until it is so; one connection, so that asking costs little."""
    import psycopg  # noqa: PLC0415  # the cells above need no driver

    deadline = time.monotonic() + _WAIT_S
    with psycopg.connect(bench.server.url(TARGET), autocommit=True) as connection:
        while True:
            row = connection.execute(query.encode()).fetchone()
            if row and row[0]:
                return
            assert time.monotonic() < deadline, f"expected {query} within {_WAIT_S} s"
            time.sleep(_POLL_S)


CELLS: dict[str, Cell] = {"dump": dump, "copy": copy, "packed": packed, "replication": replication}

if __name__ == "__main__":
    main(CELLS)
