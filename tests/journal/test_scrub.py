"""Every segment is read again in time, what rotted is laid aside and brought again, and a restart goes on."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.journal.parts import EXCHANGE, LIBRARY, Journal, open_journal

from jinbao.journal import segments
from jinbao.journal.scrub import PAUSE_MAX, Scrub, Use
from jinbao.journal.segments import hash_of
from jinbao.journal.verify import verify_journal
from jinbao.model import acts
from jinbao.store.files import Files

DAYS = 0.5


class Scrubbing:
    """A journal with some segments, its scrub, a clock, and whoever has the segments as they were."""

    def __init__(self, journal: Journal, place: Path, segments: int) -> None:
        journal.ledger.record(acts.created(EXCHANGE, "b" * 32))
        for number in range(segments):
            journal.put(LIBRARY, [journal.segment(*range(50 * (number + 1)))])
        self.journal, self.place = journal, place
        self.now = datetime(2024, 11, 5, tzinfo=UTC)
        self.told: list[tuple[str, dict[str, object]]] = []
        self.whole = {path.stem: path.read_bytes() for path in self.paths()}
        self.asked: list[tuple[str, int, Sequence[Use]]] = []
        self.scrub = self.opened()

    def paths(self) -> list[Path]:
        """The segment files, by hash."""
        return sorted(map(self.journal.shelf.path, self.journal.shelf.stored()), key=lambda path: path.stem)

    def opened(self) -> Scrub:
        """The scrub as a process that starts finds it."""
        return Scrub(
            EXCHANGE,
            self.journal.store,
            self.journal.shelf,
            self.place,
            files=Files(),
            now=lambda: self.now,
            within=timedelta(days=DAYS),
            told=lambda name, **values: self.told.append((name, values)),
        )

    def mend(self, sha256: str, size: int, uses: Sequence[Use]) -> bool:
        """A peer that has everything."""
        self.asked.append((sha256, size, uses))
        self.journal.shelf.path(sha256).write_bytes(self.whole[sha256])
        return True

    def nobody(self, sha256: str, size: int, uses: Sequence[Use]) -> bool:
        """No peer has it."""
        self.asked.append((sha256, size, uses))
        return False

    def begin_anew(self) -> None:
        """As nothing was ever scrubbed."""
        self.place.unlink(missing_ok=True)
        shutil.rmtree(self.journal.shelf.damaged, ignore_errors=True)
        self.told.clear()
        self.asked.clear()

    def run(self, steps: int, every: timedelta, *, is_mended: bool = True) -> int:
        """So many steps; how many passes ended."""
        ended = 0
        for _ in range(steps):
            ended += self.scrub.step(self.mend if is_mended else self.nobody)
            self.now += every
        return ended

    def names(self) -> list[str]:
        """What was told, by name."""
        return [name for name, _ in self.told]


@pytest.fixture
def scrubbing(journal: Journal, tmp_path: Path) -> Scrubbing:
    """Five segments."""
    return Scrubbing(journal, tmp_path / "scrub.json", 5)


def test_everything_is_read_within_the_days(scrubbing: Scrubbing) -> None:
    """At a step every ten minutes a whole pass takes no longer than the setting, and not one step."""
    steps = int(DAYS * 24 * 6)

    assert scrubbing.run(1, timedelta(minutes=10)) == 0
    assert scrubbing.run(steps - 1, timedelta(minutes=10)) >= 1

    progress = scrubbing.scrub.progress()
    assert progress.done_objects == 5
    assert progress.done_bytes == sum(map(len, scrubbing.whole.values()))
    begun = datetime.fromisoformat(progress.done_begun_at)
    assert datetime.fromisoformat(progress.done_at) - begun <= timedelta(days=DAYS)
    assert "segment_damaged" not in scrubbing.names()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scrubbing]:
    """Five segments that every example leaves as they were."""
    directory = tmp_path_factory.mktemp("scrub")
    opened = open_journal(directory)
    yield Scrubbing(opened, directory / "scrub.json", 5)
    opened.store.close()


@settings(max_examples=30, deadline=None)
@pytest.mark.fault_row(13)
@pytest.mark.fault_row(14)
@given(
    which=st.integers(0, 4), place=st.integers(0), kind=st.sampled_from(["altered", "truncated", "missing"])
)
def test_what_rotted_is_named_laid_aside_and_mended(
    lasting: Scrubbing, which: int, place: int, kind: str
) -> None:
    """A damaged segment is told with its kind, kept aside byte by byte, brought again, and whole at the next pass."""
    lasting.begin_anew()
    path, shelf = lasting.paths()[which], lasting.journal.shelf
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1
    damaged = bytes(content) if kind == "altered" else bytes(content[: place % len(content)])
    path.write_bytes(damaged)
    if kind == "missing":
        path.unlink()

    lasting.run(25, PAUSE_MAX)

    found = [values for name, values in lasting.told if name == "segment_damaged"]
    assert [(one["segment"], one["kind"], one["mended"]) for one in found] == [(path.stem, kind, True)]
    seq = next(line["seq"] for line in lasting.journal.index.segments() if line["sha256"] == path.stem)
    assert [(sha256, uses) for sha256, _, uses in lasting.asked] == [(path.stem, [(LIBRARY, seq)])]
    aside = sorted(shelf.damaged.glob("*")) if shelf.damaged.is_dir() else []
    assert [one.read_bytes() for one in aside] == ([] if kind == "missing" else [damaged])
    assert hash_of(path)[0] == path.stem
    assert lasting.scrub.progress().bad == {}
    assert verify_journal(lasting.journal.store, shelf) == []


@pytest.mark.fault_row(15)
def test_swapped_segments_are_both_mended(scrubbing: Scrubbing) -> None:
    """Two segments under each other's names are told as swapped, both laid aside, and both brought again."""
    first, second = scrubbing.paths()[:2]
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])

    scrubbing.run(25, PAUSE_MAX)

    kinds = [values["kind"] for name, values in scrubbing.told if name == "segment_damaged"]
    assert kinds[0] == "swapped"
    assert len(kinds) == 2
    assert {path.stem: path.read_bytes() for path in scrubbing.paths()} == scrubbing.whole


