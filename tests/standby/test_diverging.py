"""A superseded zone's tail as a file: all of it, signed, and any alteration refused by name."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.rebuild.busy import live
from tests.sim.conftest import MakeWorld
from tests.sim.promotion import Promotion
from tests.sim.world import PERIOD, Plan, world
from tests.standby.leaving import (
    CITY,
    DECISION,
    EPOCH,
    EXCHANGE,
    PARENT,
    PRODUCTION,
    Old,
    entries_after,
    envelope,
    granted_away,
    members,
    place_of,
    superseded,
    tell,
)

from jinbao.appliance.diverging import Ended, diverge, ended, source_of
from jinbao.appliance.questions import Asked, dispatch
from jinbao.authority.demo import DemoAuthorities
from jinbao.authority.identity_files import load_identity
from jinbao.flow.following import named, needed, seals_acts
from jinbao.model import failpoint
from jinbao.model.batch import SealedBatch, SegmentRef
from jinbao.model.errors import (
    CorruptionError,
    IdentityError,
    LocalError,
    RevokedError,
    SpaceError,
    UnprovableError,
    UsageError,
)
from jinbao.model.grant import granted
from jinbao.model.stream import OBJECT_TABLE
from jinbao.model.trust import DocumentKind, TrustDocument
from jinbao.model.zone import Endpoint
from jinbao.standby import divergence as form
from jinbao.standby.divergence import (
    DIVERGENCE_TYPE,
    END,
    LIST,
    SEALED,
    Listing,
    Part,
    Place,
    Said,
    decode,
    decode_list,
    encode,
    encode_list,
    header,
    padding,
)
from jinbao.standby.diverging import BEGUN, KEPT, WHOLE, WRITTEN, write_divergence
from jinbao.standby.opening import open_divergence, open_own
from jinbao.standby.reviewing import LAID_OUT, lay_out, review
from jinbao.store.files import Files
from jinbao.trust.book import TrustBook
from jinbao.trust.documents import seal_topology
from jinbao.trust.encoding import decode_envelope, envelope_message
from jinbao.trust.envelope import Signer, seal_bytes
from jinbao.trust.grants import decode_grant


@pytest.fixture(scope="module")
def old(guarded_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    """A busy city whose identity was granted away, and that went on after the cut."""
    with world(guarded_plan, tmp_path_factory.mktemp("old") / "network", seed=11) as network:
        live(network)
        yield superseded(network)


@pytest.fixture(scope="module")
def file(old: Old, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The production zone's file; nobody alters it."""
    path = tmp_path_factory.mktemp("file") / "production.divergence"
    old.write(path)
    return path


@pytest.mark.parametrize("endpoint", [PRODUCTION, EXCHANGE], ids=lambda e: str(e.zone))
def test_the_tail_is_what_came_after_the_cut(old: Old, tmp_path: Path, endpoint: Endpoint) -> None:
    """Every act after the cut is in the file as it was hashed, and every segment it names, byte for byte; nothing else."""
    path, zone, cut = tmp_path / "file", old.zone(endpoint), old.cuts[endpoint.zone]

    said = old.write(path, endpoint)
    found = old.open(path)

    expected = entries_after(zone, cut.lsn, said.last.lsn)
    assert list(found.entries()) == expected
    assert said.last == place_of(zone.index)
    assert said.counts == Counter(entry.kind for entry in expected)
    news = [entry for entry in expected if not seals_acts(entry)]
    wanted = {sha256 for entry in news for sha256 in named(entry.kind, json.loads(entry.body))}
    assert {ref.sha256 for ref in found.listing.segments} == {s for s in wanted if zone.shelf.has(s)}
    for ref in found.listing.segments:
        assert b"".join(found.blocks(ref)) == zone.shelf.open_path(ref.sha256).read_bytes()
    assert found.statement == ""
    assert path.stat().st_mode & 0o777 == 0o600
    assert said.segments > 3


