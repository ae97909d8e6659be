"""Reviewing: what is in the tail of a superseded zone, for the person who decides what is submitted again.

Lists the batches that the zone sealed after the cut, its captures and conversions, and what persons did there. Whether
the new holder has a batch is asked of it, not known here. Shows no row of any table.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinbao.flow.following import named, seals_acts
from jinbao.model.acts import Entry, envelope_of
from jinbao.model.batch import SegmentRef
from jinbao.model.errors import LocalError, PeerError, UnprovableError
from jinbao.model.failpoint import declare, hit
from jinbao.model.quoting import quoted
from jinbao.standby.opening import Divergence
from jinbao.store.files import Files, seal
from jinbao.trust.encoding import decode_header
from jinbao.trust.envelope import check_bounds, head_of

LAID_OUT = declare("diverge.after_export", "some segments of a divergence file are laid out in clear")

LINES_MAX = 10_000
"""Lines of one kind that a review shows: more is no review."""

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
_WORD = re.compile(r"[a-z][a-z0-9_]{0,79}")


@dataclass(frozen=True, slots=True)
class TailBatch:
    """A batch the zone sealed after the cut: its place, and what it says it carries."""

    lsn: int
    stream: str
    seq: int
    head: str
    kind: str
    period: str
    rows: int
    made_at: str


@dataclass(frozen=True, slots=True)
class TailRun:
    """A capture, or a conversion and judgement of a library, after the cut. `rows` changed, or quarantined."""

    at: str
    what: str
    run: str
    library: str
    period: str
    rows: int


@dataclass(frozen=True, slots=True)
class TailDeed:
    """What a person asked for after the cut and what came of it; or a held stream that was released."""

    at: str
    account: str
    action: str
    arguments: str
    reason: str
    outcome: str


@dataclass
class Review:
    """Everything of a tail that a person looks at; `unshown` lines beyond the most there may be are counted."""

    batches: list[TailBatch] = field(default_factory=list)
    runs: list[TailRun] = field(default_factory=list)
    deeds: list[TailDeed] = field(default_factory=list)
    unshown: int = 0


def review(found: Divergence) -> Review:
    """Read a proved tail; raises UnprovableError for an act that no zone records."""
    made, outcomes = Review(), dict[str, str]()
    for entry in found.entries():
        try:
            _read(made, entry, outcomes)
        except (*_UNREADABLE, PeerError) as exc:
            raise found.wrong(f"act {entry.lsn}", "one that a zone records", quoted(str(exc))) from exc
    made.deeds = [_ended(deed, outcomes) for deed in made.deeds]
    return made


def _read(made: Review, entry: Entry, outcomes: dict[str, str]) -> None:
    body = json.loads(entry.body)
    match entry.kind:
        case "sealed" if not seals_acts(entry):
            _keep(made, made.batches, _batch(entry, body))
        case "captured":
            rows = sum(table["upserts"] + table["deletes"] for table in body["tables"])
            _keep(made, made.runs, TailRun(entry.at, "captured", str(body["run"]), "", "", rows))
        case "converted":
            rows = sum(table["quarantined"] for table in body["tables"])
            run, library, period = (str(body[name]) for name in ("run", "library", "period"))
            _keep(made, made.runs, TailRun(entry.at, "converted", run, library, period, rows))
        case "audited" if body["outcome"] == "asked":
            words = (str(body[name]) for name in ("account", "action", "arguments", "reason", "id"))
            _keep(made, made.deeds, TailDeed(entry.at, *words))
        case "audited" if body["about"]:
            outcomes[str(body["about"])] = str(body["outcome"])
        case "released":
            _keep(made, made.deeds, TailDeed(entry.at, "", "released", body["stream"], body["reason"], ""))


def _keep(made: Review, lines: list[Any], line: Any) -> None:
    if len(lines) < LINES_MAX:
        lines.append(line)
    else:
        made.unshown += 1


def _ended(deed: TailDeed, outcomes: Mapping[str, str]) -> TailDeed:
    """A deed with its outcome where its entry's id stood, which served to find it."""
    outcome = outcomes.get(deed.outcome, "asked") if deed.outcome else ""
    return TailDeed(deed.at, deed.account, deed.action, deed.arguments, deed.reason, outcome)


def _batch(entry: Entry, body: Mapping[str, Any]) -> TailBatch:
    sealed = envelope_of(body["envelope"])
    check_bounds(sealed)
    header = decode_header(sealed.payload)
    return TailBatch(
        entry.lsn,
        str(header.stream),
        header.seq,
        head_of(sealed),
        str(header.kind),
        header.period,
        sum(ref.rows for ref in header.segments),
        header.made_at,
    )


def lay_out(found: Divergence, directory: Path, files: Files) -> int:
    """Write every segment in clear into a directory of this account alone; returns how many there are.

    Named by the act, the table or kind of act, and the hash: `000000000045-person-1f2e3d4c5b6a.parquet`. What is there
    already and is the same stays, so that a call that was ended goes on; raises LocalError for anything else in the
    way.
    """
    files.make_directory(directory)
    directory.chmod(0o700)
    labels = dict(_labelled(found))
    strangers = {path.name for path in directory.iterdir() if path.suffix != ".tmp"} - labels.keys()
    if strangers:
        raise LocalError(
            f"directory {directory}",
            expected="an empty one, or one with the same segments",
            got=f"{min(strangers)} and perhaps more",
            next_step="name another directory: nothing is ever written over",
        )
    for name, ref in labels.items():
        path = directory / name
        if not path.is_file() or path.stat().st_size != ref.bytes:
            _lay_one(found, ref, path, files)
            hit(LAID_OUT)
    return len(labels)


def _lay_one(found: Divergence, ref: SegmentRef, path: Path, files: Files) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        for block in found.blocks(ref):
            out.write(block)
    seal(files, temporary, path)


def _labelled(found: Divergence) -> Iterator[tuple[str, SegmentRef]]:
    """Every segment of the list with the name of a file for it, once each, as the first act that names it says."""
    left = {ref.sha256: ref for ref in found.listing.segments}
    for entry in found.entries():
        if not left:
            return
        try:
            if seals_acts(entry):
                continue
            body = json.loads(entry.body)
            tables = _tables(entry.kind, body)
            names = list(named(entry.kind, body))
        except (*_UNREADABLE, UnprovableError) as exc:
            raise found.wrong(f"act {entry.lsn}", "one that a zone records", quoted(str(exc))) from exc
        for sha256 in names:
            ref = left.pop(sha256, None)
            if ref is not None:
                yield f"{entry.lsn:012d}-{tables.get(sha256, entry.kind)}-{sha256[:12]}.parquet", ref


def _tables(kind: str, body: Mapping[str, Any]) -> dict[str, str]:
    """The table each segment of an act belongs to, where the act says so in a word that can be a file's name."""
    if kind in {"sealed", "accepted"}:
        refs = decode_header(envelope_of(body["envelope"]).payload).segments
        said = [(ref.sha256, ref.table) for ref in refs]
    elif kind in {"applied", "packaged"}:
        said = [(use["sha256"], use["table"]) for use in body["segments"]]
    elif kind == "captured":
        said = [(sha256, t["table"]) for t in body["tables"] for sha256 in (t["current"], *_changes(t))]
    elif kind == "converted":
        said = [(table["sha256"], table["table"]) for table in body["tables"]]
    else:
        said = []
    return {sha256: table for sha256, table in said if _WORD.fullmatch(table)}


def _changes(table: Mapping[str, Any]) -> list[str]:
    return [sha256 for _, sha256 in table.get("changes", ())]
