"""The enrolment process of an authority, and how a node of these settings asks one.

`serve` runs `jinbao ca serve`: listener, its certificate renewed in time, revocation lists made before they
are due. Several processes may act for one authority directory; its ledger puts them in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from jinbao.appliance.admin_client import is_running
from jinbao.appliance.settings import Settings
from jinbao.appliance.signals import Signals
from jinbao.appliance.zone_lock import Purpose, holder, require_owner
from jinbao.authority import joining
from jinbao.authority.authority import Authority
from jinbao.authority.enrolling import Enrolling
from jinbao.authority.identity_files import ANCHORS, ZoneIdentity, load_identity
from jinbao.authority.private_files import write_private
from jinbao.authority.profile import enrolment_host
from jinbao.authority.renewal import Renewal, standing
from jinbao.authority.tokens import Token
from jinbao.authority.trust_files import write_trust
from jinbao.link.enrolment import EnrolmentClient, EnrolmentLimits, EnrolmentServer
from jinbao.model.errors import JinbaoError, SettingsError, UsageError
from jinbao.model.topology import Topology
from jinbao.model.zone import Zone
from jinbao.trust.book import TrustBook
from jinbao.trust.documents import open_topology
from jinbao.trust.encoding import decode_envelope
from jinbao.trust.identity import parse_identity

Now = Callable[[], datetime]

LOOK_S = 60.0
"""How often lists and the listener's certificate are looked at: both have hours of room."""


def read_topology(path: Path, authority: Authority, now: datetime) -> Topology:
    """The signed topology, proved by the roots the authority knows."""
    try:
        sealed = decode_envelope(path.read_bytes())
    except OSError as exc:
        raise SettingsError(f"topology {path}", expected="a signed file", got=str(exc)) from exc
    return open_topology(sealed, TrustBook.of(authority.roots(), authority.documents()), now)


class EnrolmentService:
    """One authority at one address; `topology` is asked at every request, so that a new version holds at once."""

    def __init__(
        self,
        authority: Authority,
        address: str,
        *,
        topology: Callable[[], Topology | None],
        now: Now,
        limits: EnrolmentLimits | None = None,
    ) -> None:
        self._authority, self._now = authority, now
        self._log = structlog.get_logger().bind(listener=address)
        answers = Enrolling(authority, topology, now, self._event)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._chain = authority.enrolment_chain(self._key.public_key(), now())
        self.server = EnrolmentServer(
            address, answers=answers, pair=self._pair, refused=self._refused, limits=limits
        )

    def _event(self, name: str, /, **values: object) -> None:
        (self._log.warning if name.endswith("refused") else self._log.info)(name, **values)

    def _refused(self, peer: str, exc: JinbaoError) -> None:
        self._event("request_refused", peer=peer, code=exc.code, reason=str(exc))

    def _pair(self) -> tuple[bytes, bytes]:
        return joining.private_pem(self._key), b"".join(c.public_bytes(Encoding.PEM) for c in self._chain)

    def look(self) -> None:
        """Renew what is due: revocation lists, and the listener's certificate."""
        for made in self._authority.crl(self._now(), due_only=True):
            self._event("list_made", issuer=made.issuer.rfc4514_string(), entries=len(made))
        if standing(self._chain[0], self._now()) is not Renewal.FRESH or self._authority.has_moved(
            self._chain[1]
        ):
            self._chain = self._authority.enrolment_chain(self._key.public_key(), self._now())

    def start(self) -> None:
        """Listen."""
        self.look()
        self.server.start()
        self._event("enrolment_started", port=self.server.port)

    def stop(self) -> None:
        """End all calls."""
        self.server.stop()
        self._event("enrolment_stopped")


def publish(authority: Authority, path: Path) -> bool:
    """Lay down what others need to trust, for a zone's `trust_directory`; whether it differs from what lay there.

    Readable by all: nothing in it is secret.
    """
    content = write_trust(authority.documents())
    if path.is_file() and path.read_bytes() == content:
        return False
    write_private(path, content)
    path.chmod(0o644)
    return True


