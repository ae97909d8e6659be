"""One damaged package stops nothing but itself, and is told; what is no package at all is not even that."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from tests.carrier.parts import MEDICAL, PENSION, Border

from jinbao.carrier.spool import ENVELOPE, ENVELOPE_BYTES_MAX
from jinbao.model.batch import SealedBatch
from jinbao.trust.documents import seal_marks
from jinbao.trust.encoding import decode_envelope, envelope_message

PEOPLE = pl.DataFrame({"AAC001": ["1", "2"], "AAE180": [1, 2]})
Damage = Callable[[Path], object]


def rewritten(path: Path, change: Callable[[SealedBatch], SealedBatch]) -> None:
    """Put a changed envelope into a package."""
    sealed = decode_envelope((path / ENVELOPE).read_bytes())
    (path / ENVELOPE).write_bytes(envelope_message(change(sealed)).SerializeToString())


def flip_last(path: Path) -> None:
    """Change the last byte of a file."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def segment(path: Path) -> Path:
    """The one segment of a package."""
    return next(path.glob("*.parquet"))


def unreadable(path: Path) -> None:
    """Let the envelope lie on something that answers every reading with an error."""
    (path / ENVELOPE).unlink()
    (path / ENVELOPE).symlink_to("/proc/self/mem")


def as_noise(content: bytes) -> Damage:
    """Write these bytes in the place of the envelope."""
    return lambda path: (path / ENVELOPE).write_bytes(content)


@pytest.mark.fault_row(13)
@pytest.mark.fault_row(14)
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (as_noise(b"\xff" * 40), "expected a message of the contract"),
        (as_noise(b""), "expected application/vnd.jinbao.header"),
        (as_noise(b"\0" * (ENVELOPE_BYTES_MAX + 1)), f"expected at most {ENVELOPE_BYTES_MAX} bytes"),
        (lambda p: rewritten(p, lambda s: replace(s, payload=b"\xff")), "expected the payload its name says"),
        (lambda p: rewritten(p, lambda s: replace(s, payload=s.payload + b"\x60\x07")), "its name says"),
        (lambda p: rewritten(p, lambda s: replace(s, payload_type="x")), "expected application/vnd.jinbao"),
        (unreadable, "expected a plain file in a plain directory"),
    ],
    ids=["noise", "empty", "too large", "no header", "altered header", "another kind", "unreadable"],
)
def test_a_damaged_envelope_stops_no_other_package(border: Border, damage: Damage, reason: str) -> None:
    """A package whose envelope is damaged is passed over and told with the reason, the others are accepted."""
    bad, good = border.sender.publish(MEDICAL, PEOPLE), border.sender.publish(PENSION, PEOPLE)
    border.writer.step()
    damage(border.package(bad))

    assert border.follow() == 1

    assert [mark.stream for mark in border.receiver.index.marks()] == [PENSION]
    assert border.peer.headers([], 9, 0.0) == [good]
    [(name, exc)] = border.told
    assert name == border.package(bad).name
    assert reason in str(exc)


def test_a_well_named_package_of_noise_stops_nothing(border: Border) -> None:
    """Noise under a name of its own hash is told as no header, and stops nothing."""
    border.sender.publish(PENSION)
    border.writer.step()
    sealed = replace(
        seal_marks([], border.sender.identity), payload_type="application/vnd.jinbao.header.v1+protobuf"
    )
    path = border.package(replace(sealed, payload=b"\xff"))
    path.mkdir()
    (path / ENVELOPE).write_bytes(envelope_message(replace(sealed, payload=b"\xff")).SerializeToString())

    assert border.follow() == 1

    assert [(name, str(exc)[:40]) for name, exc in border.told] == [
        (path.name, "header: expected a message of the contra")
    ]


def test_a_damaged_package_is_told_once_while_it_lies_there(border: Border) -> None:
    """Rounds over the same damage tell it once; damaged again after it was taken away it is told again."""
    package = border.package(border.sender.publish(PENSION))
    border.writer.step()
    as_noise(b"\xff")(package)

    for _ in range(3):
        border.follow()
    assert len(border.told) == 1

    shutil.rmtree(package)
    border.follow()
    border.writer.step()
    as_noise(b"\xff")(package)
    border.follow()
    assert len(border.told) == 2


