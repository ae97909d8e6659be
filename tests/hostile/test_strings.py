"""A peer's strings: none is a path, SQL, a shell's word, a formula or more than one short line of a log."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinbao.carrier.reading import PACKAGES_MAX, names, open_plain
from jinbao.carrier.spool import SpoolPeer
from jinbao.cli import show
from jinbao.model.batch import SegmentRef
from jinbao.model.errors import (
    CorruptionError,
    JinbaoError,
    SettingsError,
    UnacceptableError,
    UnprovableError,
)
from jinbao.model.quoting import quoted
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.registry.standards import FILE_BYTES_MAX, load_standards, read_toml
from jinbao.trust import bounds, encoding
from jinbao.trust.encoding import decode_header, decode_topology, mark_of, marks_of, place_of
from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as wire

TRICKS = [
    pytest.param("../../../etc/passwd", id="path"),
    pytest.param("..", id="dots"),
    pytest.param("a/b", id="slash"),
    pytest.param("a\0b", id="NUL"),
    pytest.param("a\nb", id="line end"),
    pytest.param("retiree\n", id="line end behind"),
    pytest.param("ｒetiree", id="full-width look-alike"),
    pytest.param("rеtiree", id="Cyrillic look-alike"),
    pytest.param("١٢٣٤٥٦", id="Arabic digits"),
    pytest.param("a\u202eb", id="turned around"),
    pytest.param("a" * 100_000, id="very long"),
    pytest.param("x'; DROP TABLE journal_act; --", id="SQL"),
    pytest.param('x" ADD COLUMN "y', id="SQL name"),
    pytest.param('=HYPERLINK("http://x")', id="formula"),
    pytest.param("$(id)", id="shell"),
    pytest.param("<script>", id="page"),
    pytest.param("\x1b[31m", id="terminal"),
]

HASH = "0f" * 32
TRUE = wire.Header(
    stream=wire.StreamId(node="140100", zone="production", topic="pension_macro", audience="line"),
    seq=1,
    incarnation="a" * 32,
    epoch=1,
    kind="change",
    made_at="2024-11-05T00:00:00Z",
    run="run-000001",
    period="202410",
    standard="pension_macro@1.0",
    segments=[
        wire.SegmentRef(table="retiree", sha256=HASH, bytes=1, rows=1, digest=HASH, totals={"AAC040": 1})
    ],
    manifest=wire.Manifest(first_seq=1, tables=[wire.TableTotals(table="retiree", digest=HASH)]),
)
NODE = wire.NodeRow(
    node="100000",
    name_zh="部",
    name_en="Ministry",
    tier="ministry",
    region="100000",
    zones=["exchange"],
    addresses={"exchange": "127.0.0.1:1"},
    epoch=1,
    dials="parent",
)
TOPOLOGY = wire.Topology(trust_domain="jinbao.demo", version=1, rows=[NODE])

FIELDS: list[tuple[str, Callable[[Any], Any], str]] = [
    ("node", lambda h: h.stream, "node"),
    ("zone", lambda h: h.stream, "zone"),
    ("topic", lambda h: h.stream, "topic"),
    ("audience", lambda h: h.stream, "audience"),
    ("incarnation", lambda h: h, "incarnation"),
    ("kind", lambda h: h, "kind"),
    ("previous", lambda h: h, "previous"),
    ("run", lambda h: h, "run"),
    ("period", lambda h: h, "period"),
    ("standard", lambda h: h, "standard"),
    ("table", lambda h: h.segments[0], "table"),
    ("hash", lambda h: h.segments[0], "sha256"),
    ("digest", lambda h: h.segments[0], "digest"),
    ("disclosure", lambda h: h.segments[0], "disclosure"),
    ("table of a manifest", lambda h: h.manifest.tables[0], "table"),
]

HARMLESS = {("run", "a/b")}
"""A run names a stream, whose parts are joined by slashes; it is never a name of anything here."""


def refused(read: Callable[[], object], family: type[JinbaoError] = UnprovableError) -> str:
    """The error a reading ends with: of its family, on one line, and short whatever was sent."""
    with pytest.raises(family) as caught:
        read()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
    return str(caught.value)


def test_the_true_messages_pass() -> None:
    """The messages every trick is put into are themselves right."""
    decode_header(TRUE.SerializeToString())
    decode_topology(TOPOLOGY.SerializeToString())


@pytest.mark.fault_row(50)
@pytest.mark.parametrize("text", TRICKS)
@pytest.mark.parametrize(("at", "name"), [pytest.param(a, n, id=i) for i, a, n in FIELDS])
def test_a_header_is_made_of_words(text: str, at: Callable[[Any], Any], name: str) -> None:
    """No field of a header takes a text that could be a path, SQL, a formula or a second line."""
    header = wire.Header.FromString(TRUE.SerializeToString())
    setattr(at(header), name, text)

    if (name, text) not in HARMLESS:
        refused(lambda: decode_header(header.SerializeToString()))


@pytest.mark.fault_row(50)
@pytest.mark.parametrize("text", TRICKS)
@pytest.mark.parametrize(
    "change",
    [
        lambda t, text: setattr(t, "trust_domain", text),
        lambda t, text: setattr(t.rows[0], "node", text),
        lambda t, text: setattr(t.rows[0], "region", text),
        lambda t, text: setattr(t.rows[0], "parent", text),
        lambda t, text: setattr(t.rows[0], "dials", text),
        lambda t, text: t.rows[0].addresses.update({"exchange": text}),
        lambda t, text: t.rows[0].addresses.update({text: "127.0.0.1:1"}),
        lambda t, text: t.rows[0].zones.append(text),
    ],
    ids=["domain", "node", "region", "parent", "dials", "address", "zone of an address", "zone"],
)
def test_a_topology_is_made_of_words(text: str, change: Callable[[Any, str], object]) -> None:
    """No name of a topology that is used for anything takes such a text."""
    topology = wire.Topology.FromString(TOPOLOGY.SerializeToString())
    change(topology, text)

    refused(lambda: decode_topology(topology.SerializeToString()))


def many(change: Callable[[wire.Header], object]) -> bytes:
    """A header with too much of something."""
    header = wire.Header.FromString(TRUE.SerializeToString())
    change(header)
    return header.SerializeToString()


@pytest.mark.parametrize(
    "payload",
    [
        many(lambda h: h.segments.extend([h.segments[0]] * bounds.SEGMENTS_MAX)),
        many(lambda h: h.replaces.extend([1] * (bounds.REPLACES_MAX + 1))),
        many(lambda h: h.manifest.tables.extend([h.manifest.tables[0]] * bounds.TABLES_MAX)),
        many(lambda h: h.segments[0].totals.update({f"A{n}": n for n in range(bounds.TOTALS_MAX)})),
        many(lambda h: setattr(h, "seq", 2**64 - 1)),
        many(lambda h: setattr(h, "epoch", 2**63)),
        many(lambda h: setattr(h.segments[0], "rows", 2**63)),
        many(lambda h: setattr(h.segments[0], "bytes", 2**40)),
        many(lambda h: h.segments[0].totals.update({"=1+1": 1})),
        bytes(bounds.PAYLOAD_BYTES_MAX + 1),
    ],
    ids=["segments", "replaces", "tables", "totals", "seq", "epoch", "rows", "bytes", "item", "size"],
)
def test_a_header_has_no_more_than_a_header_has(payload: bytes) -> None:
    """Counts and numbers of a header are bounded, each by its own limit."""
    refused(lambda: decode_header(payload))


@pytest.mark.parametrize(
    "read",
    [
        lambda: marks_of(wire.FollowRequest(marks=[wire.Mark()] * (bounds.MARKS_MAX + 1))),
        lambda: mark_of(wire.Mark(stream=TRUE.stream, seq=2**64 - 1)),
        lambda: mark_of(wire.Mark(stream=TRUE.stream, incarnation="a" * 65)),
        lambda: place_of(wire.FetchRequest(stream=TRUE.stream, seq=1, sha256=HASH, offset=2**63)),
        lambda: place_of(wire.FetchRequest(stream=TRUE.stream, seq=0, sha256=HASH)),
        lambda: place_of(wire.FetchRequest(stream=TRUE.stream, seq=1, sha256="../" + HASH)),
        lambda: decode_topology(wire.Topology(rows=[NODE] * (bounds.NODES_MAX + 1)).SerializeToString()),
    ],
    ids=["marks", "seq of a mark", "incarnation", "offset", "no seq", "hash", "nodes"],
)
def test_a_request_is_bounded(read: Callable[[], object]) -> None:
    """What a caller says is bounded like what a sealer says."""
    refused(read)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_give_an_object_or_one_error(content: bytes) -> None:
    """Every reader of a peer's bytes gives an object or an UnprovableError, whatever it is given."""
    for read in (decode_header, decode_topology, encoding.decode_envelope, encoding.decode_marks):
        try:
            read(content)
        except UnprovableError as exc:
            assert str(exc).isprintable()  # noqa: PT017  # both ends are right


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_a_quoted_text_is_one_short_line(text: str) -> None:
    """Whatever is quoted stays on one line, is no longer than asked for, and plain words stay as they are."""
    said = quoted(text)

    assert said.isprintable()
    assert len(said) <= 81
    assert quoted(said, 81) == said
    assert quoted("140100 太原市 a-b") == "140100 太原市 a-b"


