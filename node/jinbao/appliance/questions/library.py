"""Questions about libraries: what is stored, of whom, with which digest; masked unless authorised."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
from pydantic import Field

from jinbao.appliance.questions.registry import Answer, Asked, Body, Reasoned, question
from jinbao.appliance.questions.status import NoArguments, masked_rows, numbers_of
from jinbao.decision.room import PackagedSegment
from jinbao.model.audit import Role
from jinbao.model.errors import UsageError
from jinbao.model.standard import Standard, Table

ROWS_MAX = 1000


class OfTable(Reasoned):
    """Rows of a table, of one origin or all; `as_of` YYYYMM answers from the journal's segments."""

    library: str
    table: str = ""
    origin: str = ""
    as_of: str = Field("", pattern=r"^([0-9]{4}(0[1-9]|1[0-2]))?$")
    limit: int = Field(20, gt=0)
    unmask: bool = False


@question("library.list", arguments=NoArguments)
def listing(asked: Asked, _arguments: NoArguments) -> Body:
    """Libraries and tables with their standard and rows in all."""
    lines = [
        {
            "library": name,
            "table": table.id,
            "name_zh": table.name_zh,
            "name_en": table.name_en,
            "standard": standard.id,
            "rows": sum(asked.zone.library.origins(name, table.id).values()),
        }
        for name, standard in sorted(asked.zone.standards.items())
        for table in standard.tables
    ]
    return {"zone": str(asked.zone.me), "tables": lines}


def _table(asked: Asked, arguments: OfTable) -> tuple[Standard, Table]:
    standards = asked.zone.standards
    if arguments.library not in standards:
        raise UsageError("library", expected=" or ".join(sorted(standards)), got=arguments.library)
    standard = standards[arguments.library]
    known = {table.id: table for table in standard.tables}
    if arguments.table not in known:
        raise UsageError(
            f"table of {arguments.library}", expected=" or ".join(known), got=arguments.table or "none"
        )
    return standard, known[arguments.table]


@question("library.count", arguments=OfTable)
def count(asked: Asked, arguments: OfTable) -> Body:
    """Rows of a table per origin."""
    standard, table = _table(asked, arguments)
    found = asked.zone.library.origins(standard.library, table.id)
    return {"zone": str(asked.zone.me), "origins": [{"origin": o, "rows": n} for o, n in found.items()]}


@question("library.digest", arguments=OfTable)
def digest(asked: Asked, arguments: OfTable) -> Body:
    """Canonical digest of a table per origin, computed from the rows stored here."""
    standard, table = _table(asked, arguments)
    room = asked.zone.library
    origins = [arguments.origin] if arguments.origin else list(room.origins(standard.library, table.id))
    lines = []
    for origin in origins:
        found = room.digest(standard.library, table.id, origin)
        lines.append({"origin": origin, "rows": found.rows, "digest": found.root})
    return {"zone": str(asked.zone.me), "standard": standard.id, "digests": lines}


def _frame(asked: Asked, arguments: OfTable, limit: int | None) -> pl.DataFrame:
    standard, table = _table(asked, arguments)
    if not arguments.as_of:
        room = asked.zone.library
        return room.frame(standard.library, table.id, origin=arguments.origin, limit=limit)
    from jinbao.decision.view import view  # noqa: PLC0415  # an engine only the past needs

    frame = view(_segments(asked, arguments), table, asked.zone.shelf.open_path, as_of_period=arguments.as_of)
    return frame if limit is None else frame.head(limit)


def _segments(asked: Asked, arguments: OfTable) -> list[PackagedSegment]:
    """The applied segments of a table, in the order they were applied."""
    found = []
    for row in reversed(asked.zone.library.submissions(arguments.library)):
        if row["status"] != "applied" or (arguments.origin and row["origin"] != arguments.origin):
            continue
        found += [
            PackagedSegment(
                row["library"],
                row["origin"],
                use["table"],
                row["seq"],
                use["kind"],
                row["period"],
                use["sha256"],
                row["lsn"],
            )
            for use in row["segments"]
            if use["table"] == arguments.table
        ]
    return found


@question("library.show", arguments=OfTable, unmasks=True)
def show(asked: Asked, arguments: OfTable) -> Answer:
    """The first rows of a table, personal items masked unless the caller may see and asks for them."""
    _, table = _table(asked, arguments)
    frame = _frame(asked, arguments, min(arguments.limit, ROWS_MAX))
    rows = frame.to_dicts()
    personal = {item.code for item in table.items if item.personal}
    shown = rows if arguments.unmask else masked_rows(rows, personal)
    body = {"zone": str(asked.zone.me), "columns": frame.columns, "rows": shown}
    return Answer(body, persons=numbers_of(rows, personal) if arguments.unmask else ())


@question("library.export", kind="act", arguments=OfTable, role=Role.SECURITY)
def export(asked: Asked, arguments: OfTable) -> Answer:
    """All rows of a table as Parquet, for an authorised caller."""
    frame = _frame(asked, arguments, None)
    with tempfile.NamedTemporaryFile(dir=asked.zone.shelf.incoming, suffix=".export", delete=False) as file:
        path = Path(file.name)
    frame.write_parquet(path, compression="zstd")
    everyone = f"{arguments.library}.{arguments.table} of {arguments.origin or 'every origin'}"
    return Answer({"zone": str(asked.zone.me), "rows": frame.height}, path, everyone=everyone)
