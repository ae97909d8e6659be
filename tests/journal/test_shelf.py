"""The shelf takes only what was promised, goes on where a fetch broke off, and believes no name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.journal.parts import AT, LIBRARY, PROVINCE, Journal, unsigned

from jinbao.journal.segments import SegmentShelf
from jinbao.model.batch import Header, Kind, SegmentRef
from jinbao.model.errors import CorruptionError, LinkError, UnprovableError
from jinbao.store.files import Files
from jinbao.trust.encoding import decode_header

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REF = SegmentRef("employer", SHA256, len(CONTENT), 1)

Chunks = Callable[[int], Iterator[bytes]]


@pytest.fixture
def shelf(tmp_path: Path) -> SegmentShelf:
    """An empty shelf."""
    return SegmentShelf(tmp_path / "segments", Files())


def served(content: bytes, *, until: int | None = None, asked: list[int] | None = None) -> Chunks:
    """A peer that sends `content` from the offset asked for, and breaks off at `until`."""

    def chunks(offset: int) -> Iterator[bytes]:
        if asked is not None:
            asked.append(offset)
        end = len(content) if until is None else until
        for at in range(offset, end, 1000):
            yield content[at : min(at + 1000, end)]
        if until is not None:
            raise LinkError("line", expected="more", got="a cut")

    return chunks


def test_what_was_written_is_read_back(shelf: SegmentShelf) -> None:
    """Columns are stored under the hash of their file and come back as they were."""
    frame = pl.DataFrame({"AAC001": ["1", None, ""], "AAE180": [1, None, 2**62]})

    sha256, size = shelf.write(frame)

    path = shelf.open_path(sha256)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    assert path.stat().st_size == size
    assert shelf.read(sha256).equals(frame)
    assert list(shelf.incoming.iterdir()) == []


def test_the_same_content_lies_there_once(shelf: SegmentShelf) -> None:
    """Content that is written twice is one file, and nothing is left beside it."""
    for name in ("one.tmp", "two.tmp"):
        shelf.temporary(name).write_bytes(CONTENT)
        assert shelf.add(shelf.temporary(name)) == (SHA256, len(CONTENT))

    assert list(shelf.stored()) == [SHA256]
    assert list(shelf.incoming.iterdir()) == []


def test_a_fetch_is_stored_once(shelf: SegmentShelf) -> None:
    """A segment that arrived is on the shelf, and the peer is not asked for it again."""
    asked: list[int] = []

    shelf.receive(REF, served(CONTENT, asked=asked))
    shelf.receive(REF, served(CONTENT, asked=asked))

    assert shelf.open_path(SHA256).read_bytes() == CONTENT
    assert asked == [0]


def test_a_segment_that_is_swept_while_it_is_wanted_again_is_fetched_anew(shelf: SegmentShelf) -> None:
    """What was there when it was asked for, and went before it was noted, ends one round and is brought by the next."""
    shelf.receive(REF, served(CONTENT))
    keep = shelf.bring(REF, served(CONTENT))
    shelf.remove(SHA256)

    with pytest.raises(LinkError, match="by itself"):
        keep()
    shelf.receive(REF, served(CONTENT))
    assert shelf.open_path(SHA256).read_bytes() == CONTENT


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, len(CONTENT) - 1), max_size=4))
def test_a_broken_fetch_goes_on(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    """A fetch cut anywhere, any number of times, goes on from the bytes that came, and ends whole."""
    shelf, asked = SegmentShelf(tmp_path_factory.mktemp("shelf"), Files()), list[int]()
    reached = [0]
    for cut in cuts:
        with pytest.raises(LinkError):
            shelf.receive(REF, served(CONTENT, until=cut, asked=asked))
        reached.append(max(reached[-1], cut))

    shelf.receive(REF, served(CONTENT, asked=asked))

    assert asked == reached
    assert shelf.open_path(SHA256).read_bytes() == CONTENT


def test_a_restart_keeps_a_partial_fetch(shelf: SegmentShelf) -> None:
    """What a killed process was writing is removed; what it was fetching stays and goes on."""
    with pytest.raises(LinkError):
        shelf.receive(REF, served(CONTENT, until=5000))
    shelf.temporary("write-1-1.tmp").write_bytes(b"half a file")
    asked: list[int] = []

    again = SegmentShelf(shelf.root, Files())
    removed = again.sweep()
    again.receive(REF, served(CONTENT, asked=asked))

    assert removed == 1
    assert asked == [5000]


@pytest.mark.parametrize(
    "content",
    [CONTENT[:-1] + b"\0", CONTENT[:-1], b"", b"\0" * 10 * len(CONTENT)],
    ids=["altered", "short", "empty", "other-and-long"],
)
def test_other_bytes_than_promised_are_refused(shelf: SegmentShelf, content: bytes) -> None:
    """A segment with other bytes is refused with the promised hash, and nothing of it is kept."""
    with pytest.raises(CorruptionError, match=SHA256):
        shelf.receive(REF, served(content))

    assert list(shelf.stored()) == []
    assert list(shelf.incoming.iterdir()) == []


def test_no_more_than_promised_is_ever_kept(shelf: SegmentShelf) -> None:
    """A peer that never stops sending is left after the promised bytes."""
    sent = 0

    def endless(_offset: int) -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 1000
            yield b"\0" * 1000

    with pytest.raises(CorruptionError):
        shelf.receive(REF, endless)

    assert sent <= REF.bytes + 1000
    assert list(shelf.incoming.iterdir()) == []


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1, 0], ids=["less", "more", "none"])
def test_the_promised_size_counts_too(shelf: SegmentShelf, size: int) -> None:
    """The right content under a header that promised another size is refused."""
    shelf.temporary("fetched").write_bytes(CONTENT)

    with pytest.raises(CorruptionError, match=f"{size} bytes"):
        shelf.add_expected(shelf.temporary("fetched"), SHA256, size)

    assert not shelf.has(SHA256)


BAD_NAMES = ["", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "a" * 63 + "/", ".." + "a" * 62]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_a_name_that_is_no_hash_is_refused(shelf: SegmentShelf, name: str) -> None:
    """The shelf makes a path from 64 hex digits and from nothing else."""
    with pytest.raises(AssertionError, match="named by its hash"):
        shelf.path(name)


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_a_header_cannot_name_a_file(journal: Journal, name: str) -> None:
    """A header whose segment has a name that is no hash is unprovable, and no peer is shown such a file."""
    ref = SegmentRef("employer", name, 1, 1)
    sealed = unsigned(Header(LIBRARY, 1, "a" * 32, 1, "", Kind.CHANGE, AT, segments=(ref,)))

    shown = journal.counter.open_segment(PROVINCE, LIBRARY, 1, name)

    assert shown is None
    with pytest.raises(UnprovableError):
        decode_header(sealed.payload)


def test_a_missing_segment_is_named(shelf: SegmentShelf) -> None:
    """Opening a segment that is not there names it and the command that finds out more."""
    with pytest.raises(CorruptionError, match=SHA256[:12]) as refused:
        shelf.open_path(SHA256)

    assert refused.value.next_step == "jinbao journal verify"


def test_two_neighbours_bring_the_same_segment_at_once(shelf: SegmentShelf) -> None:
    """Two children with equal segments, such as empty ones, are fetched from at once: each ends well, one is kept."""

    def first(offset: int) -> Iterator[bytes]:
        yield CONTENT[offset:4_000]
        shelf.receive(REF, served(CONTENT))
        yield CONTENT[4_000:]

    shelf.receive(REF, first)

    assert shelf.examine(REF.sha256, REF.bytes) is None
    assert list(shelf.incoming.iterdir()) == []