# Files on a carrier.


def told(inbox: Path) -> tuple[SpoolPeer, list[str]]:
    """A reader of an inbox, and what it refuses."""
    said: list[str] = []
    peer = SpoolPeer(
        Endpoint("140100", Zone.EXCHANGE), inbox, refused=lambda _name, exc: said.append(str(exc))
    )
    return peer, said


NAME = "p-" + "0" * 64


def linked(inbox: Path, secret: Path) -> None:
    """A package that is a link to a directory of ours."""
    (inbox / NAME).symlink_to(secret.parent)


def linked_file(inbox: Path, secret: Path) -> None:
    """An envelope that is a link to a file of ours."""
    (inbox / NAME).mkdir()
    (inbox / NAME / "envelope.bin").symlink_to(secret)


def piped(inbox: Path, secret: Path) -> None:
    """An envelope that is a pipe nobody writes into."""
    del secret
    (inbox / NAME).mkdir()
    os.mkfifo(inbox / NAME / "envelope.bin")


def without_end(inbox: Path, secret: Path) -> None:
    """An envelope that is a link to zeros without end."""
    del secret
    (inbox / NAME).mkdir()
    (inbox / NAME / "envelope.bin").symlink_to("/dev/zero")


def huge(inbox: Path, secret: Path) -> None:
    """An envelope of a gigabyte that takes no space."""
    del secret
    (inbox / NAME).mkdir()
    (inbox / NAME / "envelope.bin").touch()
    os.truncate(inbox / NAME / "envelope.bin", 1 << 30)


