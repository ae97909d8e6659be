"""An old database put back under a running identity is found by those who have more of it, and does not start."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.link.parts import CITY, PROVINCE, SIBLING
from tests.link.zones import TOPICS, Zones, accepted, seal, serving, zones
from tests.servers import await_

from jinbao.appliance.assembly import OpenZone, open_zone
from jinbao.appliance.outdated import FILE, FURTHER_MAX, Outdated
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.serve import ZoneService
from jinbao.model import acts
from jinbao.model.errors import OutdatedError
from jinbao.model.receipt import Receipt, Stage
from jinbao.model.stream import Mark, StreamId
from jinbao.model.zone import Endpoint, Zone

STREAM = StreamId(CITY, TOPICS[0])
BACK = "put back the newest database, or promote"


class Case:
    """A city whose province has all of it, and copies of its directory as it was before."""

    def __init__(self, opened: Zones, province: OpenZone, copies: Path) -> None:
        self.province, self.copies = province, copies
        self.settings = opened.settings[CITY.node]
        self.home = self.settings.directory(CITY.zone)

    def city(self) -> OpenZone:
        """The city's exchange zone as it lies there now."""
        return open_zone(self.settings, CITY.zone)

    def sealed(self, count: int, copy: str) -> None:
        """Let the city seal so much more, and keep a copy of it."""
        city = self.city()
        seal(city, count)
        city.close()
        shutil.copytree(self.home, self.copies / copy, symlinks=True)

    def put_back(self, copy: str) -> None:
        """A copy takes the place of what the city has; what was heard of it stays."""
        heard = (self.home / FILE).read_bytes() if (self.home / FILE).exists() else b""
        shutil.rmtree(self.home)
        shutil.copytree(self.copies / copy, self.home, symlinks=True)
        if heard:
            (self.home / FILE).write_bytes(heard)

    @contextmanager
    def served(self) -> Iterator[ZoneService]:
        """The city serves."""
        with serving(self.city()) as service:
            yield service


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    """Two batches of each topic kept as `old`, four as `new`; the province follows and has four."""
    with (
        zones(tmp_path / "network") as opened,
        serving(open_zone(opened.settings[PROVINCE.node], PROVINCE.zone)) as province,
    ):
        made = Case(opened, province.zone, tmp_path / "copies")
        made.sealed(2, "old")
        made.sealed(2, "new")
        with made.served() as service:
            await_(lambda: accepted(province.zone) == {topic: [1, 2, 3, 4] for topic in TOPICS})
            assert service.failure is None
        yield made


@pytest.mark.fault_row(16)
def test_an_old_database_is_found_at_the_first_word_and_does_not_start_again(case: Case) -> None:
    """It seals no batch, ends when its parent asks on, and is kept from starting until what it lost is back."""
    case.put_back("old")
    with case.served() as service:
        await_(service.stopped.is_set)
        assert isinstance(service.failure, OutdatedError)
        receipt = Receipt(CITY, STREAM, 1, "", Stage.ACCEPTED, 0, "", "", service.zone.ports.now_text())
        service.zone.ledger.record(acts.receipt_due(receipt))
        with pytest.raises(
            OutdatedError, match=f"#4 with head .* which {PROVINCE} knows of, got an older one"
        ):
            service.zone.receipts.step()
        assert service.zone.metrics.registry.get_sample_value("jinbao_database_outdated_total") == 1

    for _ in range(2):
        with pytest.raises(OutdatedError, match=BACK):
            case.city()

    case.put_back("new")
    for stream in case.province.index.held():
        because = {"stream": str(stream), "reason": "the newest database is back"}
        dispatch(Asked(case.province), "line.release", because)
    with case.served() as service:
        seal(service.zone, 1)
        await_(lambda: accepted(case.province) == {topic: [1, 2, 3, 4, 5] for topic in TOPICS})
        assert service.failure is None
    assert not (case.home / FILE).exists()
    assert case.province.index.held() == {}


@pytest.mark.fault_row(13)
@pytest.mark.fault_row(14)
@pytest.mark.parametrize("way", ["flipped", "cut", "gone"])
def test_a_log_that_lost_its_end_is_betrayed_by_who_followed(case: Case, way: str) -> None:
    """Commits that were in a rotten log are gone when SQLite opens it, in silence; the parent has them, and says so."""
    city = case.city()
    seal(city, 3)
    shutil.copytree(case.home, case.copies / "killed", symlinks=True)
    city.close()
    with case.served():
        await_(lambda: accepted(case.province) == {topic: list(range(1, 8)) for topic in TOPICS})
    log = case.copies / "killed" / "zone.db-wal"
    content = log.read_bytes()
    middle = len(content) // 2
    whole = {
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "cut": content[:middle],
    }
    log.write_bytes(whole.get(way, b""))
    case.put_back("killed")

    with case.served() as service:
        await_(service.stopped.is_set)

        assert isinstance(service.failure, OutdatedError)
    with pytest.raises(OutdatedError, match=BACK):
        case.city()


def heard(zone: OpenZone, caller: Endpoint, epoch: int = 1) -> Outdated:
    """What a zone of an epoch believes of a caller that has a batch of it which it has not."""
    found = Outdated(
        zone.me,
        zone.settings.directory(zone.me.zone),
        topology=lambda: zone.topology,
        epoch=lambda: epoch,
        observer=zone.observer,
    )
    found.hear(caller, Mark(STREAM, zone.index.incarnation(), 1, 99, "f" * 64))
    return found


@pytest.mark.parametrize(
    ("caller", "is_believed"),
    [(PROVINCE, True), (Endpoint(CITY.node, Zone.DECISION), True), (SIBLING, False)],
    ids=["parent", "own node", "sibling"],
)
def test_nobody_is_silenced_by_a_stranger(case: Case, caller: Endpoint, is_believed: bool) -> None:
    """Only its own node, its parent and its backup can stop a zone by what they say they have."""
    zone = case.city()
    try:
        found = heard(zone, caller).found
    finally:
        zone.close()

    assert (found is not None) is is_believed
    assert (case.home / FILE).exists() is is_believed


@pytest.mark.fault_row(16)
def test_a_promotion_lets_an_old_database_go_on(case: Case) -> None:
    """Under a newer epoch, which only the parent grants, what was heard under the old one counts no more."""
    zone = case.city()
    try:
        with pytest.raises(OutdatedError, match=BACK):
            heard(zone, PROVINCE).require_settled(zone.index)

        after = heard(zone, PROVINCE, epoch=2)
        after.require_settled(zone.index)
        assert after.found is None
    finally:
        zone.close()

    case.city().close()


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b'{"stream": 3}'])
def test_a_word_that_was_cut_off_is_heard_again(case: Case, left: bytes) -> None:
    """A file nobody finished writing keeps no zone from starting: the next call says it again."""
    (case.home / FILE).write_bytes(left)

    case.city().close()

    assert not (case.home / FILE).exists()


def test_what_callers_name_of_other_zones_is_bounded(case: Case) -> None:
    """However many streams of another zone of its node a caller names, a zone keeps so many, and follows those it keeps."""
    zone, other = case.city(), Endpoint(CITY.node, Zone.PRODUCTION)
    try:
        found = heard(zone, SIBLING)
        for seq in (1, 2):
            for number in range(2 * FURTHER_MAX):
                found.hear(
                    PROVINCE, Mark(StreamId(other, f"topic_{number}", "line"), "a" * 32, 1, seq, "f" * 64)
                )
    finally:
        zone.close()

    assert [mark.seq for mark in found.further(other)] == [2] * FURTHER_MAX
