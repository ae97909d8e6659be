"""What may go from a shelf, who needs the rest, and that nothing else ever goes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.journal.parts import (
    DECISION,
    EXCHANGE,
    LIBRARY,
    MINISTRY,
    PROVINCE,
    TOPOLOGY,
    Journal,
    open_journal,
)

from jinbao.journal.retention import NEXT_RUN, REBUILD, Line, plan, sweep
from jinbao.journal.segments import require_space
from jinbao.model.errors import SpaceError
from jinbao.model.stream import StreamId

PUBLISHED = StreamId(EXCHANGE, "published.pension_macro", "140100")


def lines(journal: Journal, *in_use: str) -> dict[str, Line]:
    """The plan, by hash."""
    return {line.sha256: line for line in plan(journal.me, journal.store, journal.shelf, TOPOLOGY, in_use)}


def test_what_the_parent_has_not_signed_for_is_needed_by_it(journal: Journal) -> None:
    """A segment the parent may fetch is needed by the parent until its receipt came back."""
    first, second = journal.segment(1), journal.segment(2)
    journal.put(LIBRARY, [first])
    journal.put(LIBRARY, [second])

    before = lines(journal)
    journal.signed(PROVINCE, LIBRARY, 1)
    after = lines(journal)

    assert before[first.sha256].needed_by == (str(PROVINCE), REBUILD)
    assert after[first.sha256].needed_by == (REBUILD,)
    assert after[second.sha256].needed_by == (str(PROVINCE), REBUILD)


def test_a_receipt_of_another_is_not_the_parents(journal: Journal) -> None:
    """A receipt of the ministry does not say that the province has the segment."""
    ref = journal.segment(1)
    journal.put(LIBRARY, [ref])

    journal.signed(MINISTRY, LIBRARY, 1)

    assert str(PROVINCE) in lines(journal)[ref.sha256].needed_by


def test_a_segment_of_two_streams_is_needed_by_both_receivers(journal: Journal) -> None:
    """A segment that travels up the line and to the decision zone is needed until both have signed."""
    ref = journal.segment(1)
    journal.put(LIBRARY, [journal.segment(7)])
    journal.put(LIBRARY, [ref])
    journal.put(PUBLISHED, [ref])

    both = lines(journal)[ref.sha256].needed_by
    journal.signed(PROVINCE, LIBRARY, 2)
    one = lines(journal)[ref.sha256].needed_by

    assert both == (str(PROVINCE), str(DECISION), REBUILD)
    assert one == (str(DECISION), REBUILD)


def test_what_the_tables_are_rebuilt_from_stays(journal: Journal) -> None:
    """An accepted segment stays, applied or not, though everybody has signed for it."""
    ref = journal.segment(1)
    journal.put(LIBRARY, [ref])
    journal.signed(PROVINCE, LIBRARY, 1)

    line = lines(journal)[ref.sha256]

    assert (line.stream, line.seq, line.bytes) == (str(LIBRARY), 1, ref.bytes)
    assert line.needed_by == (REBUILD,)


def test_what_the_next_run_compares_with_stays(journal: Journal) -> None:
    """A segment no header names is needed by the next run if it is in use, else by nobody."""
    used, superseded = journal.segment(1), journal.segment(2)

    found = lines(journal, used.sha256)

    assert found[used.sha256].needed_by == (NEXT_RUN,)
    assert found[superseded.sha256].needed_by == ()


def test_a_plan_removes_nothing(journal: Journal) -> None:
    """Making a plan leaves every file where it is, needed or not."""
    refs = [journal.segment(number) for number in range(3)]

    lines(journal)

    assert all(journal.shelf.has(ref.sha256) for ref in refs)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["accepted", "published", "in use", "superseded"]), max_size=8))
def test_a_sweep_removes_what_nobody_needs(uses: list[str]) -> None:
    """A sweep removes the superseded files, all of them and no other, and says how many bytes came free."""
    with tempfile.TemporaryDirectory() as directory:
        journal = open_journal(Path(directory))
        refs = [(use, journal.segment(number)) for number, use in enumerate(uses)]
        for use, ref in refs:
            if use in {"accepted", "published"}:
                journal.put(LIBRARY if use == "accepted" else PUBLISHED, [ref])
        in_use = [ref.sha256 for use, ref in refs if use == "in use"]

        freed = sweep(list(lines(journal, *in_use).values()), journal.store, journal.shelf)

        gone = [ref for use, ref in refs if use == "superseded"]
        kept = {ref.sha256 for use, ref in refs if use != "superseded"}
        assert set(journal.shelf.stored()) == kept
        assert freed == sum(ref.bytes for ref in gone)
        journal.store.close()


@pytest.mark.parametrize("use", ["named", "used", "brought"])
def test_a_sweep_looks_again_before_it_removes(journal: Journal, use: str) -> None:
    """What was named by a batch, written again or brought by a neighbour after the plan stays; what was not goes."""
    late, idle = journal.segment(1), journal.segment(2)
    made = list(lines(journal).values())
    assert {line.needed_by for line in made} == {()}

    if use == "named":
        journal.put(LIBRARY, [late])
    elif use == "used":
        assert journal.segment(1) == late
    else:
        journal.shelf.receive(late, lambda _offset: iter(()))
    freed = sweep(made, journal.store, journal.shelf)

    assert set(journal.shelf.stored()) == {late.sha256}
    assert freed == idle.bytes


def test_what_went_meanwhile_frees_nothing(journal: Journal) -> None:
    """A file that is gone when the sweep comes to it is not counted."""
    journal.segment(1)
    made = list(lines(journal).values())
    for line in made:
        journal.shelf.remove(line.sha256)

    assert sweep(made, journal.store, journal.shelf) == 0


def test_a_broken_reserve_is_refused(tmp_path: Path) -> None:
    """Writing that would leave less than the reserve is refused with the bytes that are free."""
    require_space(tmp_path, reserve_bytes=1, needed_bytes=1)

    with pytest.raises(SpaceError, match="bytes free") as refused:
        require_space(tmp_path, reserve_bytes=1, needed_bytes=1 << 60)

    assert refused.value.code == "space"
    assert f"after writing {1 << 60}" in str(refused.value)
