"""Packages go over once, stay until the receiver has said it holds them, and are the bytes that were sealed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from tests.carrier.parts import DECISION, MEDICAL, PENSION, Border
from tests.trust.example import Network

from jinbao.carrier.spool import CLEAR_BEFORE, MARKED, PUBLISHED, WRITTEN
from jinbao.model import acts, failpoint
from jinbao.model.batch import SegmentRef
from jinbao.model.errors import CorruptionError, IdentityError, UnprovableError
from jinbao.model.stream import Mark
from jinbao.trust.documents import seal_marks
from jinbao.trust.encoding import decode_header, envelope_message

PEOPLE = pl.DataFrame({"AAC001": ["1", "2"], "AAE180": [1, 2]})
FIRMS = pl.DataFrame({"AAB001": ["E1"]})


class Crash(BaseException):
    """The process is gone."""


def refs(border: Border) -> list[SegmentRef]:
    """Every segment the packages of the outbox name."""
    sealed = border.peer.headers([], 100, 0.0)
    return [ref for batch in sealed for ref in decode_header(batch.payload).segments]


def test_what_was_sealed_arrives(border: Border) -> None:
    """Batches with several segments, and with none, are accepted with the bytes and seals of the sender."""
    sealed = [border.sender.publish(PENSION, PEOPLE, FIRMS), border.sender.publish(PENSION)]

    assert border.writer.step()
    assert border.follow() == 2

    assert border.receiver.counter.headers(DECISION, [], 9) == []
    assert border.receiver.index.marks() == border.sender.index.streams()
    assert [ref.rows for ref in refs(border)] == [2, 1]
    assert all(border.receiver.shelf.has(ref.sha256) for ref in refs(border))
    assert border.peer.headers([], 9, 0.0) == sealed


def test_a_package_stays_until_the_receiver_has_said_so(border: Border) -> None:
    """A package is there after it was accepted, and gone once the receiver's signed marks have passed it."""
    first, second = border.sender.publish(PENSION, PEOPLE), border.sender.publish(MEDICAL)
    border.writer.step()
    border.follow()

    border.writer.step()
    assert border.packages() == {border.package(first), border.package(second)}

    border.answer()
    assert border.writer.step()
    assert border.packages() == set()


@pytest.mark.fault_row(48)
def test_a_mark_that_cannot_be_continued_lays_nothing_down(border: Border) -> None:
    """A receiver that has more than the sender is not answered by file: a file may be old and proves no rollback."""
    border.sender.publish(PENSION, PEOPLE)
    border.writer.step()
    border.follow()
    mark = border.receiver.index.mark(PENSION)
    beyond = replace(mark, seq=mark.seq + 1, head="0f" * 32)

    border.receiver.ledger.record(
        acts.rebased(PENSION, mark.incarnation, 1, beyond.seq, beyond.head, "a test")
    )
    border.answer()
    border.writer.step()

    assert border.packages() == set()
    assert border.follow() == 0
    assert border.receiver.index.held() == {}


def test_nothing_to_do_is_nothing_done(border: Border) -> None:
    """A writer without anything new says so and touches nothing, before and after it wrote."""
    assert not border.writer.step()

    package = border.package(border.sender.publish(PENSION, PEOPLE))
    border.writer.step()
    before = package.stat().st_mtime_ns

    assert not border.writer.step()
    assert package.stat().st_mtime_ns == before


def test_a_repeated_package_does_no_harm(border: Border) -> None:
    """Packages that were accepted before are offered to nobody, and taken by nobody twice."""
    border.sender.publish(PENSION, PEOPLE)
    border.writer.step()
    border.follow()
    acts = border.receiver.index.overview().acts

    assert border.follow() == 0
    assert border.receiver.index.overview().acts == acts


def test_only_what_the_receiver_may_see_is_laid_down(border: Border) -> None:
    """A stream of the exchange zone that is not for its decision zone never reaches the outbox."""
    border.sender.publish(type(PENSION)(border.sender.me, "pension_macro"), PEOPLE)

    assert not border.writer.step()
    assert border.packages() == set()


