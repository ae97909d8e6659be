"""Evidence from a whole run: a record goes from city to ministry, and any place proves to a stranger that it did."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.house.tree import ROOT as TOP
from tests.sim.conftest import MakeWorld
from tests.sim.world import PERIOD, World

import jinbao.flow.receipts
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.trust_keeper import grant_document
from jinbao.model import acts
from jinbao.model.audit import Caller, Way
from jinbao.model.batch import Header, Kind, Manifest, SegmentRef, TableTotals
from jinbao.model.errors import EvidenceError, LocalError, UsageError
from jinbao.model.grant import Grant
from jinbao.model.receipt import Step
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.digest import Digest, digest, path
from jinbao.trust.encoding import decode_header, envelope_message
from jinbao.trust.envelope import seal_bytes
from jinbao.trust.evidence import Evidence, open_evidence, seal_evidence
from jinbao.trust.evidence_proof import Verdict, verify_evidence
from jinbao.trust.grants import decode_grant, seal_grant
from jinbao.trust.identity import ROOT

PRODUCTION, EXCHANGE = Endpoint("140100", Zone.PRODUCTION), Endpoint("140100", Zone.EXCHANGE)
PROVINCE, MINISTRY = Endpoint("140000", Zone.EXCHANGE), Endpoint("100000", Zone.EXCHANGE)
PLACES = (PRODUCTION, EXCHANGE, PROVINCE, MINISTRY)
LIBRARY, TABLE = "pension_macro", "retiree"
STREAM = StreamId(PRODUCTION, LIBRARY)
BY = {
    EXCHANGE: [Step.SUBMITTED, Step.SUBMITTED, Step.APPLIED],
    PROVINCE: [Step.RELAYED, Step.RELAYED, Step.APPLIED],
    MINISTRY: [Step.ACCEPTED, Step.ACCEPTED, Step.APPLIED],
}
"""What each tier says of a submission: of the record's batch, of the manifest, and that it applied it."""


def _root(world: World) -> x509.Certificate:
    """The root of the network."""
    [found] = world.plan.authorities.authority(ROOT, world.plan.topology.trust_domain).roots()
    return found


def export(world: World, place: Endpoint, key: str, **more: Any) -> bytes:
    """The file a place hands out for a record."""
    asked = {"library": LIBRARY, "table": TABLE, "key": key, "reason": "request 7"} | more
    answer = dispatch(Asked(world.zones[place]), "evidence.export", asked)
    assert answer.attachment is not None
    content = answer.attachment.read_bytes()
    answer.attachment.unlink()
    return content


def proved(world: World, content: bytes) -> Verdict:
    """What a stranger with the root certificate makes of it."""
    return verify_evidence(content, [_root(world)])


def said(verdict: Verdict) -> dict[Endpoint, list[Step]]:
    """The steps each receiver signed."""
    found: dict[Endpoint, list[Step]] = {}
    for word in verdict.words:
        found.setdefault(word.receiver, []).append(word.step)
    return found


def rows(world: World) -> pl.DataFrame:
    """The retirees the city's exchange zone holds."""
    return world.zones[EXCHANGE].library.frame(LIBRARY, TABLE)


def first_key(world: World) -> str:
    """One of them."""
    return str(rows(world).item(0, "AAC001"))


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_every_place_proves_what_it_holds(quiet: MakeWorld, tmp_path: Path, place: Endpoint) -> None:
    """City, province and ministry each export a file that proves with the root alone who sent and applied the record."""
    with quiet(0) as world:
        key = first_key(world)

        content = export(world, place, key)

        found = proved(world, content)
        seen = [e for e in BY if place.node == "140100" or e in {place, MINISTRY}]
        assert (found.origin, found.exporter, found.kind) == (PRODUCTION, place, Kind.SNAPSHOT)
        assert said(found) == {e: BY[e] for e in seen}
        columns = [c.code for c in found.evidence.subject.columns]
        assert dict(zip(columns, found.evidence.record, strict=True)) == {
            name: value for name, value in rows(world).row(0, named=True).items() if not name.startswith("_")
        }
        assert _script(tmp_path, world, content).returncode == 0


