"""Hostile Parquet: each file has one lie, is refused before it is decoded, and leaves memory as it was."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hostile.parquets import (
    COLUMNS,
    I32,
    ROWS,
    SHAPE,
    Draft,
    Page,
    Raw,
    bomb,
    craft,
    edit,
    frame,
    numbers,
    rle_blocks,
    texts,
    varint,
)

from jinbao.journal.decoding import InspectLimits, examine
from jinbao.journal.inspector import DecoderProcess, Inspector
from jinbao.journal.segments import hash_of
from jinbao.model.batch import SegmentRef
from jinbao.model.errors import CorruptionError, LocalError, UnacceptableError
from jinbao.trust.parquet import ParquetLimits, Shape, check_parquet

LIMITS = ParquetLimits()
OFF = ParquetLimits(*[1 << 62] * 8)
"""Every limit where it bounds nothing."""

MiB = 1 << 20
NAME, NUMBER = (4, 0, 1, 0, 3), (4, 0, 1, 1, 3)
"""Where the footer describes the two chunks."""


def refusal(content: bytes, shape: Shape = SHAPE, limits: ParquetLimits = LIMITS) -> str:
    """What the check of the shape says; empty when nothing."""
    try:
        check_parquet(content, shape, limits)
    except UnacceptableError as exc:
        return str(exc)
    return ""


def page(column: int, at: int, **fields: Any) -> Callable[[Draft], None]:
    """Let one field of a page's header say something else: f2 is field 2, f5_1 field 1 of field 5."""

    def change(draft: Draft) -> None:
        header = draft.pages[column][at].header
        for name, value in fields.items():
            first, _, second = name[1:].partition("_")
            if second:
                header[int(first)][int(second)] = value
            else:
                header[int(first)] = value

    return change


def body(content: bytes, size: int) -> Callable[[Draft], None]:
    """Let the text page have another frame behind it, and claim so many bytes."""

    def change(draft: Draft) -> None:
        one = draft.pages[0][0]
        one.body, one.header[2], one.header[3] = content, I32(size), I32(len(content))

    return change


def test_a_true_file_of_the_corpus_passes(tmp_path: Path) -> None:
    """The file every lie is made of is itself right, so that what is refused is refused for the lie."""
    path = tmp_path / "true.parquet"
    path.write_bytes(craft())

    assert examine(path, SHAPE, LIMITS) == ""
    assert pl.read_parquet(path).to_dict(as_series=False) == {"name": ["zhang", "li", "wang"], "n": [1, 2, 3]}


