"""A running zone renews itself when it is asked: it has the passphrase its keys lie under, and a trail to record it in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.appliance.test_service_manager import managed
from tests.authority.test_key_protection import LOCKED, OPEN, hand, keys
from tests.cli.harness import Said, spawn
from tests.link.zones import SETTINGS

from jinbao.appliance.admin_client import ask
from jinbao.appliance.assembly import open_zone
from jinbao.appliance.enrolment import EnrolmentService, is_served, read_topology
from jinbao.appliance.network import AUTHORITIES, DEMO_NODES, make_network
from jinbao.appliance.questions import Asked, dispatch
from jinbao.appliance.settings import Settings
from jinbao.appliance.zone_lock import Purpose, lock
from jinbao.authority.authority import Authority
from jinbao.authority.identity_files import ENROLMENT, generation, load_identity, number_of, write_generation
from jinbao.authority.key_protection import CREDENTIAL, DIRECTORY
from jinbao.authority.private_files import write_private
from jinbao.model.errors import UsageError
from jinbao.model.zone import Zone

NODE = DEMO_NODES[0].node
PASSPHRASE = "a long one for keys"


@dataclass(frozen=True)
class Site:
    """A ministry alone, its authority, and what its service manager hands its exchange zone."""

    directory: Path
    settings: Settings

    @property
    def identity(self) -> Path:
        """Of its exchange zone."""
        return self.settings.directory(Zone.EXCHANGE) / "identity"

    @property
    def authority(self) -> Path:
        """The directory of its authority."""
        return self.directory / "network" / AUTHORITIES / NODE

    @contextmanager
    def running(self) -> Iterator[None]:
        """While its exchange zone is a process that is handed the passphrase, as by its unit."""
        credentials = self.directory / "credentials"
        credentials.mkdir()
        (credentials / CREDENTIAL).write_text(f"{PASSPHRASE}\n", encoding="utf-8")
        address, log = str(self.directory / "notify"), self.directory / "log"
        with managed(self.settings, address, log, {DIRECTORY: str(credentials)}) as (manager, _):
            manager.await_("READY=1".__eq__)
            yield

    @contextmanager
    def answered(self) -> Iterator[None]:
        """While its authority listens where the zone enrolled."""
        now, file = (lambda: datetime.now(UTC)), self.settings.topology_file
        authority = Authority.at(self.authority)
        service = EnrolmentService(
            authority, "127.0.0.1:0", topology=lambda: read_topology(file, authority, now()), now=now
        )
        service.start()
        said = {"authority": NODE, "address": f"127.0.0.1:{service.server.port}"}
        write_private(generation(self.identity) / ENROLMENT, json.dumps(said).encode())
        try:
            yield
        finally:
            service.stop()

    def enrol(self, *words: str) -> Said:
        """`jinbao enrol` of the exchange zone, by a process that has no passphrase."""
        config = str(self.settings.data_directory / "node.toml")
        return spawn("enrol", "--zone", "exchange", "--config", config, *words)

    def trail(self, action: str) -> list[tuple[str, str]]:
        """Outcome and reason of what the running zone recorded, oldest first."""
        found = ask(self.settings, Zone.EXCHANGE, "audit.list", {"limit": 50, "action": action})
        return [(line["outcome"], line["reason"]) for line in found["entries"]][::-1]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Fresh, its keys open."""
    settings = make_network(tmp_path / "network", DEMO_NODES[:1], overrides=SETTINGS)[1][NODE]
    return Site(tmp_path, settings)


@pytest.mark.processes
def test_a_zone_under_a_passphrase_renews_itself_when_asked(site: Site) -> None:
    """Asked with a reason by whoever has no passphrase, it uses new certificates, keys locked, and has it in its trail."""
    with site.answered(), site.running():
        before = ask(site.settings, Zone.EXCHANGE, "trust.list")["certificate"]["serial"]

        unsaid = site.enrol("--renew")
        renewed = site.enrol("--renew", "--reason", "a test", "--json")

        after = ask(site.settings, Zone.EXCHANGE, "trust.list")["certificate"]["serial"]
        assert (unsaid.code, "trust.renew: expected --reason, got none" in unsaid.err) == (2, True)
        assert renewed.code == 0, renewed.err
        assert json.loads(renewed.out)["zones"][0]["directory"] == str(generation(site.identity))
        assert after != before
        assert site.trail("trust.renew") == [("refused", ""), ("done", "a test")]
    assert {key[: len(LOCKED)] for key in keys(site.identity)} == {LOCKED}


