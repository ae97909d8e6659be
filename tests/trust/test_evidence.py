"""Evidence: proved with the root alone, after every rotation; refused, by the clause, when anything in it differs."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from tests.trust.example import CITY, FIRST, NOW, PROVINCE, ROOT, SIBLING, TOPOLOGY, row
from tests.trust.hierarchy import DAY, TLS, YEAR, der, root
from tests.trust.submission import (
    EVERYBODY,
    EXCHANGE,
    FRAME,
    MINE,
    Hierarchy,
    at,
    batches,
    evidence,
    exported_after,
    file,
    flat,
    hierarchy,
    receipts,
    rotated,
    seal_header,
)

from jinbao.model.batch import Kind, SealedBatch
from jinbao.model.errors import EvidenceError
from jinbao.model.receipt import Stage, Step
from jinbao.model.stream import StreamId
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.trust.digest import RowPath
from jinbao.trust.encoding import TOPOLOGY_TYPE, decode_header, encode_topology
from jinbao.trust.evidence import Evidence, canonical, open_evidence
from jinbao.trust.evidence_proof import Verdict, verify_evidence

Reason = x509.ReasonFlags


@pytest.fixture(scope="module")
def net() -> Hierarchy:
    """A hierarchy whose seals are of the second suite."""
    return hierarchy()


def verdict(of: Hierarchy, what: Evidence | None = None, **more: Any) -> Verdict:
    """Evidence verified under the root it was made under."""
    return verify_evidence(file(of, what), [of.root.certificate], **more)


def refused(of: Hierarchy, what: Evidence, **more: Any) -> str:
    """The clause evidence breaks."""
    with pytest.raises(EvidenceError) as found:
        verdict(of, what, **more)
    return found.value.clause


# What is proved.


@pytest.mark.parametrize("kind", [Kind.SNAPSHOT, Kind.CHANGE, Kind.AMENDMENT])
@pytest.mark.parametrize("make", [hierarchy, flat], ids=["intl-1", "p256-sha256 under a flat root"])
def test_one_file_and_the_root_prove_the_whole_way(make: Callable[[], Hierarchy], kind: Kind) -> None:
    """Who sealed the record and when, and what every tier said of it, follow from the file and the root certificate."""
    of = make()

    found = verdict(of, evidence(of, kind=kind))

    assert (found.origin, found.seq, found.kind, found.sealed_at) == (CITY, 7, kind, FIRST.made_at)
    assert [(w.step, w.receiver) for w in found.words] == [
        (Step.SUBMITTED, EXCHANGE),
        (Step.APPLIED, EXCHANGE),
        (Step.RELAYED, PROVINCE),
        (Step.APPLIED, PROVINCE),
        (Step.ACCEPTED, ROOT),
        (Step.APPLIED, ROOT),
    ]
    assert (found.exporter, found.evidence.record) == (PROVINCE, FRAME.row(MINE))


def test_without_crls_the_verdict_says_so() -> None:
    """A flat root without CRLs proves all but the revocation state, and is refused where that is required."""
    of = flat()

    assert not verdict(of).is_revocation_carried
    assert "revocation" in verdict(of).unproved
    assert refused(of, evidence(of), require_crl=True) == "E10"


def test_with_crls_every_state_is_required(net: Hierarchy) -> None:
    """Where any CRL is carried each certificate's state must be, unless that is waived; the verdict tells."""
    some = replace(evidence(net), crls=net.crls[:1])

    assert verdict(net).is_revocation_carried
    assert refused(net, some) == "E10"
    assert not verdict(net, some, require_crl=False).is_revocation_carried


def test_no_neighbour_is_in_the_file(net: Hierarchy) -> None:
    """Of all other rows of the table and of the receipts not one cell is in the file, encoded or plain."""
    for kind in (Kind.SNAPSHOT, Kind.CHANGE):
        text = json.dumps(json.loads(file(net, evidence(net, kind=kind))), ensure_ascii=False)

        others = [r for n, r in enumerate(FRAME.rows()) if n != MINE]
        assert FRAME.item(MINE, "AAC003") in text
        assert not any(name in text for name, _, _ in others)
        assert not any(f'"{name}"' in text for _, name, _ in others)
        assert "neighbour" not in text