def test_any_tool_opens_it(old: Old, file: Path) -> None:
    """An ordinary tar finds the members, and a segment read from it is the table it was."""
    found = dict(members(file))
    segment = old.open(file).listing.segments[0]

    assert list(found)[:3] == [SEALED, LIST, "acts/0001.parquet"]
    assert pl.read_parquet(found[f"segments/{segment.sha256}.parquet"]).height >= 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_tail_is_whole(old: Old, tmp_path: Path, data: st.DataObject) -> None:
    """From any act to any later one, in parts of any size, the file holds those acts, chained, and no others."""
    endpoint = data.draw(st.sampled_from([PRODUCTION, EXCHANGE, DECISION]))
    zone, path = old.zone(endpoint), tmp_path / "file"
    whole = source_of(zone)
    last = data.draw(st.integers(1, whole.newest))
    first = data.draw(st.integers(0, last))
    cut = Place(first, zone.ledger.entries(first - 1, 1, 1)[0].hash) if first else Place(0, "")
    pages = data.draw(st.sampled_from([1, 7, 2000]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jinbao.standby.diverging.ACTS_MAX", pages)
        write_divergence(
            path,
            replace(whole, newest=last),
            cut,
            granted_epoch=EPOCH,
            signer=zone.identity,
            made_at=zone.ports.now_text(),
            reserve_bytes=0,
            files=Files(),
        )

    found = open_own(path, zone.identity.certificates)

    expected = entries_after(zone, first, last)
    assert list(found.entries()) == expected
    assert len(found.said.parts) == -(-len(expected) // pages)
    for entry in expected:
        lost = set(needed(entry.kind, json.loads(entry.body))) - {r.sha256 for r in found.listing.segments}
        assert lost <= set(found.listing.missing)


def test_written_again_it_is_the_same(old: Old, tmp_path: Path) -> None:
    """The same tail written twice gives the same members but for the sealed word, in which only the time may differ."""
    first, second = tmp_path / "first", tmp_path / "second"
    one = old.write(first)
    old.world.now += timedelta(seconds=5)
    two = old.write(second)

    assert list(members(first))[1:] == list(members(second))[1:]
    assert one.made_at != two.made_at
    assert replace(one, made_at="") == replace(two, made_at="")


class Gone(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("name", [BEGUN, WRITTEN, WHOLE, KEPT, "files.after_sync", "files.after_rename"])
def test_a_write_that_ended_is_made_again(old: Old, file: Path, tmp_path: Path, name: str) -> None:
    """Ended at any step, there is no file or a whole one; written again it has the same acts and segments."""
    path, here = tmp_path / "file", source_of(old.zone(PRODUCTION)).newest

    def end(passed: str) -> None:
        if passed == name:
            raise Gone

    failpoint.set_hook(end)
    try:
        with pytest.raises(Gone):
            old.write(path)
    finally:
        failpoint.set_hook(None)
    assert not path.exists() or open_own(path, old.zone(PRODUCTION).identity.certificates)

    old.write(path)

    assert list(members(path))[1:] == list(members(file))[1:]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert source_of(old.zone(PRODUCTION)).newest == here


def altered(path: Path, target: Path, at: int, bit: int = 1) -> Path:
    """A copy with one bit turned."""
    body = bytearray(path.read_bytes())
    body[at] ^= bit
    target.write_bytes(body)
    return target


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_byte_counts(old: Old, file: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Whichever byte is altered, cut away, left out or added, wherever in the file, it is refused."""
    body, bad = file.read_bytes(), tmp_path / "bad"
    at, bit = data.draw(st.integers(0, len(body) - 1)), data.draw(st.sampled_from([1, 32, 128]))
    flipped = body[:at] + bytes([body[at] ^ bit]) + body[at + 1 :]
    ways = {
        "flip": flipped,
        "cut": body[:at],
        "add": body + bytes([bit]),
        "leave out": body[:at] + body[at + 1 :],
        "put in": body[:at] + bytes([bit]) + body[at:],
    }
    bad.write_bytes(ways[data.draw(st.sampled_from(sorted(ways)))])

    with pytest.raises((UnprovableError, IdentityError)):
        old.open(bad)


def test_every_byte_of_the_beginning_counts(old: Old, file: Path, tmp_path: Path) -> None:
    """No byte of the first member, its header and the sealed word with its certificates, can be another."""
    size = len(next(iter(members(file)))[1])
    for at in range(0, 512 + size + len(padding(size)), 3):
        with pytest.raises((UnprovableError, IdentityError)):
            old.open(altered(file, tmp_path / "bad", at))


def test_an_alteration_is_named(old: Old, file: Path, tmp_path: Path) -> None:
    """What is altered is named: the list, a part of the acts, a segment by its hash, or the end."""
    body, found = file.read_bytes(), old.open(file)
    segment = found.listing.segments[-1].sha256
    names = {
        LIST: body.index(header(LIST, found.said.list_bytes)) + 512,
        "acts/0001.parquet": body.index(b"acts/0001.parquet") + 512 + 99,
        f"segments/{segment}.parquet": body.index(f"segments/{segment}.parquet".encode()) + 512 + 99,
        "end": len(body) - 7,
    }
    for name, at in names.items():
        with pytest.raises(UnprovableError, match=name):
            old.open(altered(file, tmp_path / "bad", at))


def test_what_is_no_file_of_ours_is_refused(old: Old, tmp_path: Path) -> None:
    """An empty file, another archive, and a member that claims to be immense are refused at their beginning."""
    cases = {
        "empty": b"",
        "text": b"photo" * 500,
        "another": header("photo.jpg", 5) + b"photo" + padding(5) + END,
        "immense": header(SEALED, 1 << 40) + b"x",
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnprovableError, match=SEALED):
            old.open(tmp_path / name)


# The cut.


def test_a_database_that_is_not_on_the_chain_writes_nothing(old: Old, tmp_path: Path) -> None:
    """Where the act at the cut has another hash, no file is made: the new holder was not built from this database."""
    cut = replace(old.cuts[PRODUCTION.zone], hash="a" * 64)

    with pytest.raises(LocalError, match="never was what the new holder has"):
        old.write(tmp_path / "file", cut=cut)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ahead", [0, 1, 1000])
def test_a_disk_older_than_the_cut_has_no_tail(old: Old, tmp_path: Path, ahead: int) -> None:
    """A journal that ends at the cut or before it has nothing to tell, and the zone signs that."""
    newest = place_of(old.zone(DECISION).index)
    cut = Place(newest.lsn + ahead, "b" * 64 if ahead else newest.hash)

    said = old.write(tmp_path / "file", DECISION, cut)
    found = open_own(tmp_path / "file", old.zone(DECISION).identity.certificates)

    assert (said.acts, said.parts, said.segments) == (0, (), 0)
    assert found.said.last == newest
    assert list(found.entries()) == []


def test_where_nobody_says_what_was_taken_over_all_is_tail(old: Old, tmp_path: Path) -> None:
    """A zone the new holder was not built from gives its whole journal, from its first act on."""
    said = old.write(tmp_path / "file", DECISION, Place(0, ""))

    assert said.acts == source_of(old.zone(DECISION)).newest
    assert said.counts["created"] == 1


def test_there_must_be_room(old: Old, tmp_path: Path) -> None:
    """Where the file would break the reserve nothing of it is written."""
    zone = old.zone(PRODUCTION)

    with pytest.raises(SpaceError):
        write_divergence(
            tmp_path / "file",
            source_of(zone),
            old.cuts[PRODUCTION.zone],
            granted_epoch=EPOCH,
            signer=zone.identity,
            made_at=zone.ports.now_text(),
            reserve_bytes=1 << 60,
            files=Files(),
        )

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "harm", [Path.unlink, lambda path: path.write_bytes(b"rot")], ids=["gone", "altered"]
)
def test_a_segment_that_rotted_is_left_out_and_said(
    guarded_plan: Plan, tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    """A segment that is missing or altered on the old disk does not keep the rest back: it is listed as missing."""
    with world(guarded_plan, tmp_path / "network", seed=3) as network:
        old = superseded(network)
        zone = old.zone(EXCHANGE)
        tail = entries_after(zone, old.cuts[EXCHANGE.zone].lsn, source_of(zone).newest)
        wanted = next(s for entry in tail for s in needed(entry.kind, json.loads(entry.body)))
        harm(zone.shelf.path(wanted))

        said = old.write(tmp_path / "file", EXCHANGE)
        found = old.open(tmp_path / "file")

        assert (said.missing, found.listing.missing) == (1, (wanted,))
        assert wanted not in {ref.sha256 for ref in found.listing.segments}
        assert list(found.entries()) == tail


def test_acts_that_do_not_chain_are_told(guarded_plan: Plan, tmp_path: Path) -> None:
    """A journal somebody altered after the cut gives no file that says otherwise: it is named as corrupt."""
    with world(guarded_plan, tmp_path / "network", seed=3) as network:
        old = superseded(network)
        zone = old.zone(PRODUCTION)
        with zone.store.transaction() as tx:
            tx.execute(
                sa.text("UPDATE journal_act SET at = '2024-01-01T00:00:00.000Z' WHERE lsn = :lsn"),
                {"lsn": old.cuts[PRODUCTION.zone].lsn + 2},
            )

        with pytest.raises(CorruptionError, match=f"act {old.cuts[PRODUCTION.zone].lsn + 2}"):
            old.write(tmp_path / "file")

        assert not (tmp_path / "file").exists()


# Who signed.


class Authorities:
    """A network's own authorities, so that what they take back concerns no other test."""

    def __init__(self, old: Old, directory: Path, life: timedelta = timedelta(days=900)) -> None:
        self.old, self.topology = old, old.world.plan.topology
        self.made = DemoAuthorities(now=datetime(2024, 10, 1, tzinfo=UTC), life=life)
        self.made.issue(PRODUCTION, self.topology, directory / "identity")
        self.identity = load_identity(directory / "identity")

    @property
    def book(self) -> TrustBook:
        """What is trusted now."""
        return TrustBook.of(self.identity.anchors, self.made.documents())

    def write(self, path: Path, made_at: str, endpoint: Endpoint = PRODUCTION) -> None:
        """The city's tail as of a moment, sealed by these authorities' zone."""
        zone = self.old.zone(endpoint)
        write_divergence(
            path,
            source_of(zone),
            self.old.cuts[endpoint.zone],
            granted_epoch=EPOCH,
            signer=self.identity,
            made_at=made_at,
            reserve_bytes=0,
            files=Files(),
        )

    def statement(self, path: Path) -> str:
        """What is said of the signer of a file."""
        now = datetime(2025, 6, 1, tzinfo=UTC)
        topology = granted(self.topology, [decode_grant(self.old.grant.payload)])
        return open_divergence(path, self.book, topology, now).statement


@pytest.mark.parametrize(
    ("made_at", "statement"),
    [
        ("2024-11-04T00:00:00Z", ""),
        ("2024-11-06T00:00:00Z", "signed by a certificate taken back as superseded at 2024-11-05T00:00:00Z"),
    ],
    ids=["before it was taken back", "after it was taken back"],
)
def test_a_superseded_signer_is_heard_and_named(
    old: Old, tmp_path: Path, made_at: str, statement: str
) -> None:
    """What was sealed before the certificate was taken back stands; what came after is heard, and it is said."""
    authorities = Authorities(old, tmp_path)
    authorities.write(tmp_path / "file", made_at)
    authorities.made.revoke(PRODUCTION, authorities.topology, "superseded", datetime(2024, 11, 5, tzinfo=UTC))

    assert authorities.statement(tmp_path / "file") == statement


@pytest.mark.parametrize("reason", ["key-compromise", "cessation", "privilege-withdrawn"])
def test_a_certificate_taken_back_for_worse_proves_nothing(old: Old, tmp_path: Path, reason: str) -> None:
    """Any other reason than a successor leaves no witness: the file is refused."""
    authorities = Authorities(old, tmp_path)
    authorities.write(tmp_path / "file", "2024-11-06T00:00:00Z")
    authorities.made.revoke(PRODUCTION, authorities.topology, reason, datetime(2024, 11, 5, tzinfo=UTC))

    with pytest.raises(RevokedError):
        authorities.statement(tmp_path / "file")


def test_a_certificate_that_ended_is_named(old: Old, tmp_path: Path) -> None:
    """A node that was cut off until its certificates ended is heard too, and that is said."""
    authorities = Authorities(old, tmp_path, life=timedelta(days=30))
    authorities.write(tmp_path / "file", "2024-11-20T00:00:00Z")
    with_lists = TrustBook.of(
        authorities.identity.anchors, authorities.made.documents(), grace=timedelta(900)
    )
    topology = granted(authorities.topology, [decode_grant(old.grant.payload)])
    now = datetime(2024, 11, 21, tzinfo=UTC)

    found = open_divergence(tmp_path / "file", with_lists, topology, now)

    assert found.statement.startswith("signed by a certificate that had ended at 2024-10-31")


def test_a_certificate_that_never_was_good_proves_nothing(old: Old, tmp_path: Path) -> None:
    """A signer of another network, and one whose certificate began later, are refused."""
    authorities = Authorities(old, tmp_path)
    authorities.write(tmp_path / "file", "2024-11-06T00:00:00Z")
    with pytest.raises(IdentityError):
        old.open(tmp_path / "file")
    authorities.write(tmp_path / "early", "2024-09-01T00:00:00Z")
    with pytest.raises(IdentityError):
        authorities.statement(tmp_path / "early")


def resealed(source: Path, target: Path, signer: Signer, **other: object) -> Path:
    """A file whose word says something else, sealed by whoever likes to."""
    body = source.read_bytes()
    [(_, content), *_] = members(source)
    said: Said = decode(decode_envelope(content).payload)
    said = replace(said, certificates=form.chain_hash(signer.certificates), **other)  # type: ignore[arg-type]
    sealed: SealedBatch = seal_bytes(DIVERGENCE_TYPE, encode(said), signer)
    fresh = envelope_message(sealed).SerializeToString(deterministic=True)
    rest = body[512 + len(content) + len(padding(len(content))) :]
    target.write_bytes(header(SEALED, len(fresh)) + fresh + padding(len(fresh)) + rest)
    return target


def test_nobody_else_seals_for_a_zone(old: Old, file: Path, tmp_path: Path) -> None:
    """Another zone's seal, another epoch than the certificate's, and an epoch that is not over are refused."""
    mine, bad = old.zone(PRODUCTION).identity, tmp_path / "bad"
    assert old.open(resealed(file, bad, mine)).said.zone == PRODUCTION

    for signer, other in (
        (old.zone(EXCHANGE).identity, {}),
        (old.world.zones[PARENT].identity, {}),
        (mine, {"zone": EXCHANGE}),
        (mine, {"epoch": 2}),
        (mine, {"granted_epoch": 1}),
        (mine, {"granted_epoch": 3}),
        (mine, {"made_at": "2044-01-01T00:00:00Z"}),
    ):
        with pytest.raises((IdentityError, UnprovableError)):
            old.open(resealed(file, bad, signer, **other))


def test_a_zone_that_seals_what_is_not_so_is_found(old: Old, file: Path, tmp_path: Path) -> None:
    """Sums, cut, end, hashes and lists that are not what the acts give are refused though their zone sealed them."""
    mine, said, bad = old.zone(PRODUCTION).identity, old.open(file).said, tmp_path / "bad"
    [part, *_] = said.parts
    cases: dict[str, dict[str, object]] = {
        "sums": {"counts": dict(said.counts) | {"sealed": 99}},
        "cut": {"cut": Place(said.cut.lsn - 1, "c" * 64)},
        "last act": {"last": Place(said.last.lsn, "d" * 64)},
        "acts/0001": {"parts": (replace(part, last=Place(part.last.lsn, "e" * 64)),)},
        "segments.json": {"list_sha256": "f" * 64},
        "sums ": {"segments": said.segments - 1},
    }
    for name, other in cases.items():
        with pytest.raises(UnprovableError, match=name.strip()):
            old.open(resealed(file, bad, mine, **other))


def test_a_segment_no_act_names_is_refused(old: Old, file: Path, tmp_path: Path) -> None:
    """A list with one segment more, or one fewer, or another role, is refused though its zone sealed it."""
    mine, found = old.zone(PRODUCTION).identity, old.open(file)
    stranger = SegmentRef(OBJECT_TABLE, "a" * 64, 5, 0)
    refs = found.listing.segments
    listings = {
        "more": Listing((*refs, stranger), found.listing.missing),
        "another role": Listing(tuple(replace(r, table="spare") for r in refs), found.listing.missing),
        "missing too much": Listing(refs, ("b" * 64,)),
    }
    for listing in listings.values():
        content = encode_list(listing)
        other = {
            "list_sha256": hashlib.sha256(content).hexdigest(),
            "list_bytes": len(content),
            "segments": len(listing.segments),
            "segment_bytes": sum(r.bytes for r in listing.segments),
            "missing": len(listing.missing),
        }
        bad = resealed(file, tmp_path / "bad", mine, **other)
        body = bad.read_bytes()
        old_list = encode_list(found.listing)
        whole = header(LIST, len(old_list)) + old_list + padding(len(old_list))
        assert whole in body
        bad.write_bytes(body.replace(whole, header(LIST, len(content)) + content + padding(len(content))))
        with pytest.raises(UnprovableError):
            old.open(bad)


def test_a_file_of_a_node_nobody_granted_away_is_refused(guarded_plan: Plan, tmp_path: Path) -> None:
    """A zone that knows of no grant does not take a tail for one: it says where to ask."""
    with world(guarded_plan, tmp_path / "network", seed=3) as network:
        old = superseded(network)
        old.write(tmp_path / "file")
        ministry = network.zones[Endpoint("100000", PARENT.zone)]

        with pytest.raises(IdentityError, match="ask a zone that knows of the grant"):
            open_divergence(tmp_path / "file", ministry.trust.book(), ministry.topology, ministry.ports.now())


# The word, as bytes.

_HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
_PLACES = st.builds(Place, st.integers(1, 1 << 40), _HASHES) | st.just(Place(0, ""))
_SAID = st.builds(
    Said,
    zone=st.sampled_from([PRODUCTION, EXCHANGE, PARENT]),
    incarnation=st.text("abcdef0123", min_size=1, max_size=32),
    epoch=st.integers(1, 9),
    granted_epoch=st.integers(1, 9),
    cut=_PLACES,
    last=_PLACES,
    parts=st.lists(
        st.builds(Part, _HASHES, st.integers(0, 1000), st.integers(0, 1000), _PLACES), max_size=3
    ).map(tuple),
    list_sha256=_HASHES,
    list_bytes=st.integers(0, 1000),
    segments=st.integers(0, 1000),
    segment_bytes=st.integers(0, 1 << 50),
    missing=st.integers(0, 1000),
    counts=st.dictionaries(st.sampled_from(["sealed", "captured"]), st.integers(1, 99)),
    certificates=_HASHES,
    made_at=st.just("2024-11-05T00:00:00Z"),
)


@given(said=_SAID)
def test_a_word_comes_back_as_it_was(said: Said) -> None:
    """What is encoded is decoded to the same word."""
    assert decode(encode(said)) == said


@given(said=_SAID, data=st.data())
def test_no_other_spelling_is_the_word(said: Said, data: st.DataObject) -> None:
    """A field of another type, one more or one fewer, or the same in other bytes is refused, whatever it is."""
    body = json.loads(encode(said))
    name = data.draw(st.sampled_from(sorted(body)))
    other = data.draw(st.sampled_from([None, 1.5, True, "x", [], {}, [1], -1, 1 << 70]))
    if (name, other) in (("counts", {}), ("parts", [])) or (
        other == body[name] and type(other) is type(body[name])
    ):
        return  # the same, or another word: of none
    cases = [
        json.dumps(body | {name: other}, sort_keys=True, separators=(",", ":")),
        json.dumps(body | {"more": 1}, sort_keys=True, separators=(",", ":")),
        json.dumps({k: v for k, v in body.items() if k != name}, sort_keys=True, separators=(",", ":")),
        json.dumps(body, sort_keys=True),
    ]
    for case in cases:
        with pytest.raises(UnprovableError):
            decode(case.encode())


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_end_the_reader(content: bytes) -> None:
    """Whatever bytes stand for a word or a list, the answer is that they are none."""
    for read in (decode, decode_list):
        with pytest.raises(UnprovableError):
            read(content)


# Questions.


def test_a_zone_gives_its_own_file(guarded_plan: Plan, tmp_path: Path) -> None:
    """A zone that recorded its grant writes the file; the only trace in its journal is who asked."""
    with world(guarded_plan, tmp_path / "network", seed=3) as network:
        old = superseded(network)
        zone = old.zone(PRODUCTION)
        with pytest.raises(LocalError, match="a grant of 140100"):
            dispatch(Asked(zone), "standby.diverged", {})
        tell(zone, old.grant)
        before = source_of(zone).newest

        answer = dispatch(Asked(zone), "standby.diverged", {})

        assert answer.attachment is not None
        shutil.move(answer.attachment, tmp_path / "file")
        found = old.open(tmp_path / "file")
        assert answer.body["acts"] == found.said.acts > 0
        assert [entry.kind for entry in entries_after(zone, before, source_of(zone).newest)] == [
            "audited"
        ] * 2
        assert list(zone.shelf.incoming.iterdir()) == []


def test_a_grant_is_handed_in(old: Old) -> None:
    """A zone that nobody could tell takes the grant's file, if it is of its node and its parent's."""
    zone, parent = old.zone(PRODUCTION), old.world.zones[PARENT]
    assert ended(zone, envelope(old.grant)) == Ended(EPOCH, old.cuts[PRODUCTION.zone])
    with pytest.raises(IdentityError):
        ended(zone, envelope(granted_away(old.zone(EXCHANGE), old.cuts)))
    ministry = old.world.zones[Endpoint("100000", PARENT.zone)]
    with pytest.raises(UsageError, match="one of 140100"):
        ended(zone, envelope(granted_away(ministry, {}, node=PARENT.node)))
    with pytest.raises(LocalError, match="one at epoch 1"):
        ended(zone, envelope(granted_away(parent, old.cuts, epoch=1)))
    with pytest.raises(UnprovableError):
        ended(zone, b"photo")


def test_a_review_says_what_is_in_it(old: Old, file: Path) -> None:
    """Every batch sealed after the cut is a line with its place, and so are captures and what persons did."""
    found = old.open(file)

    made = review(found)

    sealed = [e for e in found.entries() if e.kind == "sealed" and not seals_acts(e)]
    assert [line.lsn for line in made.batches] == [entry.lsn for entry in sealed]
    assert {line.what for line in made.runs} == {"captured", "converted"}
    assert sum(line.rows for line in made.runs) > 0
    assert made.unshown == 0


def test_a_zone_says_which_batches_it_has(old: Old, file: Path) -> None:
    """Of each batch a zone says the same, another at that place, or none."""
    made = review(old.open(file))
    batch = next(line for line in made.batches if line.stream.endswith("/line"))
    place = {"stream": batch.stream, "seq": batch.seq, "head": batch.head}
    places = [place, place | {"head": "a" * 64}, place | {"seq": batch.seq + 1000}]

    said = dispatch(Asked(old.zone(EXCHANGE)), "standby.review", {"batches": places}).body["batches"]

    assert [line["here"] for line in said] == ["same", "other", "none"]
    assert said[1]["here_epoch"] == 1


def test_segments_are_laid_out_in_clear(old: Old, file: Path, tmp_path: Path) -> None:
    """Every segment becomes a Parquet file named by act and table; ended, it goes on; nothing of others is written over."""
    found, target = old.open(file), tmp_path / "clear"

    def end(passed: str) -> None:
        if passed == LAID_OUT:
            raise Gone

    failpoint.set_hook(end)
    try:
        with pytest.raises(Gone):
            lay_out(found, target, Files())
    finally:
        failpoint.set_hook(None)

    assert lay_out(found, target, Files()) == len(found.listing.segments) == len(list(target.iterdir()))
    assert lay_out(found, target, Files()) == len(found.listing.segments)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in target.iterdir())
    assert target.stat().st_mode & 0o777 == 0o700
    assert any("-ac01-" in path.name.lower() or "person" in path.name for path in target.iterdir())
    assert all(pl.read_parquet(path).width > 0 for path in target.iterdir())
    (target / "photo").write_text("mine")
    with pytest.raises(LocalError, match="photo"):
        lay_out(found, target, Files())


def test_the_topology_alone_may_end_an_epoch(guarded_plan: Plan, tmp_path: Path) -> None:
    """Where a newer topology says so, as of a root node, nobody says what was taken over: the whole journal is tail."""
    with world(guarded_plan, tmp_path / "network", seed=3) as network:
        topology = network.plan.topology
        rows = tuple(replace(row, epoch=7) if row.node == CITY else row for row in topology.rows)
        newer = replace(topology, version=topology.version + 1, rows=rows)
        root = network.zones[Endpoint(topology.root, PARENT.zone)]
        body = envelope_message(seal_topology(newer, root.identity)).SerializeToString()
        zone = network.zones[PRODUCTION]

        zone.trust.take_in([TrustDocument(DocumentKind.TOPOLOGY, "topology", newer.version, body)])

        assert ended(zone) == Ended(7, Place(0, ""))


def test_what_an_ended_run_left_is_not_reused(old: Old, tmp_path: Path) -> None:
    """A temporary file an ended run left, readable by others, is not reused."""
    left = tmp_path / "file.tmp"
    left.write_text("half")
    left.chmod(0o644)

    diverge(old.zone(PRODUCTION), tmp_path / "file", Ended(EPOCH, old.cuts[PRODUCTION.zone]), Files())

    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert not left.exists()
    assert CITY in (tmp_path / "file").read_bytes()[:2000].decode("latin-1")


def test_the_old_holders_batches_are_weighed_at_the_new_one(guarded: MakeWorld, tmp_path: Path) -> None:
    """What the parent had came back and is the same; what only the old holder sealed is another batch there, or none."""
    with guarded(4) as network:
        for _ in range(2):  # beyond the copy: the parent has these
            network.business[PRODUCTION].edit()
            network.capture(PRODUCTION)
            network.follow(EXCHANGE, PRODUCTION)
            network.follow(PARENT, EXCHANGE)
        promotion = Promotion(network, CITY)
        promotion.declare()
        promotion.promote()
        former, holder = promotion.old[PRODUCTION], network.zones[PRODUCTION]
        assert former.outbound is not None
        for _ in range(3):
            network.business[PRODUCTION].edit()
            former.outbound.step(PERIOD)
        network.capture(PRODUCTION)
        former.trust.take_in([promotion.document])
        assert former.superseded

        said = diverge(former, tmp_path / "file", ended(former), Files())
        grant = holder.trust.grant_of(CITY)
        assert grant is not None
        found = open_divergence(
            tmp_path / "file", holder.trust.book(), holder.topology, holder.ports.now(), [grant]
        )

        assert found.said == said
        batches = [line for line in review(found).batches if line.stream.endswith("/line")]
        places = [{"stream": line.stream, "seq": line.seq, "head": line.head} for line in batches]
        answer = dispatch(Asked(holder), "standby.review", {"batches": places}).body["batches"]
        assert {line["here"] for line in answer} == {"same", "other", "none"}
        assert {line["here_epoch"] for line in answer if line["here"] == "other"} == {EPOCH}
        promotion.end()