def test_what_nobody_has_is_remembered_and_asked_for_at_every_pass(scrubbing: Scrubbing) -> None:
    """A segment no peer brings stays known as damaged over a restart, and is mended once a peer has it."""
    path = scrubbing.paths()[2]
    path.unlink()

    scrubbing.run(25, PAUSE_MAX, is_mended=False)
    scrubbing.scrub = scrubbing.opened()

    assert scrubbing.scrub.progress().bad == {path.stem: "missing"}
    assert len(scrubbing.asked) >= 2
    scrubbing.run(25, PAUSE_MAX)
    assert scrubbing.scrub.progress().bad == {}
    assert path.is_file()


def test_a_restart_goes_on_where_it_was(scrubbing: Scrubbing) -> None:
    """Started anew after each step, a pass still reads every segment once, in the order of hashes."""
    seen: list[str] = []
    for _ in range(25):
        scrubbing.scrub = scrubbing.opened()
        ended = scrubbing.scrub.step(scrubbing.nobody)
        seen.append(scrubbing.scrub.progress().after)
        if ended:
            break
        scrubbing.now += PAUSE_MAX

    reached = [after for at, after in enumerate(seen) if after and after not in seen[:at]]
    assert reached == sorted(reached)
    assert scrubbing.scrub.progress().done_objects == 5


@pytest.mark.fault_row(13)
@pytest.mark.fault_row(14)
@pytest.mark.parametrize(
    "junk",
    [
        "",
        "{",
        "[]",
        '{"unknown": 1}',
        "null",
        '{"looked_at": "yesterday"}',
        '{"looked_at": "2024-11-05"}',
        '{"bad": null}',
        '{"after": 3}',
        '{"bytes": "many"}',
    ],
)
def test_a_broken_note_begins_anew(scrubbing: Scrubbing, junk: str) -> None:
    """The file that says how far it is may be anything: the pass begins at the first segment, and ends."""
    scrubbing.place.write_text(junk)

    assert scrubbing.run(25, PAUSE_MAX) >= 1
    assert scrubbing.scrub.progress().done_objects == 5


def test_a_clock_that_goes_back_reads_no_less(scrubbing: Scrubbing) -> None:
    """While the clock goes back, each step still reads one segment: time is not waited for twice."""
    scrubbing.run(2, timedelta())

    assert scrubbing.run(8, -timedelta(days=400)) >= 1


def test_a_file_that_cannot_be_read_is_damage(scrubbing: Scrubbing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad sector is told as a segment that cannot be read, laid aside and mended like any other damage."""
    victim = scrubbing.paths()[1]
    honest = segments.hash_of

    def broken(path: Path) -> tuple[str, int]:
        if path == victim:
            raise OSError(errno.EIO, "Input/output error")
        return honest(path)

    monkeypatch.setattr(segments, "hash_of", broken)
    for _ in range(25):
        scrubbing.scrub.step(scrubbing.mend)
        scrubbing.now += PAUSE_MAX
        if scrubbing.asked:
            break

    found = [values for name, values in scrubbing.told if name == "segment_damaged"]
    assert [(one["segment"], one["kind"]) for one in found] == [(victim.stem, "unreadable")]
    assert scrubbing.asked


def test_what_is_named_no_more_is_no_damage(scrubbing: Scrubbing) -> None:
    """A segment that was damaged and is not named any more is forgotten when the next pass ends."""
    scrubbing.place.write_text(json.dumps({"bad": {"e" * 64: "missing"}}))

    scrubbing.run(25, PAUSE_MAX)

    assert scrubbing.scrub.progress().bad == {}


def test_what_is_known_to_be_missing_comes_out_of_turn(scrubbing: Scrubbing) -> None:
    """What is missing or known to be damaged is brought at once, without the pass moving; what nobody has stays named."""
    first, second, third, *_ = scrubbing.paths()
    scrubbing.run(2, timedelta(minutes=10))
    place = scrubbing.scrub.progress().after
    for path in (first, second):
        path.unlink()
    third.write_bytes(b"rotten")  # nobody looked at it yet: it is the pass's to find

    left = scrubbing.scrub.mend_known(scrubbing.nobody)
    known = scrubbing.opened().progress()
    mended = scrubbing.scrub.mend_known(scrubbing.mend)
    again = scrubbing.scrub.mend_known(scrubbing.mend)

    assert left == ([], [first.stem, second.stem])
    assert known.bad == dict.fromkeys((first.stem, second.stem), "missing")
    assert mended == ([first.stem, second.stem], [])
    assert again == ([], [])
    assert (scrubbing.scrub.progress().bad, scrubbing.scrub.progress().after) == ({}, place)
    assert third.read_bytes() == b"rotten"