def _script(directory: Path, world: World, content: bytes) -> subprocess.CompletedProcess[bytes]:
    (directory / "root.pem").write_bytes(_root(world).public_bytes(Encoding.PEM))
    (directory / "file.json").write_bytes(content)
    script = TOP / "docs" / "verify_evidence.py"
    command = [sys.executable, "-I", script, directory / "file.json", directory / "root.pem"]
    return subprocess.run(command, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("part", ["record", "way", "batches", "receipts", "topology", "seal", "subject"])
def test_a_changed_file_convinces_neither_product_nor_script(
    quiet: MakeWorld, tmp_path: Path, part: str
) -> None:
    """A character changed in any part of a real file is refused by both."""
    with quiet(0) as world:
        found = json.loads(export(world, MINISTRY, first_key(world)))
        text = json.dumps(found["evidence"].get(part) or found["seal"], ensure_ascii=False)
        place = next(n for n in range(len(text) // 2, len(text)) if text[n].isdigit())
        changed = json.loads(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
        (found if part == "seal" else found["evidence"])[part] = changed
        content = json.dumps(found, ensure_ascii=False).encode()

        done = _script(tmp_path, world, content)

        assert done.returncode == 1
        with pytest.raises(Exception, match="clause E"):
            proved(world, content)


def test_no_neighbour_is_in_the_file(quiet: MakeWorld) -> None:
    """No number, identity number or name of anybody else in the table is in the file, not even inside its base64."""
    with quiet(0) as world:
        mine, *others = rows(world).select("AAC001", "AAC002", "AAC003").rows()

        found = json.loads(export(world, EXCHANGE, mine[0]))

        plain = json.dumps(found, ensure_ascii=False) + " ".join(_decoded(found))
        assert all(cell in plain for cell in mine)
        assert len(others) > 3
        same_name = {mine[2]}
        assert [cell for row in others for cell in row if cell in plain and cell not in same_name] == []


def _decoded(value: Any) -> Iterator[str]:
    """Every text of a JSON value that is base64, as the bytes it stands for."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _decoded(part)
    elif isinstance(value, str):
        try:
            yield b64decode(value, validate=True).decode("utf-8", errors="replace")
        except ValueError:  # text, not base64
            return


def test_a_change_is_proved_against_the_table_it_closed(quiet: MakeWorld, tmp_path: Path) -> None:
    """A record a later change brought is proved by its batch and by the table of its manifest, months of changes on."""
    with quiet(2) as world:
        for _ in range(3):
            for _ in range(4):
                world.business[PRODUCTION].edit()
            world.capture_all()
        world.settle()
        table, key, seq = _newest_upsert(world)

        content = export(world, PROVINCE, key, table=table)

        found = proved(world, content)
        assert (found.kind, found.seq) == (Kind.CHANGE, seq)
        assert found.evidence.state is not None
        assert found.words
        assert _script(tmp_path, world, content).returncode == 0


def _newest_upsert(world: World) -> tuple[str, str, int]:
    """Table and key of a row in the newest change of the stream, and its seq."""
    zone = world.zones[EXCHANGE]
    for seq, kind, head in reversed(zone.index.places(STREAM)):
        sealed = zone.index.batch(STREAM, seq, head)
        assert sealed is not None
        for ref in decode_header(sealed.payload).segments if kind is Kind.CHANGE else ():
            changed = zone.shelf.read(ref.sha256).filter(pl.col("op") == "U")
            if changed.height:
                key = zone.standards[LIBRARY].table(ref.table).key[0]
                return ref.table, str(changed.item(0, key)), seq
    raise AssertionError("no change brought a row")


@contextmanager
def withdrawn(quiet: MakeWorld) -> Iterator[tuple[World, str]]:
    """A world in which a retiree left the city's library again."""
    with quiet(3) as world:
        key = first_key(world)
        before = world.zones[EXCHANGE].index.head(STREAM).seq
        _seal(world, rows(world).filter(pl.col("AAC001") == key), "D", f"{LIBRARY}@1.0")
        world.settle()
        assert world.zones[EXCHANGE].index.head(STREAM).seq > before
        yield world, key


def _seal(world: World, frame: pl.DataFrame, op: str, standard: str) -> None:
    """The city seals one more submission by hand: rows with an op, and the table as it is then."""
    home = world.zones[PRODUCTION]
    known = home.standards[LIBRARY]
    table = known.table(TABLE)
    now_held = rows(world)
    if op == "D":
        now_held = now_held.join(frame, on=list(table.key), how="anti")
    sealed = frame.select(table.columns).with_columns(pl.lit(op).alias("op"))
    sha256, size = home.shelf.write(sealed)
    root = digest([sealed], table.columns, table.key).root
    ref = SegmentRef(TABLE, sha256, size, sealed.height, root)
    totals = []
    for each in known.tables:
        found = (
            digest([now_held], table.columns, table.key)
            if each.id == TABLE
            else world.zones[EXCHANGE].library.digest(LIBRARY, each.id, "140100")
        )
        totals.append(TableTotals(each.id, found.rows, found.root))
    first = home.index.head(STREAM).seq + 1
    manifest = Manifest(first, tuple(totals))
    for kind, segments, closing in ((Kind.CHANGE, (ref,), None), (Kind.MANIFEST, (), manifest)):
        last = home.index.head(STREAM)
        header = Header(
            stream=STREAM,
            seq=last.seq + 1,
            incarnation=last.incarnation,
            epoch=last.epoch,
            previous=last.head,
            kind=kind,
            made_at=home.ports.now_text(),
            period=PERIOD,
            standard=standard,
            segments=segments,
            manifest=closing,
        )
        home.ledger.record(acts.sealed(home.seal(header)))


def test_a_withdrawn_record_is_not_passed_off_as_sent(quiet: MakeWorld) -> None:
    """Of a record whose newest submission withdrew it there is no evidence, but of the one that brought it there is."""
    with withdrawn(quiet) as (world, key):
        with pytest.raises(UsageError, match=r"withdrawn by 140100/production/pension_macro/line#"):
            export(world, MINISTRY, key)

        earlier = proved(world, export(world, MINISTRY, key, seq=1))

        assert earlier.kind is Kind.SNAPSHOT
        assert said(earlier)[MINISTRY] == BY[MINISTRY]


def test_a_withdrawal_has_no_way_to_the_manifest(quiet: MakeWorld) -> None:
    """An exporter that names the row of a withdrawal as sent is refused: the table it closed has no such row."""
    with withdrawn(quiet) as (world, key):
        zone = world.zones[MINISTRY]
        table = zone.standards[LIBRARY].table(TABLE)
        sealed = [zone.index.batch(STREAM, seq, head) for seq, _, head in zone.index.places(STREAM)[-2:]]
        batches = tuple(batch for batch in sealed if batch is not None)
        [ref] = decode_header(batches[0].payload).segments
        gone = zone.shelf.read(ref.sha256)
        honest, _ = open_evidence(export(world, MINISTRY, key, seq=1))
        way = path(gone, table.columns, table.key, 0)

        lies = [
            replace(honest, batches=batches, segment=ref.sha256, way=way, state=state, receipts=())
            for state in (None, way, honest.way)
        ]

        seal = partial(seal_bytes, signer=zone.identity)
        for lie in lies:
            with pytest.raises(EvidenceError, match="clause E5"):
                proved(world, seal_evidence(lie, seal))


def test_a_refusal_is_proved(quiet: MakeWorld, tmp_path: Path) -> None:
    """A submission that every tier refused is proved as sent and as refused, with the reason each signed."""
    with quiet(4) as world:
        key = first_key(world)
        _seal(world, rows(world).head(1), "U", f"{LIBRARY}@0.0")
        world.settle()

        content = export(world, PRODUCTION, key)

        found = proved(world, content)
        assert said(found) == {e: [*steps[:2], Step.REFUSED] for e, steps in BY.items()}
        assert {w.reason for w in found.words if w.step is Step.REFUSED} == {
            f"standard: expected {LIBRARY}@1.0, got {LIBRARY}@0.0"
        }
        assert "applied_at_top" in found.unproved
        assert b"refused by 100000/exchange" in _script(tmp_path, world, content).stdout


def test_silence_and_lateness_are_proved(quiet: MakeWorld) -> None:
    """A province that sat on a submission proves it by its own word; the ministry's silence is the city's record."""
    with quiet(5) as world:
        key = first_key(world)
        _seal(world, rows(world).head(1), "U", f"{LIBRARY}@1.0")
        world.follow(EXCHANGE, PRODUCTION)
        world.follow(PROVINCE, EXCHANGE)
        world.now += timedelta(days=3)
        for place in (PRODUCTION, PROVINCE):
            world.zones[place].deadlines.step()
        world.zones[PROVINCE].receipts.step()
        world.follow(EXCHANGE, PROVINCE)
        world.follow(PRODUCTION, EXCHANGE)
        world.zones[PRODUCTION].applier.step()

        found = proved(world, export(world, PRODUCTION, key))

        assert said(found) == {PROVINCE: [Step.RELAYED, Step.RELAYED, Step.OVERDUE]}
        assert ("100000/exchange", "accepted", "") in {
            (m.receiver, m.stage, m.answered_at) for m in found.missing
        }
        assert "applied_at_top" in found.unproved


def test_receipts_of_the_first_release_prove_nothing_alone(
    quiet: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Receipts without a digest end the export with a word of advice; left out on demand, the rest is proved."""
    with quiet(6) as world:
        monkeypatch.setattr(jinbao.flow.receipts, "digest", lambda *_: Digest(0, "", {}))
        key = first_key(world)
        _seal(world, rows(world).head(1), "U", f"{LIBRARY}@1.0")
        world.settle()

        with pytest.raises(LocalError, match=r"sealed by release 0\.1; leave it out with --partial"):
            export(world, EXCHANGE, key)

        assert proved(world, export(world, EXCHANGE, key, partial=True)).words == ()


@pytest.mark.parametrize(
    ("more", "got"),
    [
        ({"key": "nobody"}, "expected one that a closed submission of pension_macro carried"),
        ({"library": "wages"}, "expected pension_macro or unemployment_monitor, got wages"),
        ({"table": "wages"}, "expected employer or active_person or retiree, got wages"),
        ({"origin": "140200"}, "got none of that key"),
        ({"seq": 900}, "got none of that key"),
    ],
    ids=["nobody's key", "no library", "no table", "another origin", "no such submission"],
)
def test_what_is_not_here_is_said(quiet: MakeWorld, more: dict[str, Any], got: str) -> None:
    """A record this zone cannot prove is refused with what it could."""
    with quiet(7) as world, pytest.raises(UsageError, match=got):
        export(world, EXCHANGE, **({"key": first_key(world)} | more))


def test_a_key_in_two_tables_needs_its_table(quiet: MakeWorld) -> None:
    """A key that stands in more than one table is not guessed at."""
    with quiet(8) as world:
        zone = world.zones[EXCHANGE]
        library = "unemployment_monitor"
        keys = [
            set(zone.library.frame(library, t.id).get_column("AAC001"))
            for t in zone.standards[library].tables
        ]
        shared = next(key for held in keys for key in sorted(held) if sum(key in other for other in keys) > 1)

        with pytest.raises(UsageError, match="expected one place, got --table"):
            export(world, EXCHANGE, shared, library=library, table="")


def test_evidence_is_for_authorised_callers(quiet: MakeWorld) -> None:
    """Whoever may only read is handed no record."""
    with quiet(9) as world:
        asked = {"library": LIBRARY, "table": TABLE, "key": first_key(world), "reason": "request 7"}
        reader = Caller("clerk", 4711, Way.READ)

        with pytest.raises(UsageError, match=r"expected admin\.sock"):
            dispatch(Asked(world.zones[EXCHANGE], caller=reader), "evidence.export", asked)


def test_the_list_says_what_is_awaited_and_what_is_late(quiet: MakeWorld) -> None:
    """Each submission stands with what was signed, what is awaited until when, and what did not come in time."""
    with quiet(10) as world:
        _seal(world, rows(world).head(1), "U", f"{LIBRARY}@1.0")

        def lines(place: Endpoint, **more: Any) -> list[tuple[str, str, str]]:
            asked = {"library": LIBRARY, "limit": 1} | more
            found = dispatch(Asked(world.zones[place]), "evidence.list", asked).body["lines"]
            return [(x["step"], x["by"], x["why"]) for x in found]

        tiers = [str(e) for e in (EXCHANGE, PROVINCE, MINISTRY)]
        fresh = lines(PRODUCTION)
        world.now += timedelta(days=1, hours=1)
        world.zones[PRODUCTION].deadlines.step()
        late = lines(PRODUCTION, late=True)
        world.settle()

        assert fresh == [("sealed", str(PRODUCTION), "")] + [
            ("awaited", tier, stage) for tier in tiers for stage in ("accepted", "applied")
        ]
        assert late == [("missing", tier, "accepted") for tier in tiers]
        assert {x[2].partition(",")[0] for x in lines(PRODUCTION) if x[0] == "missing"} == {"accepted"}
        assert not [x for x in lines(MINISTRY) if x[0] == "awaited" or x[1] == str(PROVINCE)]
        assert ("applied", str(MINISTRY), "") in lines(MINISTRY)


def test_a_record_is_traced_with_what_is_missing(quiet: MakeWorld) -> None:
    """`trace` says of each tier what its word means on the line, and which word did not come."""
    with quiet(11) as world:
        key = first_key(world)
        zone = world.zones[PRODUCTION]
        settled = dispatch(Asked(zone), "trace", {"key": key, "reason": "request 7"}).body["steps"]
        _seal(world, rows(world).head(1), "U", f"{LIBRARY}@1.0")
        world.now += timedelta(days=1, hours=1)
        zone.deadlines.step()

        late = dispatch(Asked(zone), "trace", {"key": key, "reason": "request 7"}).body["steps"]

        assert {"submitted", "relayed", "accepted", "applied"} <= {step["stage"] for step in settled}
        missing = {step["where"] for step in late if step["stage"] == "missing"}
        assert missing == {f"{LIBRARY}.{TABLE} at {e}" for e in (EXCHANGE, PROVINCE, MINISTRY)}


def _promote(world: World, node: str) -> None:
    """Have the parent grant a node to another holder, all learn it, and the holder be certified at epoch 2."""
    row = world.topology.by_node[node]
    signer = world.zones[Endpoint(row.parent, Zone.EXCHANGE)].identity
    made_at = world.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    sealed = seal_grant(Grant(world.topology.trust_domain, node, 2, (), (), (), "lost", made_at), signer)
    document = grant_document(envelope_message(sealed).SerializeToString())
    rows = tuple(replace(r, epoch=2) if r.node == node else r for r in world.topology.rows)
    granted = replace(world.topology, rows=rows)
    for endpoint, zone in world.zones.items():
        if endpoint.node == node:
            zone.ledger.record(acts.healed(2, [], [], []))
        zone.trust.take_in([document])
    for endpoint in [e for e in world.zones if e.node == node]:
        world.plan.authorities.issue(endpoint, granted, world.directory / node / endpoint.zone / "identity")
        world.restart(endpoint)


def test_what_a_new_holder_sent_is_proved_by_its_grant(quiet: MakeWorld, tmp_path: Path) -> None:
    """After a promotion every place's file carries the grants its signers need and no others, and needs them."""
    with quiet(0) as world:
        before = json.loads(export(world, MINISTRY, first_key(world)))
        _promote(world, "140100")
        _promote(world, "140000")
        while not world.capture(PRODUCTION):
            world.business[PRODUCTION].edit()
        world.settle()
        table, key, _ = _newest_upsert(world)

        for place in PLACES:
            content = export(world, place, key, table=table)
            found = proved(world, content)
            made, _ = open_evidence(content)
            nodes = [decode_grant(sealed.payload).node for sealed in made.grants]
            assert nodes == (["140100"] if place == MINISTRY else ["140000", "140100"])
            assert (found.origin, found.exporter) == (PRODUCTION, place)
            assert _script(tmp_path, world, content).returncode == 0
            for fewer in (made.grants[:-1], ()):
                with pytest.raises(EvidenceError, match="E7"):
                    proved(world, _resealed(world, place, replace(made, grants=fewer)))
        assert "grants" not in before["evidence"]


def _resealed(world: World, place: Endpoint, what: Evidence) -> bytes:
    """A file sealed by a place that says what it likes."""
    signer = world.zones[place].identity
    return seal_evidence(what, lambda kind, payload: seal_bytes(kind, payload, signer))