@pytest.mark.fault_row(50)
@pytest.mark.parametrize("lay", [linked, linked_file, piped, without_end, huge])
def test_a_package_that_is_no_plain_file_is_refused(
    tmp_path: Path, lay: Callable[[Path, Path], None]
) -> None:
    """A link, a pipe, a device or a file beyond its bound is refused at once, and nothing of it is read."""
    inbox, secret = tmp_path / "inbox", tmp_path / "identity" / "envelope.bin"
    inbox.mkdir()
    secret.parent.mkdir()
    secret.write_bytes(b"key material")
    lay(inbox, secret)
    peer, said = told(inbox)

    assert peer.headers([], 10, 0.0) == []
    assert len(said) == 1
    assert "key material" not in said[0]


@pytest.mark.fault_row(50)
def test_a_segment_on_a_carrier_is_a_plain_file_of_its_size(tmp_path: Path) -> None:
    """A segment that is a pipe, a link or of another size is refused before a byte of it is read."""
    ref, stream = SegmentRef("retiree", HASH, 3, 1), StreamId(Endpoint("140100", Zone.EXCHANGE), "x")
    peer, _ = told(tmp_path)
    peer._where[stream, 1] = tmp_path
    path = tmp_path / f"{HASH}.parquet"

    for lay, family in (
        (lambda: path.symlink_to("/dev/zero"), UnprovableError),
        (lambda: os.mkfifo(path), UnprovableError),
        (path.mkdir, UnprovableError),
        (lambda: path.write_bytes(b"four"), CorruptionError),
        (lambda: None, CorruptionError),
    ):
        lay()
        refused(lambda: list(peer.fetch(stream, 1, ref, 0)), family)
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


