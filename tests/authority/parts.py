"""A small network's topology and authorities, with a clock that a test sets, and zones that ask for certificates."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from jinbao.authority import rotation
from jinbao.authority import signer as signing
from jinbao.authority.authority import Authority
from jinbao.authority.enrolling import Enrolling
from jinbao.authority.identity_files import ZoneIdentity, load_identity
from jinbao.authority.joining import enrol_request, install, renew_request
from jinbao.authority.keys import FileKeys
from jinbao.authority.ledger import Ledger
from jinbao.authority.policy import Policy
from jinbao.authority.profile import ROOT
from jinbao.authority.requests import ZoneRequest
from jinbao.authority.signer import PrivateKey
from jinbao.authority.tokens import Token, make_token
from jinbao.model.topology import NodeRow, Topology
from jinbao.model.zone import Endpoint, Tier, Zone

NOW = datetime.now(UTC).replace(microsecond=0)
"""The TLS library looks at the real clock."""

DOMAIN = "jinbao.test"
UPPER = (Zone.EXCHANGE, Zone.DECISION)
CITY = Endpoint("140100", Zone.EXCHANGE)
MUNICIPALITY = Endpoint("310000", Zone.EXCHANGE)


def row(node: str, tier: Tier, parent: str, *, epoch: int = 1, protects: tuple[str, ...] = ()) -> NodeRow:
    """A row without addresses."""
    zones = tuple(Zone) if tier is Tier.CITY else UPPER
    return NodeRow(
        node, node, node, tier, node[:6], parent, zones, (Zone.DECISION,), (), epoch=epoch, protects=protects
    )


def topology(*, city_epoch: int = 1) -> Topology:
    """A ministry, a province with a city and a backup, and a municipality below the ministry."""
    rows = (
        row("100000", Tier.MINISTRY, ""),
        row("140000", Tier.PROVINCE, "100000"),
        row("140000-backup", Tier.PROVINCE, "100000", protects=("140000",)),
        row("140100", Tier.CITY, "140000", epoch=city_epoch),
        row("310000", Tier.CITY, "100000"),
    )
    return Topology(DOMAIN, city_epoch, rows)


@dataclass
class Clock:
    """A time that stands until it is moved."""

    at: datetime = NOW

    def __call__(self) -> datetime:
        """Now."""
        return self.at

    def pass_by(self, span: timedelta) -> None:
        """Let time go by."""
        self.at += span


@dataclass
class Events:
    """What was told, by name."""

    seen: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def __call__(self, name: str, /, **values: object) -> None:
        """Note one."""
        self.seen.append((name, values))

    def names(self) -> list[str]:
        """Names in order."""
        return [name for name, _ in self.seen]


@dataclass
class House:
    """Root, ministry and province in directories of their own, and what a province answers."""

    directory: Path
    clock: Clock
    root: Authority
    ministry: Authority
    province: Authority
    topology: Topology
    events: Events

    def enrolling(self, authority: Authority | None = None) -> Enrolling:
        """The province's (or another's) side of enrolment, by the topology of the moment."""
        return Enrolling(authority or self.province, lambda: self.topology, self.clock, self.events)

    def token(self, endpoint: Endpoint = CITY, address: str = "", life: timedelta | None = None) -> Token:
        """A token for one zone."""
        authority = self.province if endpoint.node.startswith("14") else self.ministry
        return make_token(
            authority,
            endpoint.node,
            topology=self.topology,
            now=self.clock(),
            zones=(endpoint.zone,),
            address=address,
            life=life,
        )

    def zone(self, name: str) -> Path:
        """An identity directory."""
        return self.directory / "zones" / name

    def enrolled(self, name: str = "city", endpoint: Endpoint = CITY) -> ZoneIdentity:
        """A zone that enrolled by file."""
        directories = {endpoint.zone: self.zone(name)}
        response = self.enrolling().enrol(enrol_request(self.token(endpoint), directories))
        install(directories, response, self.clock())
        return load_identity(self.zone(name))

    def renewed(self, name: str = "city", zone: Zone = CITY.zone) -> ZoneIdentity:
        """A zone that renewed by file."""
        request = renew_request(load_identity(self.zone(name)), self.zone(name))
        install({zone: self.zone(name)}, self.enrolling().renew(request), self.clock())
        return load_identity(self.zone(name))


def house(directory: Path) -> House:
    """A fresh one."""
    clock = Clock()
    root = founded(directory / "root", ROOT, "")
    ministry = founded(directory / "100000", "issuing", "100000")
    province = founded(directory / "140000", "issuing", "140000")
    for one in (ministry, province):
        rotation.certify_here(one, root, clock())
    return House(directory, clock, root, ministry, province, topology(), Events())


def founded(directory: Path, role: str, node: str, policy: Policy | None = None) -> Authority:
    """An authority in a directory."""
    authority = Authority(Ledger(directory), FileKeys(directory / "keys"), policy)
    authority.found(role, DOMAIN, node, NOW)
    return authority


def zone_request(
    *, line: PrivateKey | None = None, seal: PrivateKey | None = None, names: Sequence[x509.GeneralName] = ()
) -> ZoneRequest:
    """Both requests of a zone, by new keys where none is given, without names unless some are."""
    keys = (line or ec.generate_private_key(ec.SECP256R1()), seal or ed25519.Ed25519PrivateKey.generate())
    return ZoneRequest(*(_request(key, names) for key in keys))


def _request(key: PrivateKey, names: Sequence[x509.GeneralName]) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, signing.hash_of(signing.algorithm_of(key))).public_bytes(Encoding.DER)


STUB = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key
key = load_pem_private_key(Path(sys.argv[1]).read_bytes(), password=None)
tbs = sys.stdin.buffer.read()
signature = key.sign(tbs) if isinstance(key, ed25519.Ed25519PrivateKey) else key.sign(tbs, ec.ECDSA(hashes.SHA384()))
sys.stdout.buffer.write(signature)
"""
"""A signing program: what an HSM's tool is to an authority."""


def stub_argv(key_file: Path) -> list[str]:
    """The command of the signing program for a key file."""
    return [sys.executable, "-c", STUB, str(key_file)]