def test_a_package_laid_down_again_is_taken(border: Border) -> None:
    """When an operator takes a damaged package away the sender lays it down whole, and it is accepted."""
    package = border.package(border.sender.publish(PENSION, PEOPLE))
    border.writer.step()
    as_noise(b"\xff")(package)
    border.follow()
    shutil.rmtree(package)

    border.writer.step()

    assert border.follow() == 1
    assert border.receiver.index.marks() == border.sender.index.streams()


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: segment(p).unlink(),
        lambda p: segment(p).write_bytes(b""),
        lambda p: flip_last(segment(p)),
        lambda p: segment(p).write_bytes(segment(p).read_bytes() + b"more"),
        lambda p: segment(p).rename(p / "x"),
    ],
    ids=["missing", "empty", "altered", "longer", "renamed"],
)
def test_a_damaged_segment_holds_its_own_stream_alone(border: Border, damage: Damage) -> None:
    """A package whose segment is missing or not what was sealed holds its stream; it goes on when mended."""
    bad = border.sender.publish(MEDICAL, PEOPLE)
    border.sender.publish(PENSION, PEOPLE.head(1))
    border.writer.step()
    whole = segment(border.package(bad)), segment(border.package(bad)).read_bytes()
    damage(border.package(bad))

    assert border.follow() == 1
    assert set(border.receiver.index.held()) == {MEDICAL}
    assert border.receiver.index.held()[MEDICAL][1] == "corruption"

    whole[0].write_bytes(whole[1])
    assert border.follow() == 1
    assert not border.receiver.index.held()
    assert border.receiver.events == ["stream_held", "batch_accepted", "batch_accepted"]


def unfinished(outbox: Path) -> None:
    """A package that is still being written."""
    (outbox / f"tmp-p-{'0' * 64}").mkdir()
    (outbox / f"tmp-p-{'0' * 64}" / ENVELOPE).write_bytes(b"\xff")


@pytest.mark.parametrize(
    "lay",
    [
        lambda box: (box / "p-..").mkdir(),
        lambda box: (box / f"p-{'0' * 63}").mkdir(),
        lambda box: (box / f"p-{'A' * 64}").mkdir(),
        lambda box: (box / f"p-{'0' * 64}\n").mkdir(),
        lambda box: (box / f"p-{'0' * 64}").mkdir(),
        lambda box: (box / "notes.txt").write_bytes(b"\xff"),
        unfinished,
    ],
    ids=[
        "dots",
        "short",
        "upper case",
        "line end",
        "empty",
        "notes",
        "unfinished",
    ],
)
def test_what_is_no_package_is_ignored(border: Border, lay: Callable[[Path], object]) -> None:
    """Other names, and packages without an envelope, are passed over in silence."""
    border.sender.publish(PENSION, PEOPLE)
    border.writer.step()
    lay(border.outbox)

    assert border.follow() == 1
    assert border.told == []
    assert border.receiver.index.held() == {}


def test_an_inbox_that_is_not_there_yet_is_empty(border: Border) -> None:
    """Before the other side ever wrote there is nothing to take and no mark to believe."""
    shutil.rmtree(border.outbox)

    assert border.follow() == 0
    assert border.peer.marks() is None
    assert border.told == []


def test_a_gap_left_by_a_damaged_package_holds_its_stream(border: Border) -> None:
    """The batch after a damaged one is not accepted in its place; both are once the package is whole again."""
    package = border.package(border.sender.publish(PENSION, PEOPLE))
    border.sender.publish(PENSION)
    border.writer.step()
    whole = (package / ENVELOPE).read_bytes()
    as_noise(b"\xff")(package)

    assert border.follow() == 0
    assert border.receiver.index.held()[PENSION][1] == "sequence_gap"

    as_noise(whole)(package)
    assert border.follow() == 2
    assert border.receiver.index.marks() == border.sender.index.streams()