def test_an_inbox_full_of_names_is_told(tmp_path: Path) -> None:
    """More names than a sender of ours ever lays down are an error with what to do, not a long reading."""
    for at in range(PACKAGES_MAX + 1):
        (tmp_path / f"{at}").touch()

    with pytest.raises(UnacceptableError, match=f"expected at most {PACKAGES_MAX} packages, got more"):
        names(tmp_path)


def test_a_plain_file_is_opened(tmp_path: Path) -> None:
    """What is refused is refused for what it is: a plain file in a plain directory opens."""
    (tmp_path / "a").write_bytes(b"x")
    opened = open_plain(tmp_path, "a")

    assert opened is not None
    with opened:
        assert opened.read() == b"x"
    assert open_plain(tmp_path, "b") is None


# Files of standards.

STANDARD = """
library = "pay"
version = "1.0"
name_zh = ""
name_en = ""
valid_from = 202401
[[tables]]
id = "person"
name_zh = ""
name_en = ""
key = ["AAC001"]
totals = []
limits = { bad_rows_min = 1, bad_rows_max = 1, bad_share_max = 0.1 }
items = [["AAC001", "", "", "C", 18, 0, "", true, true]]
[[tables.rules]]
id = "UNI-1"
check = "unique"
items = ["AAC001"]
scope = "batch"
severity = "error"
zh = "重复"
en = "repeated"
"""


def written(directory: Path, text: str) -> Path:
    """A directory with one standard and no code lists."""
    (directory / "code_lists.toml").write_text("", encoding="utf-8")
    (directory / "pay.toml").write_text(text, encoding="utf-8")
    return directory


def test_the_true_standard_loads(tmp_path: Path) -> None:
    """The file every trick is put into is itself right."""
    assert list(load_standards(written(tmp_path, STANDARD))) == ["pay"]


@pytest.mark.fault_row(50)
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"pay"', '"pay; DROP TABLE x"'),
        ('"person"', "'person\" (x int); --'"),
        ('["AAC001", ""', '[\'A" BIGINT, "B\', ""'),
        ('"1.0"', '"../1"'),
    ],
    ids=["library", "table", "item", "version"],
)
def test_a_name_that_becomes_sql_is_a_word(tmp_path: Path, right: str, wrong: str) -> None:
    """Libraries, tables and items name tables and columns; a standard with another name does not load."""
    text = STANDARD.replace(right, wrong).replace('key = ["AAC001"]', "key = []")

    refused(lambda: load_standards(written(tmp_path, text)), SettingsError)


@pytest.mark.parametrize(
    "text",
    ["x = " + "[" * 100_000, "x = 1\n" * 3, "#" * (FILE_BYTES_MAX + 1), "\0"],
    ids=["nested", "twice", "large", "NUL"],
)
def test_a_file_no_parser_should_see_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is too large, too deep or no TOML is a SettingsError and nothing else."""
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")

    refused(lambda: read_toml(tmp_path / "x.toml"), SettingsError)


@pytest.mark.fault_row(50)
@pytest.mark.parametrize(
    "cell", ["=1+1", " =1+1", "\u3000=1", "\ufeff@x", "\t=1", "+1", "-1", "＝1", "'=1", "\r\n=1", "@SUM(A1)"]
)
def test_a_cell_is_text_to_a_spreadsheet_and_can_be_read_back(cell: str) -> None:
    """What a spreadsheet might run begins with an apostrophe; one apostrophe less is the value."""
    found = show._harmless(cell)

    assert found == f"'{cell}"
    assert show._harmless("张三") == "张三"
    assert show._harmless(-1) == -1