FOOTERS = [
    pytest.param(edit(3, value=2**31), "rows: expected 3", id="rows in the footer"),
    pytest.param(edit(4, 0, 3, value=2**31), "rows of all row groups", id="rows in a row group"),
    pytest.param(edit(*NAME, 5, value=2**31), "column name: values: expected 3", id="values of a chunk"),
    pytest.param(edit(*NAME, 6, value=2**40), "column name: bytes in pages", id="unpacked bytes of a chunk"),
    pytest.param(edit(*NAME, 7, value=2**40), "column name: bytes: expected 0 to", id="bytes of a chunk"),
    pytest.param(edit(*NAME, 7, value=-5), "column name: bytes: expected 0 to", id="negative bytes"),
    pytest.param(edit(*NAME, 9, value=2**40), "column name: offset", id="offset beyond the file"),
    pytest.param(edit(*NUMBER, 9, value=4), "column n: offset", id="chunks that share pages"),
    pytest.param(edit(*NAME, 4, value=I32(1)), "column name: codec: expected 6", id="another codec"),
    pytest.param(
        edit(*NAME, 2, value=[I32(7)]), "column name: expected known encodings", id="prefix encoding"
    ),
    pytest.param(edit(*NAME, 14, value=4), "column name: filter", id="a filter"),
    pytest.param(edit(4, 0, 1, 0, 1, value=b"../../key.pem"), "got a file path", id="another file's path"),
    pytest.param(edit(4, 0, 1, 0, 8, value={}), "got encryption", id="an encrypted chunk"),
    pytest.param(edit(8, value={}), "got encryption", id="an encrypted file"),
    pytest.param(edit(2, 1, 3, value=I32(2)), "column name: repetition", id="a repeated column"),
    pytest.param(edit(2, 1, 5, value=I32(1)), "column name: children", id="a nested column"),
    pytest.param(edit(2, 1, 10, value={3: {}}), "column name: meaning", id="a list"),
    pytest.param(edit(2, 2, 10, value={8: {}}), "column n: meaning", id="a timestamp"),
    pytest.param(edit(2, 2, 1, value=I32(3)), "column n: type", id="another type"),
    pytest.param(edit(2, 1, 4, value=b"n"), "columns: expected", id="a name twice"),
    pytest.param(edit(2, 0, 5, value=I32(2**31 - 1)), "columns: expected 2", id="a billion children"),
    pytest.param(edit(4, value=Raw(9, b"\xfc" + varint(2**31))), "a list of", id="a billion row groups"),
    pytest.param(edit(6, value=Raw(8, varint(2**31))), "bytes where", id="a writer's name of 2 GiB"),
    pytest.param(edit(7, value=Raw(12, b"\x1c" * 10_000)), "nesting deeper", id="ten thousand levels"),
    pytest.param(edit(4, 0, 1, value=[]), "chunks of a row group", id="no chunks"),
    pytest.param(edit(4, value=[]), "rows of all row groups", id="no row groups"),
    pytest.param(edit(2, value=[{}]), "columns: expected 2", id="no columns"),
]


@pytest.mark.fault_row(44)
@pytest.mark.parametrize(("bend", "reason"), FOOTERS)
def test_a_footer_that_lies_is_refused(bend: Callable[[dict[int, Any]], None], reason: str) -> None:
    """Each lie of a footer is refused by its own name, whatever the limits allow."""
    content = craft(bend=bend)

    assert reason in refusal(content)
    assert refusal(content, limits=OFF)


PAGES = [
    pytest.param(page(0, 0, f2=I32(2**31 - 1)), "bytes of a page", id="size of a page"),
    pytest.param(page(0, 0, f2=I32(-1)), "bytes of a page", id="negative size"),
    pytest.param(page(0, 0, f3=I32(2**31 - 1)), "packed bytes of a page", id="packed size of a page"),
    pytest.param(page(0, 0, f5_1=I32(2**31 - 1)), "values of a page", id="values of a page"),
    pytest.param(page(0, 0, f5_1=I32(2)), "values in pages: expected 3, got 2", id="fewer values"),
    pytest.param(page(0, 0, f5_2=I32(7)), "expected known encodings", id="encoding of a page"),
    pytest.param(page(0, 0, f1=I32(3)), "page type", id="another kind of page"),
    pytest.param(page(0, 0, f2=I32(4)), "zstd frame: blocks", id="size that its frame does not give"),
]


@pytest.mark.fault_row(44)
@pytest.mark.parametrize(("change", "reason"), PAGES)
def test_a_page_that_lies_is_refused(change: Callable[[Draft], None], reason: str) -> None:
    """Each lie of a page's header is refused by its own name before the page is unpacked."""
    assert reason in refusal(craft(change))


def null_rows(rows: int) -> tuple[bytes, Shape]:
    """So many rows of nulls in two hundred bytes."""

    def change(draft: Draft) -> None:
        draft.rows, draft.optional = rows, True
        draft.pages = [[Page.repeated(rows, nulls=True)], [Page.repeated(rows, nulls=True)]]

    return craft(change), Shape(rows, COLUMNS)


@pytest.mark.fault_row(44)
def test_two_billion_rows_of_nothing_are_refused() -> None:
    """2^31 - 1 nulls that header, footer and pages agree on are a few bytes, and are refused by their number."""
    content, shape = null_rows(2**31 - 1)

    assert len(content) < 1000
    assert "segment: cells: expected 0 to" in refusal(content, shape)
    assert refusal(content, shape, OFF) == ""  # only the limit stands between them and the decoder