def test_a_reader_takes_no_more_than_it_asked_for(border: Border) -> None:
    """At most the asked number of headers comes back, in order, and the marks say from where."""
    sealed = [border.sender.publish(PENSION) for _ in range(4)]
    border.writer.step()

    assert border.peer.headers([], 2, 0.0) == sealed[:2]
    assert border.peer.headers([Mark(PENSION, seq=3)], 9, 0.0) == sealed[3:]


def test_a_full_outbox_takes_nothing_away_too_early(network: Network, tmp_path: Path) -> None:
    """A package the receiver has not passed stays while newer batches of other streams fill the writer's limit."""
    border = Border(network, tmp_path, packages_max=2)
    pension = border.sender.publish(PENSION, PEOPLE)
    border.writer.step()
    for _ in range(2):
        border.sender.publish(MEDICAL)

    border.writer.step()

    assert border.package(pension) in border.packages()
    border.close()


def test_a_backlog_above_the_limit_goes_over_in_rounds(network: Network, tmp_path: Path) -> None:
    """More batches than the limit arrive round by round, and the outbox ends empty."""
    border = Border(network, tmp_path, packages_max=2)
    for stream in (PENSION, MEDICAL, PENSION) * 3:
        border.sender.publish(stream, PEOPLE)

    for _ in range(6):
        border.writer.step()
        assert len(border.packages()) <= 4
        border.follow()
        border.answer()

    assert border.receiver.index.marks() == border.sender.index.streams()
    assert border.packages() == set()
    assert not border.writer.step()
    border.close()


@pytest.mark.parametrize("name", [WRITTEN, PUBLISHED, CLEAR_BEFORE, MARKED])
def test_a_kill_loses_no_package(border: Border, name: str) -> None:
    """A process that is gone at any failpoint of the carrier finishes its work when it runs again."""

    def strike(hit: str) -> None:
        if hit == name:
            raise Crash

    border.sender.publish(PENSION, PEOPLE)
    crashed = False
    for act in (border.writer.step, border.follow, border.answer, border.writer.step):
        failpoint.set_hook(strike)
        try:
            act()
        except Crash:
            crashed = True
        finally:
            failpoint.set_hook(None)
        act()

    assert crashed
    assert border.receiver.index.marks() == border.sender.index.streams()
    assert list(border.outbox.iterdir()) == []


def test_marks_are_believed_from_the_receiver_alone(border: Border) -> None:
    """Marks that the sender's own key sealed, or that are noise, take no package away."""
    sealed = border.sender.publish(PENSION)
    border.writer.step()
    marks = border.way_back / "marks.bin"
    own = seal_marks(border.sender.index.streams(), border.sender.identity)

    marks.write_bytes(envelope_message(own).SerializeToString())
    with pytest.raises(IdentityError, match="marks: signer"):
        border.writer.step()
    marks.write_bytes(b"\xff")
    with pytest.raises(UnprovableError, match="envelope: expected a message of the contract"):
        border.writer.step()

    assert border.packages() == {border.package(sealed)}


def test_a_segment_that_is_not_there_is_told(border: Border) -> None:
    """A segment is read from any offset on, and one its package does not hold is named."""
    sealed = border.sender.publish(PENSION, PEOPLE)
    border.writer.step()
    [ref] = refs(border)
    content = border.sender.shelf.path(ref.sha256).read_bytes()

    assert b"".join(border.peer.fetch(PENSION, 1, ref, 0)) == content
    assert b"".join(border.peer.fetch(PENSION, 1, ref, 10)) == content[10:]

    (border.package(sealed) / f"{ref.sha256}.parquet").unlink()
    with pytest.raises(CorruptionError, match=f"#1: expected segment {ref.sha256[:12]}"):
        list(border.peer.fetch(PENSION, 1, ref, 0))