@pytest.mark.parametrize(
    ("said", "steps", "unproved"),
    [
        ((), [], {"applied_at_top", "time"}),
        ([(EXCHANGE, Stage.ACCEPTED, 1)], [Step.SUBMITTED], {"applied_at_top", "time"}),
        ([(PROVINCE, Stage.ACCEPTED, 1)], [Step.RELAYED], {"applied_at_top"}),
        ([(ROOT, Stage.REFUSED, 1)], [Step.REFUSED], {"applied_at_top"}),
        (
            [(ROOT, Stage.ACCEPTED, 1), (ROOT, Stage.OVERDUE, 50)],
            [Step.ACCEPTED, Step.OVERDUE],
            {"applied_at_top"},
        ),
        ([(ROOT, Stage.APPLIED, 3)], [Step.APPLIED], set()),
    ],
    ids=["nobody", "its own exchange zone", "a relay", "a refusal", "a time that passed", "the top"],
)
def test_a_verdict_says_what_is_open(
    net: Hierarchy, said: list[Any], steps: list[Step], unproved: set[str]
) -> None:
    """Silence, refusal and a time that passed are proved as such, and what they leave open is named."""
    found = verdict(net, evidence(net, said=said))

    assert [w.step for w in found.words] == steps
    assert set(found.unproved) == unproved | {"names", "truth", "later"}


# Rotation.


def test_it_is_proved_after_leaf_issuer_and_root_wererotated(net: Hierarchy) -> None:
    """Nine years on, every certificate of then is over but the old root: both roots prove it, by cross certificates."""
    made = exported_after(net, 9)
    old, new = rotated(net, 9)
    made = replace(made, authorities=old.authorities, crls=old.crls)

    found = [verdict(of, made) for of in (old, new)]

    assert net.sealers[CITY].certificate.not_valid_after_utc < NOW + YEAR
    assert all(one.is_revocation_carried and len(one.words) == 6 for one in found)


def test_it_is_proved_when_the_old_root_is_over(net: Hierarchy) -> None:
    """Eleven years on the old root has ended: the new one proves what was sealed under the old."""
    old, new = rotated(net, 11)
    made = replace(exported_after(net, 11), authorities=old.authorities, crls=old.crls)

    assert verdict(new, made).is_revocation_carried
    assert refused(old, made) == "E8"


def test_a_root_that_never_met_the_other_proves_nothing(net: Hierarchy) -> None:
    """Without cross certificates another root leads nowhere."""
    stranger = replace(net, root=root("jinbao root"))

    assert refused(stranger, evidence(net)) == "E12"


def test_a_retired_root_still_proves_what_came_before(net: Hierarchy) -> None:
    """The old root's cross certificate was revoked as superseded later: what it vouched for by then stays proved."""
    _, new = rotated(net, 9)
    cross = x509.load_der_x509_certificate(new.authorities[-2])
    then = NOW + 9 * YEAR
    later = new.root.crl((cross, then, Reason.superseded), at=then, life=YEAR / 2)
    lost = new.root.crl((cross, then, Reason.key_compromise), at=then, life=YEAR / 2)
    made = replace(exported_after(net, 9), authorities=new.authorities)

    assert verdict(new, replace(made, crls=(*new.crls, later))).is_revocation_carried
    assert refused(new, replace(made, crls=(*new.crls, lost))) == "E10"


# Revocation and time.


@pytest.mark.parametrize(
    ("hours", "reason", "clause"),
    [
        (-1, Reason.superseded, "E10"),
        (30, Reason.superseded, ""),
        (30, Reason.cessation_of_operation, ""),
        (30, Reason.key_compromise, "E10"),
        (1.5, Reason.superseded, "E10"),
    ],
    ids=[
        "before it sealed",
        "long after",
        "closed long after",
        "its key was lost",
        "before the province signed",
    ],
)
def test_a_revoked_leaf_proves_by_its_time_and_reason(
    net: Hierarchy, hours: float, reason: x509.ReasonFlags, clause: str
) -> None:
    """What was sealed and counter-signed before a revocation stays proved, unless the key itself was lost."""
    revoked = net.sealers[CITY].certificate, NOW + timedelta(hours=hours - 1), reason
    made = evidence(net, said=[(PROVINCE, Stage.ACCEPTED, 2)])

    crls = (net.crls[0], net.province.crl(revoked), net.crls[2])
    made = replace(made, crls=crls)

    if clause:
        assert refused(net, made) == clause
    else:
        assert verdict(net, made).is_revocation_carried