@pytest.mark.fault_row(44)
def test_a_dictionary_bomb_is_refused_by_what_it_decodes_to(tmp_path: Path) -> None:
    """One long text that every row means is a small file; it is refused by the bytes of all cells."""
    path = tmp_path / "bomb.parquet"
    path.write_bytes(bomb(20_000))
    shape = Shape(20_000, COLUMNS)

    assert path.stat().st_size < 100_000
    assert "bytes of all cells: expected at most 536870912, got 1200" in examine(path, shape, LIMITS)
    assert examine(path, shape, OFF) == ""  # the same file passes when the limit is off


@pytest.mark.fault_row(44)
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((b"a\0b", b"", b""), "cell of name: expected text without NUL"),
        ((b"\xff\xfe", b"", b""), "expected values that decode"),
        ((b"a" * 70_000, b"", b""), "cell of name: expected at most 65536 bytes, got 70000"),
    ],
    ids=["NUL", "no UTF-8", "long"],
)
def test_a_cell_no_database_takes_is_refused(tmp_path: Path, values: tuple[bytes, ...], reason: str) -> None:
    """Text with a NUL, in no encoding or beyond the length of a cell is refused."""

    def change(draft: Draft) -> None:
        draft.pages[0] = [Page.plain(ROWS, texts(*values))]

    path = tmp_path / "cell.parquet"
    path.write_bytes(craft(change))

    assert reason in examine(path, SHAPE, LIMITS)


@pytest.mark.fault_row(44)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PAR1",
        b"PAR1PAR1",
        b"PAR1\x00\x00\x00\x00PAR1",
        b"PAR1\xff\xff\xff\x7fPAR1",
        b"PAR1" + b"\x15" * 40 + b"\x28\x00\x00\x00PAR1",
        b"PARE\x00\x00\x00\x00PARE",
        craft()[:-1],
        craft()[:60] + craft()[61:],
    ],
    ids=[
        "nothing",
        "a start",
        "no footer",
        "an empty footer",
        "2 GiB",
        "noise",
        "encrypted",
        "cut",
        "a byte less",
    ],
)
def test_what_is_no_file_of_ours_is_refused(tmp_path: Path, content: bytes) -> None:
    """Bytes that are no Parquet file, or not a whole one, are refused like any other."""
    path = tmp_path / "file"
    path.write_bytes(content)

    assert examine(path, SHAPE, LIMITS)


def written(table: pa.Table, **options: Any) -> bytes:
    """A file as another writer makes it."""
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


@pytest.mark.fault_row(44)
@pytest.mark.parametrize(
    ("table", "options"),
    [
        ({"name": [["a"], ["b"], ["c"]], "n": [1, 2, 3]}, {"compression": "zstd"}),
        ({"name": [{"x": "a"}] * 3, "n": [1, 2, 3]}, {"compression": "zstd"}),
        ({"name": ["a", "b", "c"], "n": [1.5, 2.5, 3.5]}, {"compression": "zstd"}),
        ({"name": ["a", "b", "c"], "n": [1, 2, 3]}, {"compression": "snappy"}),
        ({"name": ["a", "b", "c"], "n": [1, 2, 3]}, {"compression": "zstd", "data_page_version": "2.0"}),
        ({"name": ["a", "b", "c"]}, {"compression": "zstd"}),
        ({"name": ["a", "b", "c"], "n": [1, 2, 3], "x": [1, 2, 3]}, {"compression": "zstd"}),
        ({"name": ["a", "b", "c", "d"], "n": [1, 2, 3, 4]}, {"compression": "zstd"}),
    ],
    ids=[
        "lists",
        "structures",
        "floats",
        "snappy",
        "newer pages",
        "a column less",
        "a column more",
        "a row more",
    ],
)
def test_true_parquet_of_another_kind_is_refused(
    table: dict[str, list[Any]], options: dict[str, Any]
) -> None:
    """What a common writer makes of other columns, codecs, pages or rows is not what the header promised."""
    assert refusal(written(pa.table(table), **options))


