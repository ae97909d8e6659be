"""What the production zone was asked for, captured and sealed last: the state the next run compares with.

A projection of the acts `capture_asked`, `captured`, `converted` and `healed`; the rows themselves lie in segments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from jinbao.model.acts import Act, CapturedTable
from jinbao.model.finding import Verdict
from jinbao.model.stream import StreamId
from jinbao.source.tables import ASKED, CAPTURED, METADATA, SEALED, VERDICT
from jinbao.store.engine import Store, Transaction
from jinbao.store.projection import Recorded
from jinbao.store.stage import Stage


class StateProjection:
    """Reads `capture_asked`, `captured`, `converted` and `healed`; a refused conversion leaves what was sealed last."""

    kinds = frozenset({"capture_asked", "captured", "converted", "healed"})
    tables = tuple(METADATA.sorted_tables)

    def stage(self, store: Store, act: Act) -> tuple[Stage, ...]:
        """Nothing is staged: one row per table."""
        del store, act
        return ()

    def project(self, tx: Transaction, recorded: Recorded, stages: tuple[Stage, ...]) -> None:
        """Replace the state of the tables the act names."""
        del stages
        if recorded.act.kind == "capture_asked":
            tx.execute(ASKED.delete())
            tx.execute(ASKED.insert(), {"run": recorded.act.body["run"], "at": recorded.at})
        elif recorded.act.kind == "captured":
            self._captured(tx, recorded)
        elif recorded.act.kind == "healed":
            self._healed(tx, recorded)
        else:
            self._converted(tx, recorded)

    def _healed(self, tx: Transaction, recorded: Recorded) -> None:
        """Of what came back only others have the rows: the next submission of its library is whole."""
        for line in recorded.act.body["streams"]:
            library = StreamId.parse(line["stream"]).topic
            tx.execute(SEALED.delete().where(SEALED.c.library == library))

    def _captured(self, tx: Transaction, recorded: Recorded) -> None:
        run = int(recorded.act.body["run"].rpartition("-")[2])
        for table in recorded.act.body["tables"]:
            place = sa.and_(CAPTURED.c.source == table["source"], CAPTURED.c.table == table["table"])
            tx.execute(CAPTURED.delete().where(place))
            texts = {name: json.dumps(table.get(name, [])) for name in ("findings", "changes")}
            # Release 0.1 wrote a table whole in any run that found a change, and did not say in which.
            since = table.get("since", run)
            tx.execute(
                CAPTURED.insert(), dict(table) | texts | {"since": since, "run": run, "at": recorded.at}
            )

    def _converted(self, tx: Transaction, recorded: Recorded) -> None:
        body: Mapping[str, Any] = recorded.act.body
        library = body["library"]
        tx.execute(VERDICT.delete().where(VERDICT.c.library == library))
        verdict = {
            name: body[name] for name in ("library", "run", "period", "verdict", "quarantine", "findings")
        }
        tx.execute(VERDICT.insert(), verdict | {"at": recorded.at, "way": body.get("way", "")})
        if body["verdict"] == Verdict.REFUSED:
            return
        tx.execute(SEALED.delete().where(SEALED.c.library == library))
        common = {key: body[key] for key in ("library", "standard", "period", "run")}
        for table in body["tables"]:
            row = {key: table[key] for key in ("table", "rows", "digest", "source_rows", "quarantined")}
            tx.execute(SEALED.insert(), common | row | {"segment": table["sha256"]})


class SourceState:
    """Reads of what was captured and sealed last."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _rows(self, query: sa.Select[Any]) -> list[sa.RowMapping]:
        with self._store.read() as connection:
            return list(connection.execute(query).mappings())

    def captured_at(self) -> str:
        """When the newest capture was recorded; empty if there is none."""
        with self._store.read() as connection:
            return str(connection.scalar(sa.select(sa.func.max(CAPTURED.c.at))) or "")

    def captured_tables(self) -> list[CapturedTable]:
        """The newest capture of every table, by source and table."""
        rows = self._rows(sa.select(CAPTURED).order_by(CAPTURED.c.source, CAPTURED.c.table))
        return [
            CapturedTable(
                r["source"],
                r["table"],
                r["current"],
                r["rows"],
                r["upserts"],
                r["deletes"],
                tuple(json.loads(r["findings"])),
                r["since"],
                tuple((run, sha256) for run, sha256 in json.loads(r["changes"])),
                r["checked"],
            )
            for r in rows
        ]

    def last_run(self) -> int:
        """Number of the newest capture run; 0 before the first."""
        rows = self._rows(sa.select(sa.func.max(CAPTURED.c.run).label("run")))
        return int(rows[0]["run"] or 0)

    def asked_run(self) -> int:
        """Number of the newest run that was asked for; 0 if none ever was."""
        rows = self._rows(sa.select(sa.func.max(ASKED.c.run).label("run")))
        return int(rows[0]["run"] or 0)

    def sealed(self, library: str) -> list[dict[str, Any]]:
        """The tables of a library as last sealed, by table; empty before the first."""
        query = sa.select(SEALED).where(SEALED.c.library == library).order_by(SEALED.c.table)
        return [dict(row) for row in self._rows(query)]

    def verdicts(self) -> list[dict[str, Any]]:
        """The newest verdict of every library."""
        return [dict(row) for row in self._rows(sa.select(VERDICT).order_by(VERDICT.c.library))]
