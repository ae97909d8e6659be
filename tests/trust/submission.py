"""One small submission with its receipts, sealed by zones of a hierarchy: what evidence is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl
from tests.trust.example import CITY, FIRST, NOW, PROVINCE, ROOT, STREAM, TOPOLOGY
from tests.trust.hierarchy import DAY, YEAR, Authority, Sealer, der, root

from jinbao.model.batch import Header, Kind, Manifest, SealedBatch, SegmentRef, TableTotals
from jinbao.model.receipt import RECEIPT_COLUMNS, RECEIPT_KEY, Stage, topic_of
from jinbao.model.stream import RECEIPTS, StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.digest import digest, digest_of_tables, path
from jinbao.trust.encoding import HEADER_TYPE, TOPOLOGY_TYPE, encode_header, encode_topology
from jinbao.trust.envelope import head_of
from jinbao.trust.evidence import Column, Evidence, ProvedReceipt, Silence, Subject, seal_evidence
from jinbao.trust.identity import parse_identity

EXCHANGE = Endpoint("140100", Zone.EXCHANGE)
TABLE = "retiree"
COLUMNS, KEY = ("AAC001", "AAC003", "AIC263"), ("AAC001",)
FRAME = pl.DataFrame(
    [(f"1401P{n:09d}", f"邻居{n}", 100_000 + n) for n in range(700)],
    schema=dict(zip(COLUMNS, (pl.String(), pl.String(), pl.Int64()), strict=True)),
    orient="row",
)
CHANGED = FRAME.head(9)
MINE = 4
"""The row the evidence is of, in both frames."""

SUBJECT = Subject(
    "pension_macro",
    "养老保险宏观分析",
    "pension macro",
    TABLE,
    "离退休人员",
    "retirees",
    "pension_macro@1.0",
    "202610",
    (
        Column("AAC001", "个人编号", "person number"),
        Column("AAC003", "姓名", "name"),
        Column("AIC263", "养老金", "pension", 2),
    ),
)
SEALED_AT = datetime.fromisoformat(FIRST.made_at)
SIGNERS = (CITY, EXCHANGE, PROVINCE, ROOT)


@dataclass(frozen=True)
class Hierarchy:
    """A root, its issuing authorities, and each zone's sealer; `authorities` and `crls` as they are carried."""

    root: Authority
    ministry: Authority
    province: Authority
    sealers: Mapping[Endpoint, Sealer]
    authorities: tuple[bytes, ...]
    crls: tuple[bytes, ...]


def hierarchy() -> Hierarchy:
    """As the product builds it: seals in `intl-1`, every revocation state carried."""
    top = root()
    ministry, province = top.issuing("100000"), top.issuing("140000")
    above = {CITY: province, EXCHANGE: province, PROVINCE: ministry, ROOT: ministry}
    return Hierarchy(
        top,
        ministry,
        province,
        {endpoint: above[endpoint].leaf(endpoint) for endpoint in SIGNERS},
        (der(ministry.certificate), der(province.certificate)),
        (ministry.crl(), province.crl(), top.crl(life=YEAR / 2)),
    )


def flat(*, intl: bool = False) -> Hierarchy:
    """As release 0.1: one root that certified every zone, one P-256 key for all, no CRL."""
    top = root(path="flat")
    sealers = {endpoint: top.leaf(endpoint, intl=intl) for endpoint in SIGNERS}
    return Hierarchy(top, top, top, sealers, (), ())


