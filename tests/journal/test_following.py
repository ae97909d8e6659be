"""An accepted header follows the mark of its stream, whatever was handed to the journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.journal.parts import AT, PRODUCTION, Journal, open_journal, unsigned, verified
from tests.postgres import fresh_database

from jinbao.flow.sealing import StreamSealer
from jinbao.model import acts
from jinbao.model.batch import Kind, SealedBatch
from jinbao.model.errors import InvariantError
from jinbao.model.stream import Mark, StreamId
from jinbao.trust.encoding import decode_header
from jinbao.trust.envelope import head_of

FIRST, SECOND = "a" * 32, "b" * 32
_numbers = count()


def chain(stream: StreamId) -> list[SealedBatch]:
    """Two batches, two of a later epoch, and two of a new incarnation that continues it."""
    last, made = Mark(stream), list[SealedBatch]()
    for incarnation, epoch in ((FIRST, 1), (FIRST, 2), (SECOND, 2)):
        sealer = StreamSealer(last, incarnation=incarnation, epoch=epoch, seal=unsigned, now=lambda: AT)
        made += [sealer.next(Kind.CHANGE), sealer.next(Kind.CHANGE)]
        last = mark_of(made[-1])
    return made


def mark_of(sealed: SealedBatch) -> Mark:
    """The mark of a receiver whose last batch this is."""
    header = decode_header(sealed.payload)
    return Mark(header.stream, header.incarnation, header.epoch, header.seq, head_of(sealed))


def accept(journal: Journal, sealed: SealedBatch) -> None:
    """Record a batch as accepted, and nothing else."""
    journal.ledger.record(acts.accepted(verified(sealed), PRODUCTION))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    """One journal for many streams."""
    url = fresh_database() if request.param == "postgresql" else ""
    opened = open_journal(tmp_path_factory.mktemp("journal"), url=url)
    yield opened
    opened.store.close()


@pytest.fixture
def stream() -> StreamId:
    """One nobody has used."""
    return _fresh()


def _fresh() -> StreamId:
    return StreamId(PRODUCTION, f"library_{next(_numbers)}")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), max_size=24))
def test_only_the_next_batch_is_recorded(kept: Journal, order: list[tuple[int, int]]) -> None:
    """Of any order of two streams' batches the next ones are recorded; any other leaves mark and journal as they were."""
    chains = [chain(_fresh()), chain(_fresh())]
    came = [0, 0]

    for one, at in order:
        before, sealed = kept.index.overview().acts, chains[one][at]
        if at == came[one]:
            accept(kept, sealed)
            came[one] += 1
        else:
            with pytest.raises(InvariantError):
                accept(kept, sealed)
            assert kept.index.overview().acts == before

    for batches, number in zip(chains, came, strict=True):
        name = decode_header(batches[0].payload).stream
        assert kept.index.mark(name) == (mark_of(batches[number - 1]) if number else Mark(name))
        assert kept.index.batches(name) == batches[:number]


def test_a_gap_takes_all_that_was_to_be_recorded_with_it(kept: Journal, stream: StreamId) -> None:
    """Acts recorded together with a batch that leaves a gap are not recorded either."""
    first, _, third, *_ = chain(stream)
    before = kept.index.overview().acts

    with pytest.raises(InvariantError, match=r"#3: batch to record: expected .* the mark at 1, got"):
        kept.ledger.record(*(acts.accepted(verified(b), PRODUCTION) for b in (first, third)))

    assert kept.index.overview().acts == before
    assert kept.index.mark(stream) == Mark(stream)


@pytest.mark.parametrize("part", ["previous", "incarnation", "epoch"])
def test_the_right_number_alone_is_not_enough(kept: Journal, stream: StreamId, part: str) -> None:
    """A batch in its place that names another head before it, or another holder it does not continue, is refused."""
    first, second, *_ = chain(stream)
    accept(kept, first)
    other = {"previous": "0f" * 32, "incarnation": SECOND, "epoch": 7}[part]

    with pytest.raises(InvariantError):
        accept(kept, unsigned(replace(decode_header(second.payload), **{part: other})))

    accept(kept, second)


def test_a_stream_goes_on_from_where_an_operator_set_its_mark(kept: Journal, stream: StreamId) -> None:
    """After a re-base, backward or forward, the batch after the new mark is the next, and no other."""
    batches = chain(stream)
    accept(kept, batches[0])
    forward = mark_of(batches[3])
    kept.ledger.record(
        acts.rebased(stream, forward.incarnation, forward.epoch, forward.seq, forward.head, "restored")
    )

    with pytest.raises(InvariantError):
        accept(kept, batches[1])
    accept(kept, batches[4])

    assert kept.index.mark(stream) == mark_of(batches[4])