@pytest.mark.fault_row(44)
@pytest.mark.parametrize(
    ("limit", "content"),
    [
        ("footer_bytes_max", craft(bend=edit(6, value=b"x" * 5000))),
        ("pages_max", craft(lambda d: d.pages[0].extend([Page.plain(0, b"")] * 30))),
        (
            "page_bytes_max",
            craft(lambda d: d.pages.__setitem__(0, [Page.plain(ROWS, texts(b"a" * 5000, b"", b""))])),
        ),
    ],
    ids=["footer", "pages", "page"],
)
def test_each_limit_is_what_refuses(limit: str, content: bytes) -> None:
    """A file just beyond one limit is refused by it, and passes when that limit alone is off."""
    low = {"footer_bytes_max": 4096, "pages_max": 20, "page_bytes_max": 4096}

    assert refusal(content, limits=replace(LIMITS, **{limit: low[limit]}))
    assert refusal(content) == ""


@pytest.mark.fault_row(44)
@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(craft()) - 1), st.integers(0, 255), st.booleans())
def test_any_byte_may_change(at: int, byte: int, cut: bool) -> None:  # drawn
    """Whatever byte is changed, or wherever the file is cut, the check refuses or passes and nothing else."""
    content = craft()
    changed = content[:at] if cut else content[:at] + bytes([byte]) + content[at + 1 :]

    refusal(changed)


@pytest.mark.fault_row(44)
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_may_be_a_footer(noise: bytes) -> None:
    """Noise in the place of a footer is refused and nothing else."""
    content = b"PAR1" + noise + len(noise).to_bytes(4, "little") + b"PAR1"

    assert refusal(content)


# Row 43: zstd, inside the pages of Parquet, the only place it is read.

GIB_BLOCKS = rle_blocks(8192)

FRAMES = [
    pytest.param(frame(blocks=GIB_BLOCKS), 36, "blocks that give 36 bytes", id="1 GiB in 32 KB"),
    pytest.param(frame(blocks=GIB_BLOCKS, size=1 << 30), 36, "got 1073741824", id="1 GiB that is claimed"),
    pytest.param(frame(b"x" * 36, size=1 << 40), 36, "size: expected 36 bytes", id="1 TiB in the header"),
    pytest.param(frame(b"x" * 36, window=0xA8), 36, "window: expected at most", id="2 GiB of window"),
    pytest.param(frame(b"x" * 36) + frame(b"x" * 36), 36, "zstd frame: end", id="one frame after another"),
    pytest.param(frame(b"x" * 36) * 2, 72, "zstd frame: blocks", id="two frames of half"),
    pytest.param(
        b"\x50\x2a\x4d\x18\x04\0\0\0junk" + frame(b"x" * 36), 36, "magic", id="a frame to be skipped"
    ),
    pytest.param(frame(b"x" * 36) + b"\x50\x2a\x4d\x18\0\0\0\0", 36, "end", id="one to be skipped behind"),
    pytest.param(b"\x28\xb5\x2f\xfd\x03\x48" + b"\0" * 9, 36, "a dictionary", id="a dictionary"),
    pytest.param(frame(blocks=b"\x07\0\0"), 36, "a block of type 3", id="a reserved block"),
    pytest.param(frame(b"x" * 36)[:-1], 36, "zstd frame", id="cut in a block"),
    pytest.param(frame(blocks=b""), 36, "before the last block", id="no block"),
    pytest.param(b"\x28\xb5\x2f\xfd", 36, "zstd frame", id="a magic alone"),
    pytest.param(b"", 36, "magic", id="nothing"),
]


@pytest.mark.fault_row(43)
@pytest.mark.parametrize(("packed", "size", "reason"), FRAMES)
def test_a_frame_that_gives_another_size_is_refused(packed: bytes, size: int, reason: str) -> None:
    """A page's frame is refused without being unpacked when it cannot give exactly the bytes its page says."""
    before = psutil.Process().memory_info().rss

    said = refusal(craft(body(packed, size)))

    assert reason in said
    assert psutil.Process().memory_info().rss - before < 16 * MiB