def at(hours: float) -> str:
    """So many hours after the submission was sealed."""
    return (SEALED_AT + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch_of(sealer: Sealer) -> int:
    """The epoch in a sealer's certificate."""
    return parse_identity(sealer.certificate).epoch


def seal_header(header: Header, sealer: Sealer) -> SealedBatch:
    """A header, sealed."""
    return sealer(HEADER_TYPE, encode_header(header))


def batches(sealer: Sealer, kind: Kind = Kind.SNAPSHOT) -> tuple[SealedBatch, ...]:
    """A batch of rows, one of nothing, and the manifest."""
    rows = FRAME if kind is Kind.SNAPSHOT else CHANGED
    ref = SegmentRef(TABLE, "5" * 64, 1, rows.height, digest([rows], COLUMNS, KEY).root)
    totals = (
        TableTotals("employer", 0, digest([], COLUMNS, KEY).root),
        TableTotals(TABLE, FRAME.height, digest([FRAME], COLUMNS, KEY).root),
    )
    last = replace(FIRST, standard=SUBJECT.standard, period=SUBJECT.period, epoch=epoch_of(sealer))
    parts = [(kind, (ref,), None), (kind, (), None), (Kind.MANIFEST, (), Manifest(7, totals))]
    made: list[SealedBatch] = []
    for seq, (what, segments, manifest) in enumerate(parts, 7):
        previous = head_of(made[-1]) if made else "0" * 64
        header = replace(last, seq=seq, previous=previous, kind=what, segments=segments, manifest=manifest)
        made.append(seal_header(header, sealer))
    return tuple(made)


def receipts(
    sealers: Mapping[Endpoint, Sealer],
    sealed: tuple[SealedBatch, ...],
    said: Iterable[tuple[Endpoint, Stage, float]],
    *,
    made_at: str = "",
) -> tuple[ProvedReceipt, ...]:
    """What each receiver said of the submission, each alone in the batches of its receiver and topic."""
    rows = (FRAME.height, digest_of_tables(_totals()))
    found = []
    for receiver, stage, hours in said:
        seq, about = (7, sealed[0]) if stage is Stage.ACCEPTED else (9, sealed[-1])
        counts = rows if stage is Stage.APPLIED else (0, "")
        reason = "limits" if stage is Stage.REFUSED else ""
        row = (str(receiver), str(STREAM), seq, head_of(about), str(stage), *counts, reason, at(hours), "")
        other = (str(receiver), str(STREAM), 1, "e" * 64, "accepted", 3, "", "neighbour", at(0), "")
        frame = pl.DataFrame([other, row], schema=list(RECEIPT_COLUMNS), orient="row")
        ref = SegmentRef(RECEIPTS, "6" * 64, 1, 2, digest([frame], RECEIPT_COLUMNS, RECEIPT_KEY).root)
        header = replace(
            FIRST,
            stream=StreamId(receiver, topic_of(stage), CITY.node),
            epoch=epoch_of(sealers[receiver]),
            made_at=made_at or at(hours),
            segments=(ref,),
        )
        way = path(frame, RECEIPT_COLUMNS, RECEIPT_KEY, 1)
        found.append(ProvedReceipt(frame.row(1), way, seal_header(header, sealers[receiver])))
    return tuple(found)


def _totals() -> list[tuple[str, int, str]]:
    nothing = digest([], COLUMNS, KEY)
    return [("employer", 0, nothing.root), (TABLE, FRAME.height, digest([FRAME], COLUMNS, KEY).root)]


EVERYBODY = tuple(
    (receiver, stage, hours + place)
    for place, receiver in enumerate((EXCHANGE, PROVINCE, ROOT), 1)
    for stage, hours in ((Stage.ACCEPTED, 0.0), (Stage.APPLIED, 0.5))
)


def evidence(
    of: Hierarchy,
    *,
    kind: Kind = Kind.SNAPSHOT,
    said: Iterable[tuple[Endpoint, Stage, float]] = EVERYBODY,
) -> Evidence:
    """Evidence of one row, exported by the province when all was said."""
    rows = FRAME if kind is Kind.SNAPSHOT else CHANGED
    sealed = batches(of.sealers[CITY], kind)
    return Evidence(
        made_at=NOW.strftime("%Y-%m-%dT%H:%M:%SZ"),
        made_by=str(PROVINCE),
        subject=SUBJECT,
        record=rows.row(MINE),
        key=(0,),
        segment="5" * 64,
        way=path(rows, COLUMNS, KEY, MINE),
        state=None if kind is Kind.SNAPSHOT else path(FRAME, COLUMNS, KEY, MINE),
        batches=sealed,
        receipts=receipts(of.sealers, sealed, said),
        missing=(Silence(9, str(ROOT), "applied", at(48), ""),),
        topology=of.sealers[ROOT](TOPOLOGY_TYPE, encode_topology(TOPOLOGY)),
        authorities=of.authorities,
        crls=of.crls,
    )


def file(of: Hierarchy, what: Evidence | None = None) -> bytes:
    """The file the province hands out."""
    return seal_evidence(what or evidence(of), of.sealers[PROVINCE])


def rotated(net: Hierarchy, years: float) -> tuple[Hierarchy, Hierarchy]:
    """Both hierarchies after so many years: every leaf, issuing authority and root has a successor."""
    then = NOW + years * YEAR
    new_root = root("jinbao root", first=NOW + 8 * YEAR, last=NOW + 28 * YEAR)
    ministry = new_root.issuing("100000", first=then - YEAR, last=then + YEAR)
    cross = der(new_root.cross(net.root, first=NOW + 8 * YEAR))
    back = der(net.root.cross(new_root, first=NOW + 8 * YEAR))
    authorities = (*net.authorities, der(ministry.certificate), cross, back)
    crls = (*net.crls, ministry.crl(at=then), new_root.crl(at=then, life=YEAR / 2), net.root.crl(at=then))
    exporter = ministry.leaf(PROVINCE, first=then - DAY, last=then + DAY)
    sealers = {**net.sealers, PROVINCE: exporter}
    old = replace(net, sealers=sealers, authorities=authorities, crls=crls)
    return old, replace(old, root=new_root)


def exported_after(net: Hierarchy, years: float) -> Evidence:
    """Evidence made today, exported after so many years."""
    then = NOW + years * YEAR
    return replace(evidence(net), made_at=then.strftime("%Y-%m-%dT%H:%M:%SZ"))