def test_a_leaf_that_ended_before_anybody_signed_proves_nothing(net: Hierarchy) -> None:
    """A city whose certificate was over when the province first counter-signed may have sealed at any time."""
    short = net.province.leaf(CITY, last=NOW + timedelta(hours=1))
    of = replace(net, sealers={**net.sealers, CITY: short})

    assert refused(of, evidence(of, said=[(PROVINCE, Stage.ACCEPTED, 3)])) == "E12"
    assert verdict(of, evidence(of, said=[(PROVINCE, Stage.ACCEPTED, 0.5)])).words
    assert "time" in verdict(of, evidence(of, said=[(EXCHANGE, Stage.ACCEPTED, 3)])).unproved


def test_a_leaf_not_yet_or_no_longer_in_force_seals_nothing(net: Hierarchy) -> None:
    """The time a header says it was made lies within its signer's certificate."""
    for first, last in ((NOW, NOW + DAY), (NOW - DAY, NOW - timedelta(hours=2))):
        of = replace(net, sealers={**net.sealers, CITY: net.province.leaf(CITY, first=first, last=last)})
        assert refused(of, evidence(of)) == "E8"


# Who may say what.


def _by(net: Hierarchy, endpoint: Endpoint, sealer: Any) -> tuple[Hierarchy, Evidence]:
    of = replace(net, sealers={**net.sealers, endpoint: sealer})
    return of, evidence(of)


@pytest.mark.parametrize(
    ("clause", "make"),
    [
        ("E7", lambda n: n.province.leaf(SIBLING)),
        ("E7", lambda n: n.province.leaf(EXCHANGE)),
        ("E7", lambda n: n.province.leaf(CITY, epoch=2)),
        ("E9", lambda n: n.ministry.leaf(CITY)),
        ("E9", lambda n: n.root.issuing("310000").leaf(CITY)),
        ("E6", lambda n: n.province.leaf(CITY, usages=TLS)),
        ("E8", lambda n: n.province.issuing("140000").leaf(CITY)),
        ("E8", lambda _: root().issuing("140000").leaf(CITY)),
        ("E8", lambda n: replace(n.province, certificate=n.sealers[EXCHANGE].certificate).leaf(CITY)),
    ],
    ids=[
        "a sibling",
        "the other zone",
        "an epoch to come",
        "the ministry's authority",
        "another province's authority",
        "a TLS certificate",
        "an authority of an issuing authority",
        "another hierarchy",
        "a leaf as an authority",
    ],
)
def test_only_the_origin_seals_for_itself(
    net: Hierarchy, clause: str, make: Callable[[Hierarchy], Any]
) -> None:
    """A batch proves nothing under any certificate but that of its own origin from its own authority."""
    of, made = _by(net, CITY, make(net))

    assert refused(of, made) == clause


def test_a_key_of_one_suite_does_not_sign_in_another(net: Hierarchy) -> None:
    """The suite an envelope names must be that of its signer's key and certificate."""
    made = evidence(net)
    first = made.batches[0]

    for suite in ("p256-sha256", "gm-1", ""):
        renamed = replace(made, batches=(replace(first, suite=suite), *made.batches[1:]))
        assert refused(net, renamed) == "E6"


def test_only_the_root_node_signs_the_topology(net: Hierarchy) -> None:
    """A topology a province sealed decides nothing, nor one that knows no such city."""
    short = Topology(TOPOLOGY.trust_domain, 1, (row("100000", Tier.MINISTRY, ""),))

    by_province = net.sealers[PROVINCE](TOPOLOGY_TYPE, encode_topology(TOPOLOGY))
    without = net.sealers[ROOT](TOPOLOGY_TYPE, encode_topology(short))

    assert refused(net, replace(evidence(net), topology=by_province)) == "E7"
    assert refused(net, replace(evidence(net), topology=without)) == "E7"


def test_only_the_receiver_says_what_it_received(net: Hierarchy) -> None:
    """A receipt sealed by another zone, of a zone that is not on the way up, or in another topic, is refused."""
    made, sealers = evidence(net), net.sealers
    by_city = receipts({**sealers, ROOT: sealers[EXCHANGE]}, made.batches, [(ROOT, Stage.APPLIED, 3)])
    elsewhere = receipts({**sealers, CITY: sealers[CITY]}, made.batches, [(CITY, Stage.ACCEPTED, 3)])
    [whole] = receipts(sealers, made.batches, [(ROOT, Stage.APPLIED, 3)])
    header = decode_header(whole.batch.payload)
    stream = replace(header.stream, topic="overdue")
    moved = replace(whole, batch=seal_header(replace(header, stream=stream), sealers[ROOT]))

    assert refused(net, replace(made, receipts=by_city)) == "E7"
    assert refused(net, replace(made, receipts=elsewhere)) == "E11"
    assert refused(net, replace(made, receipts=(moved,))) == "E11"


