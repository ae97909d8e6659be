"""Writes what this release writes into `tests/released/VERSION`, once, when it is released.

Run `python -m tests.released.make` from the top of the sources. No private key leaves it. Beside what it wrote lies
what it runs by, so that later releases are tried against its own processes.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.released.sources import ARCHIVE, ROOT, pack
from tests.sim.business import PERSON_TABLES
from tests.sim.world import START, World, lay_down

from jinbao import __version__
from jinbao.appliance.assembly import OpenZone
from jinbao.authority.identity_files import ANCHORS, CHAIN, TRUST
from jinbao.authority.trust_files import write_trust
from jinbao.model.batch import SealedBatch
from jinbao.model.stream import LINE, RECEIPTS, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.encoding import decode_header, envelope_message
from jinbao.trust.envelope import head_of

CITY, MINISTRY = "140100", "100000"
PRODUCTION, EXCHANGE = Endpoint(CITY, Zone.PRODUCTION), Endpoint(CITY, Zone.EXCHANGE)
STREAMS = {
    "submission": (PRODUCTION, StreamId(PRODUCTION, "unemployment_monitor", LINE)),
    "receipts": (
        Endpoint(MINISTRY, Zone.EXCHANGE),
        StreamId(Endpoint(MINISTRY, Zone.EXCHANGE), RECEIPTS, CITY),
    ),
}
"""Streams that are kept, by the folder they are kept in, and the zone that sealed them."""


def make(target: Path) -> None:
    """Run a small network until it rests, and keep what it wrote."""
    target.mkdir()
    (target / "segments").mkdir()
    with tempfile.TemporaryDirectory() as temporary:
        plan = lay_down(Path(temporary) / "plan", cities=1)
        _thin(plan.directory / CITY / "business.db")
        world = World(plan, Path(temporary) / "run", seed=0)
        world.capture_all()
        world.settle()
        facts: dict[str, Any] = {"at": START.isoformat(), "streams": {}, "databases": {}}
        for folder, (origin, stream) in STREAMS.items():
            facts["streams"][folder] = _keep_stream(world.zones[origin], stream, target, folder)
        for endpoint in (PRODUCTION, EXCHANGE):
            facts["databases"][str(endpoint)] = _facts(world.zones[endpoint])
        _keep_trust(world.zones[PRODUCTION], target)
        world.close()
        for endpoint in (PRODUCTION, EXCHANGE):
            _dump(world.directory / CITY / endpoint.zone / "zone.db", target / f"{CITY}-{endpoint.zone}.sql")
        shutil.copyfile(world.directory / "topology.sealed", target / "topology.sealed")
    text = json.dumps(facts, ensure_ascii=False, indent=1)
    (target / "facts.json").write_text(text + "\n", encoding="utf-8")


def _keep_trust(zone: OpenZone, target: Path) -> None:
    """Roots, what hangs on them, and the zone's own certificates of the line."""
    for name in (ANCHORS, CHAIN):
        (target / name).write_bytes(zone.identity.pem(name))
    (target / TRUST).write_bytes(write_trust(zone.trust.book().documents))


def _thin(database: Path) -> None:
    """Keep every tenth of the persons that are left."""
    with closing(sqlite3.connect(database)) as connection:
        for table in PERSON_TABLES:
            connection.execute(f"DELETE FROM {table} WHERE substr(AAC001, -1, 1) <> '5'")
        connection.commit()


def _keep_stream(zone: OpenZone, stream: StreamId, target: Path, folder: str) -> list[dict[str, Any]]:
    """Every batch of a stream and its segments as files; what is in them."""
    (target / folder).mkdir()
    found = []
    for seq in range(1, zone.index.head(stream).seq + 1):
        sealed = zone.index.batch(stream, seq)
        assert sealed is not None
        content = envelope_message(sealed).SerializeToString()
        (target / folder / f"{seq}.sealed").write_bytes(content)
        for ref in decode_header(sealed.payload).segments:
            shutil.copyfile(zone.shelf.open_path(ref.sha256), target / "segments" / f"{ref.sha256}.parquet")
        found.append(_of_batch(sealed))
    return found


def _of_batch(sealed: SealedBatch) -> dict[str, Any]:
    """The numbers of a batch that its readers must find again."""
    header = decode_header(sealed.payload)
    return {
        "head": head_of(sealed),
        "kind": str(header.kind),
        "made_at": header.made_at,
        "segments": [
            {"table": r.table, "sha256": r.sha256, "rows": r.rows, "digest": r.digest}
            for r in header.segments
        ],
        "manifest": {t.table: [t.rows, t.digest] for t in header.manifest.tables} if header.manifest else {},
    }


def _facts(zone: OpenZone) -> dict[str, Any]:
    """Rows, digests and findings a zone answers from its database."""
    tables = [(name, t.id) for name, standard in sorted(zone.standards.items()) for t in standard.tables]
    digests = {f"{name}.{table}": zone.library.digest(name, table, CITY) for name, table in tables}
    return {
        "incarnation": zone.index.incarnation(),
        "acts": zone.index.overview().acts,
        "streams": {str(mark.stream): [mark.seq, mark.head] for mark in zone.index.streams()},
        "library": {name: [d.rows, d.root] for name, d in digests.items()},
        "quarantine": zone.quarantine.summary(),
        "captured": {table.table: table.rows for table in zone.state.captured_tables()},
    }


def _dump(database: Path, target: Path) -> None:
    """The database as SQL text."""
    with closing(sqlite3.connect(database)) as connection:
        target.write_text("\n".join(connection.iterdump()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    chosen = Path(__file__).parent / __version__
    make(chosen)
    pack(ROOT, chosen / ARCHIVE)
    sys.stdout.write(f"written: {chosen}\n")
