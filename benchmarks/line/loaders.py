"""Cells of general loaders, each at the setting that is fastest here: dlt and sling.

dlt reads by its pyarrow backend and loads Parquet through ADBC; sling streams CSV through COPY.
Neither is asked for a primary key or an index: what they do less than `pg_dump | psql` counts
for them. Telemetry is off, their files stay under the bench.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.line.cell import Bench, Cell, Watch, main
from benchmarks.line.sources import TABLE, USED

TARGET = "target"


def dlt(bench: Bench, watch: Watch, _variant: str) -> None:
    """One table by dlt into an empty database."""
    home = bench.directory / "dlt"
    os.environ |= {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "DLT_DATA_DIR": str(home),
        "DLT_PROJECT_DIR": str(home),
    }
    import dlt as tool  # noqa: PLC0415  # reads the environment when imported
    from dlt.sources.sql_database import sql_table  # noqa: PLC0415

    bench.business("postgresql")
    bench.server.fresh(TARGET)
    bench.server.execute("CHECKPOINT")
    source = bench.server.url(USED, "postgresql+psycopg2")
    target: Any = tool.destinations.postgres(bench.server.url(TARGET))
    pipeline = tool.pipeline("bench", pipelines_dir=str(home), destination=target, dataset_name="loaded")
    watch.begin("dlt")
    table = sql_table(source, table=TABLE, schema="public", backend="pyarrow", chunk_size=50_000)
    pipeline.run(table, loader_file_format="parquet", write_disposition="replace")
    watch.end("dlt", rows=bench.rows)
    _done(bench, f"loaded.{TABLE}")
    shutil.rmtree(home, ignore_errors=True)


def sling(bench: Bench, watch: Watch, _variant: str) -> None:
    """One table by sling into an empty database."""
    import sling_linux_amd64  # noqa: PLC0415  # ships the program

    bench.business("postgresql")
    bench.server.fresh(TARGET)
    bench.server.execute("CHECKPOINT")
    home = bench.directory / "sling"
    program = Path(str(sling_linux_amd64.__file__)).parent / "bin" / "sling-linux-amd64"
    urls = {"BENCH_FROM": bench.server.url(USED), "BENCH_TO": bench.server.url(TARGET)}
    plain = {name: f"{url}?sslmode=disable" for name, url in urls.items()}
    private = {"SLING_DISABLE_TELEMETRY": "TRUE", "SLING_HOME_DIR": str(home), "HOME": str(home)}
    home.mkdir(exist_ok=True)
    command = [str(program), "run", "--src-conn", "BENCH_FROM", "--src-stream", f"public.{TABLE}"]
    command += ["--tgt-conn", "BENCH_TO", "--tgt-object", "public.loaded", "--mode", "full-refresh"]
    watch.begin("sling")
    subprocess.run(command, env=os.environ | plain | private, check=True, stdout=subprocess.DEVNULL)
    watch.end("sling", rows=bench.rows)
    _done(bench, "public.loaded")
    shutil.rmtree(home, ignore_errors=True)


def _done(bench: Bench, table: str) -> None:
    rows = int(str(bench.server.value(f"SELECT count(*) FROM {table}", TARGET)))
    assert rows == bench.rows, f"{table}: expected {bench.rows} rows, got {rows}"
    bench.server.execute(f"DROP DATABASE {TARGET} WITH (FORCE)")


CELLS: dict[str, Cell] = {"dlt": dlt, "sling": sling}

if __name__ == "__main__":
    main(CELLS)