def test_a_receipt_is_of_these_batches(net: Hierarchy) -> None:
    """A receipt of another submission proves nothing of this one."""
    made = evidence(net)
    other = batches(net.sealers[CITY], Kind.CHANGE)

    moved = receipts(net.sealers, other, [(ROOT, Stage.APPLIED, 3)])

    assert refused(net, replace(made, receipts=moved)) == "E11"


# Whatever is changed, and sealed again by an exporter that lies.


def _way(way: RowPath, **more: Any) -> RowPath:
    return replace(way, **more)


def _receipt(made: Evidence, at: int, value: Any) -> Evidence:
    """The first receipt with another cell."""
    first, *rest = made.receipts
    cells = (*first.cells[:at], value, *first.cells[at + 1 :])
    return replace(made, receipts=(replace(first, cells=cells), *rest))


CHANGES: dict[str, tuple[str, Callable[[Evidence], Evidence]]] = {
    "a cell": ("E3", lambda e: replace(e, record=(*e.record[:2], e.record[2] + 1))),
    "a name": ("E3", lambda e: replace(e, record=(e.record[0], "李四", e.record[2]))),
    "a number as text": ("E3", lambda e: replace(e, record=(*e.record[:2], str(e.record[2])))),
    "a cell more": ("E3", lambda e: replace(e, record=(*e.record, None))),
    "another row": ("E3", lambda e: replace(e, record=FRAME.row(5))),
    "another key": ("E3", lambda e: replace(e, key=(1,))),
    "no key": ("E3", lambda e: replace(e, key=())),
    "a key beyond": ("E3", lambda e: replace(e, key=(9,))),
    "another segment": ("E3", lambda e: replace(e, segment="7" * 64)),
    "no leaves": ("E3", lambda e: replace(e, way=_way(e.way, leaves=()))),
    "a leaf more": ("E3", lambda e: replace(e, way=_way(e.way, leaves=(*e.way.leaves, "0" * 64)))),
    "a bucket less": (
        "E3",
        lambda e: replace(e, way=_way(e.way, buckets=dict([*e.way.buckets.items()][1:]))),
    ),
    "another library": ("E3", lambda e: replace(e, subject=replace(e.subject, library="wages"))),
    "another table": ("E3", lambda e: replace(e, subject=replace(e.subject, table="employer"))),
    "another standard": (
        "E3",
        lambda e: replace(e, subject=replace(e.subject, standard="pension_macro@2.0")),
    ),
    "another period": ("E3", lambda e: replace(e, subject=replace(e.subject, period="202609"))),
    "a state of another table": (
        "E5",
        lambda e: replace(e, state=e.way if e.state else _way(e.way, buckets={})),
    ),
    "no batch between": ("E4", lambda e: replace(e, batches=(e.batches[0], e.batches[2]))),
    "no manifest": ("E4", lambda e: replace(e, batches=e.batches[:2])),
    "no batches": ("E4", lambda e: replace(e, batches=())),
    "only the manifest": ("E4", lambda e: replace(e, batches=e.batches[2:])),
    "batches turned round": ("E4", lambda e: replace(e, batches=(e.batches[1], e.batches[0], e.batches[2]))),
    "a batch twice": ("E4", lambda e: replace(e, batches=(e.batches[0], *e.batches))),
    "another exporter": ("E2", lambda e: replace(e, made_by=str(ROOT))),
    "no time": ("E2", lambda e: replace(e, made_at="yesterday")),
    "a time nowhere": ("E2", lambda e: replace(e, made_at="2026-11-20T08:00:00")),
    "a receiver": ("E11", lambda e: _receipt(e, 0, str(ROOT))),
    "a receipt's stream": ("E11", lambda e: _receipt(e, 1, str(StreamId(SIBLING, "pension_macro")))),
    "a receipt's seq": ("E11", lambda e: _receipt(e, 2, 8)),
    "a receipt's head": ("E11", lambda e: _receipt(e, 3, "0" * 64)),
    "a receipt's stage": ("E11", lambda e: _receipt(e, 4, "applied")),
    "an unknown stage": ("E11", lambda e: _receipt(e, 4, "notarised")),
    "a receipt's rows": ("E11", lambda e: _receipt(e, 5, 1)),
    "a receipt's digest": ("E11", lambda e: _receipt(e, 6, "0" * 64)),
    "a receipt's reason": ("E11", lambda e: _receipt(e, 7, "because")),
    "a receipt's time": ("E11", lambda e: _receipt(e, 8, at(0.1))),
    "a receipt of three cells": (
        "E11",
        lambda e: replace(e, receipts=(replace(e.receipts[0], cells=(1, 2, 3)),)),
    ),
    "an authority of nobody": (
        "E12",
        lambda e: replace(e, authorities=(*e.authorities, der(root("x").certificate))),
    ),
    "a CRL of nobody": ("E10", lambda e: replace(e, crls=(*e.crls, root("x").crl()))),
    "a CRL that is none": ("E10", lambda e: replace(e, crls=(b"nothing",))),
    "an authority that is none": ("E12", lambda e: replace(e, authorities=(b"nothing",))),
    "no CRL of the origin": ("E10", lambda e: replace(e, crls=(e.crls[0], e.crls[2]))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_breaks_its_clause(net: Hierarchy, name: str) -> None:
    """A file that says something else is refused by its clause, though the exporting zone sealed it again."""
    clause, change = CHANGES[name]

    assert refused(net, change(evidence(net))) == clause


def test_a_change_batch_needs_a_way_to_the_manifest(net: Hierarchy) -> None:
    """A digest says nothing of upsert or withdrawal: what a change brought must stand in the table it closed."""
    made = evidence(net, kind=Kind.CHANGE)

    assert refused(net, replace(made, state=None)) == "E5"
    assert refused(net, replace(made, state=made.way)) == "E5"


def test_applied_rows_are_those_of_the_manifest(net: Hierarchy) -> None:
    """A receiver that applied other rows than the manifest's did not apply this submission."""
    made = evidence(net)
    other = replace(net, sealers=net.sealers)
    header = decode_header(made.batches[-1].payload)
    assert header.manifest is not None
    fewer = replace(header.manifest, tables=header.manifest.tables[:1])
    last = seal_header(replace(header, manifest=fewer), net.sealers[CITY])

    sealed = (*made.batches[:2], last)
    said = receipts(net.sealers, sealed, [(ROOT, Stage.APPLIED, 3)])

    assert refused(other, replace(made, batches=sealed, receipts=said)) == "E11"


def _altered(sealed: SealedBatch) -> Iterator[SealedBatch]:
    """An envelope with one byte changed, here and there in each of its parts."""
    for part in ("payload", "signature"):
        content = getattr(sealed, part)
        for place in range(0, len(content), max(1, len(content) // 5)):
            yield replace(sealed, **{part: _flip(content, place)})
    for number, certificate in enumerate(sealed.certificates):
        for place in range(0, len(certificate), len(certificate) // 7):
            chain = list(sealed.certificates)
            chain[number] = _flip(certificate, place)
            yield replace(sealed, certificates=tuple(chain))


def _flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_a_changed_byte_of_any_envelope_is_refused(net: Hierarchy) -> None:
    """No byte of header, receipt batch, topology, signature or certificate can differ, though the file is sealed again."""
    made = evidence(net, said=EVERYBODY[-1:])

    altered = [replace(made, batches=(*made.batches[:-1], one)) for one in _altered(made.batches[-1])]
    altered += [replace(made, batches=(one, *made.batches[1:])) for one in _altered(made.batches[0])]
    altered += [replace(made, topology=one) for one in _altered(made.topology)]
    receipt = made.receipts[0]
    altered += [replace(made, receipts=(replace(receipt, batch=one),)) for one in _altered(receipt.batch)]

    assert len(altered) > 80
    assert all(refused(net, one) for one in altered)


@pytest.mark.parametrize("part", ["authorities", "crls"])
def test_a_changed_byte_of_what_is_carried_is_refused(net: Hierarchy, part: str) -> None:
    """No byte of a carried authority or CRL can differ, though the file is sealed again."""
    made = evidence(net, said=())

    for number, content in enumerate(getattr(made, part)):
        for place in range(0, len(content), 17):
            carried = list(getattr(made, part))
            carried[number] = _flip(content, place)
            assert refused(net, replace(made, **{part: tuple(carried)})) in {"E8", "E10", "E12"}


# The file as it lies.


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every scalar of a JSON value; of long lists and objects some."""
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        for key in keys if len(keys) < 20 else keys[:: len(keys) // 3]:
            yield from places(value[key], (*way, key))
    else:
        yield way


def changed(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1:] != "0" else "1")
    return 1 if value is None else value + 1


def with_change(content: bytes, way: tuple[Any, ...]) -> bytes:
    """A file with one scalar changed."""
    found = json.loads(content)
    at = found
    for key in way[:-1]:
        at = at[key]
    at[way[-1]] = changed(at[way[-1]])
    return json.dumps(found, ensure_ascii=False).encode()


def test_a_changed_scalar_anywhere_is_refused(net: Hierarchy) -> None:
    """Whatever word, number, hash or base64 of a file is changed, names and labels among them, the file is refused."""
    content = file(net, evidence(net, kind=Kind.CHANGE, said=EVERYBODY[-2:]))
    ways = list(places(json.loads(content)))

    for way in ways:
        with pytest.raises(EvidenceError):
            verify_evidence(with_change(content, way), [net.root.certificate])

    assert len(ways) > 100


def _edited(content: bytes, edit: Callable[[dict[str, Any]], Any]) -> bytes:
    found = json.loads(content)
    edit(found)
    return json.dumps(found).encode()


FORMS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another format": lambda f: f.update(format="jinbao-evidence/2"),
    "a member more": lambda f: f.update(more=1),
    "no seal": lambda f: f.pop("seal"),
    "no CRLs": lambda f: f["evidence"].pop("crls"),
    "a note": lambda f: f["evidence"].update(note="x"),
    "a truth value": lambda f: f["evidence"].update(key=[True]),
    "a fraction": lambda f: f["evidence"].update(record=[1.5, "", ""]),
    "a place below nothing": lambda f: f["evidence"].update(key=[-1]),
    "a short hash": lambda f: f["evidence"].update(segment="5" * 63),
    "no base64": lambda f: f["evidence"].update(crls=["?"]),
    "unused bits": lambda f: f["evidence"].update(crls=["AAB="]),
    "an object for a list": lambda f: f["evidence"].update(batches={}),
    "too many receipts": lambda f: f["evidence"].update(receipts=[[]] * 300),
    "a bucket that is none": lambda f: f["evidence"]["way"].update(buckets={"zz": "5" * 64}),
    "a column of one part": lambda f: f["evidence"]["subject"].update(columns=[["a"]]),
    "half a character": lambda f: f["evidence"]["subject"].update(library="\ud800"),
}


@pytest.mark.parametrize("name", FORMS)
def test_another_form_is_refused(net: Hierarchy, name: str) -> None:
    """A member too many or too few, another type, text that is no base64: none is read past."""
    with pytest.raises(EvidenceError) as found:
        open_evidence(_edited(file(net, evidence(net, said=())), FORMS[name]))

    assert found.value.clause == "E1"


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"\xff", b"[" * 100_000, b'{"format": 1, "format": 1}', b" " * (64 << 20) + b"{}"],
    ids=["nothing", "a list", "no text", "depths", "a name twice", "too much"],
)
def test_what_is_no_evidence_is_refused(content: bytes) -> None:
    """Anything that is not one JSON object of the format is refused by its form."""
    with pytest.raises(EvidenceError, match="clause E1"):
        open_evidence(content)


def test_what_is_written_is_what_is_read(net: Hierarchy) -> None:
    """A file read again says what was sealed, and its seal is over the canonical text."""
    made = evidence(net, kind=Kind.CHANGE)

    found, seal = open_evidence(file(net, made))

    assert found == made
    assert seal.payload == canonical(json.loads(file(net, made))["evidence"])
    assert base64.b64encode(made.crls[0]).decode() in file(net, made).decode()


def test_a_zone_of_the_network_exports(net: Hierarchy) -> None:
    """A file sealed by somebody outside the topology is refused: its names would rest on nobody."""
    outside = Endpoint("140100", Zone.DECISION)
    of = replace(net, sealers={**net.sealers, PROVINCE: net.ministry.leaf(Endpoint("310000", Zone.EXCHANGE))})

    assert refused(of, evidence(net)) == "E2"
    assert verify_evidence(
        file(
            replace(net, sealers={**net.sealers, PROVINCE: net.province.leaf(outside)}),
            replace(evidence(net), made_by=str(outside)),
        ),
        [net.root.certificate],
    )
