"""Acts are recorded whole or not at all, in one chain, and are read back in pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.journal.parts import AT, EXCHANGE, LIBRARY, PROVINCE, Journal, open_journal

from jinbao.journal.ledger import GENESIS, Ledger, act_hash, body_text
from jinbao.journal.projection import JournalProjection
from jinbao.journal.tables import ACT
from jinbao.journal.verify import verify_acts
from jinbao.model import acts
from jinbao.model.acts import Act
from jinbao.model.errors import CorruptionError, LocalError
from jinbao.store.engine import Store, Transaction
from jinbao.store.projection import Recorded
from jinbao.store.stage import Stage

ACTS = 7


class Failing:
    """A reading of `paused` that stages rows and then fails, while staging or while writing."""

    kinds = frozenset({"paused"})
    tables = ()

    def __init__(self, *, staging: bool) -> None:
        self._staging = staging

    def stage(self, store: Store, act: Act) -> tuple[Stage, ...]:
        """Stage one row, and fail if this is where to fail."""
        del act
        ready = store.stage(("n",), lambda: iter([pl.DataFrame({"n": [1]})]))
        if self._staging:
            raise CorruptionError("segment", expected="a file", got="none")
        return (ready,)

    def project(self, tx: Transaction, recorded: Recorded, stages: tuple[Stage, ...]) -> None:
        """Fail after rows of others were written."""
        del tx, recorded, stages
        raise CorruptionError("segment", expected="a file", got="none")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    """A journal of a few acts, for reading."""
    opened = open_journal(tmp_path_factory.mktemp("journal"))
    for _ in range(ACTS // 2):
        opened.ledger.record(acts.paused(PROVINCE, "a cable"), acts.resumed(PROVINCE))
    opened.ledger.record(acts.paused(PROVINCE, "停电"))
    yield opened
    opened.store.close()


@pytest.mark.parametrize("staging", [True, False], ids=["while staging", "while writing"])
def test_a_failing_reading_leaves_nothing(journal: Journal, tmp_path: Path, staging: bool) -> None:
    """If one room cannot read one act, no act of that call is recorded and no room has rows or files of it."""
    projections = (JournalProjection(journal.shelf), Failing(staging=staging))
    ledger = Ledger(journal.store, projections, lambda: AT)

    with pytest.raises(CorruptionError):
        ledger.record(acts.created(EXCHANGE, "b" * 32), acts.paused(PROVINCE, "a cable"))

    assert journal.ledger.acts() == []
    assert journal.index.incarnation() == ""
    assert journal.index.paused() == {}
    assert list((tmp_path / "stage").iterdir()) == []


def test_the_journal_goes_on_after_a_failure(journal: Journal) -> None:
    """The act after a failed one has the place the failed one would have had."""
    ledger = Ledger(journal.store, (Failing(staging=False),), lambda: AT)
    with pytest.raises(CorruptionError):
        ledger.record(acts.paused(PROVINCE, "a cable"))

    journal.ledger.record(acts.paused(PROVINCE, "a cable"))

    assert [recorded.lsn for recorded in journal.ledger.acts()] == [1]
    assert list(verify_acts(journal.store)) == []


def test_an_act_that_contradicts_the_tables_is_not_recorded(journal: Journal) -> None:
    """An act about a batch that is not held here is not recorded."""
    with pytest.raises(sa.exc.NoResultFound):
        journal.ledger.record(acts.skipped(LIBRARY, 1, "c" * 64))

    assert journal.ledger.acts() == []


def test_acts_are_one_chain(filled: Journal) -> None:
    """Each act's hash is over the hash before it, its place, its kind, its time and its exact body."""
    previous = GENESIS
    with filled.store.read() as connection:
        rows = connection.execute(sa.select(ACT).order_by(ACT.c.lsn)).all()

    for lsn, row in enumerate(rows, start=1):
        assert (row.lsn, row.previous) == (lsn, previous)
        previous = row.hash
        assert previous == act_hash(row.previous, lsn, row.kind, row.body, row.at)

    assert rows[-1].body == f'{{"peer":"{PROVINCE}","reason":"停电"}}'


@settings(max_examples=20, deadline=None)
@given(limit=st.integers(1, ACTS + 2))
def test_pages_give_every_act_once(filled: Journal, limit: int) -> None:
    """Pages of any size, each after the last place of the one before, give every act once and in order."""
    lsns: list[int] = []
    while page := filled.ledger.acts(after=lsns[-1] if lsns else 0, limit=limit):
        assert len(page) <= limit
        lsns += [recorded.lsn for recorded in page]

    assert lsns == list(range(1, ACTS + 1))


def test_acts_of_one_kind(filled: Journal) -> None:
    """Asked for one kind, the ledger gives acts of that kind with their bodies, times and places."""
    (last,) = filled.ledger.acts(kind="paused", after=ACTS - 1)

    assert last == Recorded(ACTS, acts.paused(PROVINCE, "停电"), AT)
    assert {recorded.act.kind for recorded in filled.ledger.acts(kind="resumed")} == {"resumed"}


def test_writers_do_not_break_the_chain(journal: Journal) -> None:
    """Threads that record at the same time get places one after the other in one chain."""

    def work(number: int) -> None:
        for _ in range(5):
            journal.ledger.record(acts.paused(PROVINCE, str(number)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [recorded.lsn for recorded in journal.ledger.acts()] == list(range(1, 21))
    assert list(verify_acts(journal.store)) == []


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none(), max_size=4))
@settings(max_examples=30, deadline=None)
def test_a_body_has_one_text(body: dict[str, object]) -> None:
    """The text of a body does not depend on the order its parts were given in."""
    turned = dict(reversed(body.items()))

    assert body_text(turned) == body_text(body)
    assert "\n" not in body_text(body)


@pytest.mark.fault_row(7)
def test_an_act_of_a_newer_release_is_not_replayed_without_its_rows(tmp_path: Path) -> None:
    """A replay ends with an error at the first act that no room here reads, and leaves it out of the journal."""
    journal = open_journal(tmp_path)
    told = [
        Recorded(1, acts.created(EXCHANGE, "a" * 32, 1), AT),
        Recorded(2, Act("invented", {"rows": 7}), AT),
    ]

    with pytest.raises(LocalError, match=r"act 2: expected .*, got kind invented; build it with"):
        journal.ledger.replay(iter(told))

    assert [recorded.lsn for recorded in journal.ledger.acts()] == [1]
    journal.store.close()