def serve(
    authority: Authority, address: str, topology_file: Path | None, now: Now, published: Path | None = None
) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. New lists are laid down at `published`.

    A topology file that is not there yet is waited for: founding tokens alone are answered until it is.
    """

    def topology() -> Topology | None:
        if topology_file is None or not topology_file.exists():
            return None
        return read_topology(topology_file, authority, now())

    if topology() is None and topology_file is not None:
        structlog.get_logger().warning("topology_awaited", file=str(topology_file))
    service = EnrolmentService(authority, address, topology=topology, now=now)
    with Signals() as asked:
        service.start()
        try:
            while True:
                if published is not None:
                    publish(authority, published)
                if asked.wait(within_s=LOOK_S):
                    break
                service.look()
        finally:
            service.stop()
    return 0


# A node


def is_served(settings: Settings, zone: Zone) -> bool:
    """Whether a zone's process has it open, or is opening it: it is asked then, and nothing of it touched beside it."""
    if is_running(settings, zone):
        return True
    directory = settings.directory(zone)
    require_owner(directory)
    held = holder(directory)
    return held is not None and held.purpose == Purpose.SERVE


def facts(zone: Zone, identity: ZoneIdentity) -> dict[str, str]:
    """What a zone has, as commands and questions say it: name, end and place of its certificates."""
    leaf = identity.chain[0]
    return {
        "zone": str(zone),
        "identity": parse_identity(leaf).uri,
        "until": f"{leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "directory": str(identity.directory),
    }


def identity_directories(settings: Settings, zones: Sequence[Zone]) -> dict[Zone, Path]:
    """Where the identities of zones are; raises LocalError for a zone of another account, which could not read them."""
    for zone in zones:
        require_owner(settings.directory(zone))
    return {zone: settings.directory(zone) / "identity" for zone in zones}


def token_directories(settings: Settings, token: Token, zone: Zone | None) -> dict[Zone, Path]:
    """Identity directories of the zones of a token that this node runs, or of the one that is named."""
    if token.node != settings.node:
        raise UsageError(
            f"token {token.id}", expected=f"one for {settings.node}", got=f"one for {token.node}"
        )
    wanted = [one for one in settings.zones if one in token.zones] if zone is None else [zone]
    if not wanted:
        raise UsageError(
            f"zones of token {token.id}", expected=" or ".join(settings.zones), got=", ".join(token.zones)
        )
    return identity_directories(settings, wanted)


def enrol(
    token: Token, directories: Mapping[Zone, Path], now: datetime, limits: EnrolmentLimits | None = None
) -> dict[Zone, Path]:
    """Ask the authority of a token over the network and install its answer; returns the new generations."""
    if not token.address:
        raise UsageError(
            f"token {token.id}",
            expected="the address of its authority",
            got="none",
            next_step="jinbao enrol --request FILE",
        )
    request = joining.enrol_request(token, directories)
    client = EnrolmentClient(
        token.address, enrolment_host(token.authority), token.root.public_bytes(Encoding.PEM), limits
    )
    return joining.install(directories, client.enrol(request), now)


def renew(
    zone: Zone,
    directory: Path,
    now: datetime,
    address: str = "",
    limits: EnrolmentLimits | None = None,
) -> dict[Zone, Path]:
    """Renew one zone over the network; `address` where it is not the one it enrolled at."""
    identity = load_identity(directory)
    authority, known = joining.enrolment_of(identity)
    if not authority or not (address or known):
        raise UsageError(
            f"identity {directory}",
            expected="the authority it enrolled with, and its address",
            got="none",
            next_step="jinbao enrol --renew --address HOST:PORT, or --request FILE",
        )
    request = joining.renew_request(identity, directory)
    client = EnrolmentClient(address or known, enrolment_host(authority), identity.pem(ANCHORS), limits)
    return joining.install({zone: directory}, client.renew(request), now)