def wide_dictionary(draft: Draft) -> None:
    """Put 32 MiB of nothing before the texts, in a kilobyte."""
    draft.pages[0].insert(0, Page.dictionary(0, bytes(32 * MiB), frame(blocks=rle_blocks(256))))


@pytest.mark.fault_row(43)
@pytest.mark.parametrize(
    ("content", "limit"),
    [
        (craft(body(frame(texts(b"zhang", b"li", b"wang"), window=0xA8), 23)), "window_bytes_max"),
        (craft(wide_dictionary), "decoded_ratio_max"),
    ],
    ids=["window", "ratio"],
)
def test_an_honest_bomb_is_refused_by_its_limit(content: bytes, limit: str) -> None:
    """A frame that says what it needs is refused by the limit, and passes when the limit is off."""
    assert refusal(content)
    assert refusal(content, limits=replace(LIMITS, **{limit: 1 << 62})) == ""


# The process that decodes first.


@pytest.fixture
def deaths() -> list[tuple[str, str]]:
    """Decoders that ended, as they are told."""
    return []


@pytest.fixture
def decoder(deaths: list[tuple[str, str]]) -> Iterator[DecoderProcess]:
    """A decoder with little memory and little time."""
    limits = InspectLimits(OFF, memory_bytes=800 * MiB, job_s=20.0, deaths_max=2, idle_s=30.0)
    opened = DecoderProcess(limits, lambda segment, cause: deaths.append((segment, cause)))
    yield opened
    opened.close()


def large_rows(rows: int) -> tuple[bytes, Shape]:
    """So many equal rows in a thousand bytes; each is 24 once it is decoded."""

    def change(draft: Draft) -> None:
        draft.rows = rows
        draft.pages = [
            [Page.dictionary(1, texts(b"a")), Page.repeated(rows)],
            [Page.dictionary(1, numbers(7)), Page.repeated(rows)],
        ]

    return craft(change), Shape(rows, COLUMNS)


@pytest.mark.fault_row(5)
@pytest.mark.fault_row(44)
def test_a_decoder_that_dies_takes_nobody_with_it(
    tmp_path: Path, decoder: DecoderProcess, deaths: list[tuple[str, str]]
) -> None:
    """With every check off a bomb ends two decoders, is refused, costs this process nothing, and the next is read."""
    content, shape = large_rows(120_000_000)
    (tmp_path / "bomb").write_bytes(content)
    (tmp_path / "true").write_bytes(craft())
    before = psutil.Process().memory_info().rss

    said = decoder.examine(tmp_path / "bomb", shape, "b" * 64)

    assert "got 2 decoders that ended" in said
    assert [segment for segment, _ in deaths] == ["b" * 64] * 2
    assert psutil.Process().memory_info().rss - before < 32 * MiB
    assert decoder.examine(tmp_path / "true", SHAPE, "t" * 64) == ""


def test_a_decoder_out_of_time_is_ended(tmp_path: Path, deaths: list[tuple[str, str]]) -> None:
    """A segment that takes longer than its time is refused after as many decoders as are allowed."""
    limits = InspectLimits(OFF, job_s=0.005, deaths_max=2)
    opened = DecoderProcess(limits, lambda segment, cause: deaths.append((segment, cause)))
    content, shape = large_rows(20_000_000)
    (tmp_path / "slow").write_bytes(content)

    said = opened.examine(tmp_path / "slow", shape, "s" * 64)
    opened.close()

    assert "got 2 decoders that ended, the last: out of time" in said
    assert deaths == [("s" * 64, "out of time")] * 2