@pytest.mark.processes
def test_a_zone_under_a_passphrase_is_renewed_by_files(site: Site) -> None:
    """Request and answer are carried by whoever has no passphrase; keys that wait and keys in force stay locked."""
    request, answer = site.directory / "request", site.directory / "answer"
    topology = str(site.settings.topology_file)
    with site.running():
        before = number_of(site.identity)
        asked = site.enrol("--renew", "--request", str(request), "--reason", "a test")
        waiting = keys(site.identity / "pending")
        issue = ["--request", str(request), "--out", str(answer), "--topology", topology]
        issued = spawn("ca", "issue", str(site.authority), *issue)
        installed = site.enrol("--install", str(answer), "--reason", "a test", "--json")

        assert (asked.code, issued.code, installed.code) == (0, 0, 0), (asked, issued, installed)
        assert [key[: len(LOCKED)] for key in waiting] == [LOCKED, LOCKED]
        assert number_of(site.identity) == before + 1
        assert site.trail("trust.request") == site.trail("trust.install") == [("done", "a test")]
        assert not (site.identity / "pending").exists()
    assert {key[: len(LOCKED)] for key in keys(site.identity)} == {LOCKED}


@pytest.mark.processes
def test_a_stopped_zone_under_a_passphrase_needs_it(site: Site) -> None:
    """Stopped, such a zone is renewed by a command that has the passphrase; another is told so and changes nothing."""
    with site.running():
        pass
    before = keys(site.identity)

    said = site.enrol("--renew")

    assert said.code == 2
    assert (
        "expected its passphrase, as the credential identity-passphrase, got none; run it as its unit does"
        in said.err
    )
    assert keys(site.identity) == before


def test_keys_laid_beside_a_running_zone_are_locked(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys that a command without the passphrase laid down lie under it once the zone has taken them up."""
    files = {path.name: path.read_bytes() for path in generation(site.identity).iterdir()}
    hand(monkeypatch, tmp_path / "credentials", PASSPHRASE)
    with closing(open_zone(site.settings, Zone.EXCHANGE)) as zone:
        with monkeypatch.context() as without:
            without.delenv(DIRECTORY)
            write_generation(site.identity, files)
        assert {key[: len(OPEN)] for key in keys(generation(site.identity))} == {OPEN}

        assert zone.trust.reload()
        assert {key[: len(LOCKED)] for key in keys(site.identity)} == {LOCKED}
        assert zone.identity.directory == generation(site.identity)
        assert not zone.trust.reload()


def test_a_decision_zone_is_renewed_by_a_carried_request_alone(site: Site) -> None:
    """Asked to renew over the network, a decision zone refuses and names the way by files."""
    with (
        closing(open_zone(site.settings, Zone.DECISION)) as zone,
        pytest.raises(UsageError, match=r"it opens no connection.*--zone decision --request FILE"),
    ):
        dispatch(Asked(zone), "trust.renew", {"reason": "a test"})


def test_an_answer_to_no_request_is_refused(site: Site) -> None:
    """A zone that waits for nothing installs nothing, and says to ask first."""
    with closing(open_zone(site.settings, Zone.EXCHANGE)) as zone:
        with pytest.raises(UsageError, match="content: expected base64"):
            dispatch(Asked(zone), "trust.install", {"content": "?", "reason": "a test"})
        before = load_identity(site.identity).chain
        with pytest.raises(UsageError, match="expected exchange, got no zone"):
            dispatch(Asked(zone), "trust.install", {"content": "GgA=", "reason": "a test"})

        assert load_identity(site.identity).chain == before


def test_a_zone_that_is_starting_is_not_renewed_beside(site: Site) -> None:
    """A zone whose process has it open and does not listen yet counts as one that runs; a question or nobody does not."""
    directory = site.settings.directory(Zone.EXCHANGE)
    found = [is_served(site.settings, Zone.EXCHANGE)]
    for purpose in (Purpose.SERVE, Purpose.QUESTION):
        unlock = lock(directory, purpose)
        found.append(is_served(site.settings, Zone.EXCHANGE))
        unlock()

    assert found == [False, True, False]