def test_a_decoder_that_is_hurried_blames_nobody(
    tmp_path: Path, decoder: DecoderProcess, deaths: list[tuple[str, str]]
) -> None:
    """A segment that is not decoded within the time a caller has is nobody's fault, and is decoded when there is time."""
    content, shape = large_rows(2_000_000)
    (tmp_path / "slow").write_bytes(content)
    decoder.examine(tmp_path / "slow", replace(shape, rows=1), "o" * 64)  # it runs
    ref = SegmentRef("person", *hash_of(tmp_path / "slow"), rows=shape.rows)
    inspector = Inspector(lambda _sha256: tmp_path / "slow", decoder)

    with pytest.raises(TimeoutError):
        inspector.objection(ref, shape.columns, within_s=0.001)

    assert deaths == []
    assert inspector.objection(ref, shape.columns) == ""


@pytest.mark.fault_row(5)
def test_a_decoder_killed_once_is_started_again(
    tmp_path: Path, decoder: DecoderProcess, deaths: list[tuple[str, str]]
) -> None:
    """A decoder somebody killed between two segments costs the next one nothing but a start."""
    (tmp_path / "true").write_bytes(craft())
    assert decoder.examine(tmp_path / "true", SHAPE, "t" * 64) == ""
    first = decoder.pid
    assert first is not None
    os.kill(first, 9)

    assert decoder.examine(tmp_path / "true", SHAPE, "t" * 64) == ""
    assert decoder.pid != first
    assert len(deaths) <= 1


def test_a_decoder_holds_nothing_of_ours(tmp_path: Path, decoder: DecoderProcess) -> None:
    """The decoder has three pipes' ends and the segment's file, none of this process's files, and none of its settings."""
    (tmp_path / "true").write_bytes(craft())
    with (tmp_path / "secret").open("wb") as kept:
        os.set_inheritable(kept.fileno(), True)
        decoder.examine(tmp_path / "true", SHAPE, "t" * 64)
        child = psutil.Process(decoder.pid)

        assert str(tmp_path / "secret") not in {file.path for file in child.open_files()}
        assert child.rlimit(psutil.RLIMIT_AS)[1] == 800 * MiB
        assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
        assert child.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        assert not [name for name in child.environ() if name.startswith(("JINBAO", "PG", "HOME"))]


def test_a_decoder_that_cannot_start_blames_no_segment(tmp_path: Path) -> None:
    """When there is no memory for any decoder the zone is told, and the segment is not refused."""
    (tmp_path / "true").write_bytes(craft())
    opened = DecoderProcess(InspectLimits(memory_bytes=30 * MiB), lambda _segment, _cause: None)

    with pytest.raises(LocalError, match="decoder: expected one that is ready"):
        opened.examine(tmp_path / "true", SHAPE, "t" * 64)


def test_a_verdict_is_remembered_by_content(tmp_path: Path) -> None:
    """The same bytes under the same promise are examined once; under another promise again."""
    asked: list[Shape] = []

    class Counting:
        """An examiner that counts."""

        def examine(self, path: Path, shape: Shape, segment: str, within_s: float = math.inf) -> str:
            """Say no to everything."""
            del path, segment, within_s
            asked.append(shape)
            return "segment: no"

        def close(self) -> None:
            """Nothing to end."""

    path = tmp_path / "file"
    path.write_bytes(b"x")
    ref = SegmentRef("person", *hash_of(path), rows=3)
    inspector = Inspector(lambda _sha256: path, Counting())

    said = [inspector.objection(ref, COLUMNS) for _ in range(3)]
    inspector.objection(replace(ref, rows=4), COLUMNS)

    assert said == [f"segment {ref.sha256[:12]}: no"] * 3
    assert [shape.rows for shape in asked] == [3, 4]


def test_a_segment_that_is_not_there_is_corruption(decoder: DecoderProcess) -> None:
    """A segment that left the shelf is this node's trouble, not the peer's."""

    def gone(sha256: str) -> Path:
        raise CorruptionError(sha256, expected="a file", got="none")

    with pytest.raises(CorruptionError):
        Inspector(gone, decoder).objection(SegmentRef("person", "a" * 64, 1, 1), COLUMNS)
