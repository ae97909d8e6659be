"""The node's side of enrolment and renewal: makes keys that stay, asks, and installs what holds.

New keys wait in `identity/pending/` from before the question until the answer is installed: whoever is
stopped in between asks again with the same keys and is given the same certificates (clause 9.3). An
answer is held against the pinned root, the names and the keys before anything of it is written.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from google.protobuf.message import DecodeError

from jinbao.authority import signer as signing
from jinbao.authority.enrolling import RENEWAL_TYPE
from jinbao.authority.identity_files import (
    ANCHORS,
    CHAIN,
    ENROLMENT,
    KEY,
    SEAL_CHAIN,
    SEAL_KEY,
    TRUST,
    ZoneIdentity,
    write_generation,
)
from jinbao.authority.key_protection import locked, unlocked
from jinbao.authority.private_files import make_private, sync_directory, write_private
from jinbao.authority.profile import authority_uri, leaf_names, leaf_subject
from jinbao.authority.signer import KeySigner, PrivateKey
from jinbao.authority.tokens import Token, prove, secret_hash
from jinbao.authority.trust_files import TRUST_BYTES_MAX, parse, write_trust
from jinbao.model.errors import IdentityError, SettingsError, UnprovableError, UsageError
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.trust.chain import issued
from jinbao.trust.encoding import envelope_message
from jinbao.trust.envelope import seal_bytes
from jinbao.trust.identity import Identity, parse_identity
from jinbao.wire.gen.jinbao.wire.v1 import enrolment_pb2 as wire

PENDING, CONTEXT = "pending", "context.json"


@dataclass(frozen=True)
class Context:
    """Why keys wait, and what an answer is held against."""

    via: str
    identity: Identity
    authority: str
    address: str
    roots: tuple[x509.Certificate, ...]


@dataclass(frozen=True)
class Waiting:
    """Keys that wait for their certificates."""

    context: Context
    line: ec.EllipticCurvePrivateKey
    seal: ed25519.Ed25519PrivateKey

    def requests(self) -> wire.ZoneKeys:
        """Both requests of the zone."""
        identity = self.context.identity
        made = [
            signing.request(leaf_subject(identity), leaf_names(identity), KeySigner(key))
            for key in (self.line, self.seal)
        ]
        return wire.ZoneKeys(zone=identity.endpoint.zone, line_request=made[0], seal_request=made[1])


def private_pem(key: PrivateKey) -> bytes:
    """A zone's private key as its file holds it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def begin(directory: Path, context: Context) -> Waiting:
    """Keys for a zone's identity directory: those that wait for the same reason, else new ones, durable."""
    place = directory / PENDING
    if place.is_dir() and _context_in(place).via == context.via:
        return _waiting_in(place)
    made = Waiting(context, ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate())
    if not directory.parent.exists():  # the zone's own, which enrolment may be the first to need
        make_private(directory.parent)
    make_private(directory)
    temporary = directory / f".{PENDING}.new"
    shutil.rmtree(temporary, ignore_errors=True)
    make_private(temporary)
    write_private(temporary / KEY, locked(private_pem(made.line)))
    write_private(temporary / SEAL_KEY, locked(private_pem(made.seal)))
    write_private(temporary / CONTEXT, json.dumps(_written(context), indent=1).encode())
    shutil.rmtree(directory / PENDING, ignore_errors=True)
    temporary.rename(directory / PENDING)
    sync_directory(directory)
    return made


def waiting(directory: Path) -> Waiting | None:
    """The keys that wait in a zone's identity directory, if any do."""
    place = directory / PENDING
    return _waiting_in(place) if place.is_dir() else None


def _waiting_in(place: Path) -> Waiting:
    context = _context_in(place)
    try:
        line, seal = (
            load_pem_private_key(unlocked((place / name).read_bytes(), place / name), password=None)
            for name in (KEY, SEAL_KEY)
        )
    except (OSError, ValueError, TypeError) as exc:
        raise _unreadable(place, exc) from exc
    assert isinstance(line, ec.EllipticCurvePrivateKey)
    assert isinstance(seal, ed25519.Ed25519PrivateKey)
    return Waiting(context, line, seal)


def _context_in(place: Path) -> Context:
    """Why the keys of a directory wait; read before the keys, which a lost passphrase may keep closed."""
    try:
        return _context(json.loads((place / CONTEXT).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise _unreadable(place, exc) from exc


def _unreadable(place: Path, exc: Exception) -> SettingsError:
    return SettingsError(
        f"directory {place}",
        expected="keys that wait for their certificates",
        got=type(exc).__name__,
        next_step="remove it and ask again",
    )


def _written(context: Context) -> dict[str, Any]:
    identity = context.identity
    return {
        "via": context.via,
        "domain": identity.trust_domain,
        "tier": identity.tier,
        "region": identity.region,
        "endpoint": str(identity.endpoint),
        "epoch": identity.epoch,
        "authority": context.authority,
        "address": context.address,
        "roots": [root.public_bytes(Encoding.PEM).decode("ascii") for root in context.roots],
    }


def _context(found: Mapping[str, Any]) -> Context:
    endpoint = Endpoint.parse(found["endpoint"])
    return Context(
        found["via"],
        Identity(found["domain"], Tier(found["tier"]), found["region"], endpoint, int(found["epoch"])),
        found["authority"],
        found["address"],
        tuple(x509.load_pem_x509_certificate(pem.encode("ascii")) for pem in found["roots"]),
    )


# Asking


def enrol_request(token: Token, directories: Mapping[Zone, Path]) -> wire.EnrolRequest:
    """The question for zones of a token, with keys waiting in each zone's identity directory."""
    foreign = [zone for zone in directories if zone not in token.zones]
    if foreign or not directories:
        got = ", ".join(foreign) or "none"
        raise UsageError(f"zones of token {token.id}", expected=", ".join(token.zones), got=got)
    waits = [
        begin(
            directory,
            Context(f"token:{token.id}", token.identity(zone), token.authority, token.address, (token.root,)),
        )
        for zone, directory in directories.items()
    ]
    claim = wire.EnrolClaim(
        token_id=token.id, node=token.node, zones=[one.requests() for one in waits]
    ).SerializeToString()
    return wire.EnrolRequest(claim=claim, proof=prove(secret_hash(token.secret), claim))


def enrolment_of(identity: ZoneIdentity) -> tuple[str, str]:
    """Which authority certified an identity, and the address it answers at; empty where it is not said."""
    try:
        found = json.loads(identity.files.get(ENROLMENT) or (identity.directory / ENROLMENT).read_bytes())
        return str(found["authority"]), str(found["address"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", ""


def renew_request(identity: ZoneIdentity, directory: Path) -> wire.RenewRequest:
    """The question for new certificates of a zone, sealed by its current key; new keys wait in `directory`."""
    if identity.seal_key is None:
        raise UsageError(
            f"identity {directory}",
            expected="a key for seals",
            got="the layout of release 0.1",
            next_step="enrol this zone with a token",
        )
    leaf = identity.seal_chain[0]
    said, address = enrolment_of(identity)
    named = parse_identity(leaf)
    waits = begin(
        directory, Context(f"renewal:{leaf.serial_number:x}", named, said, address, identity.anchors)
    )
    claim = wire.RenewClaim(endpoint=str(named.endpoint), keys=waits.requests())
    sealed = seal_bytes(RENEWAL_TYPE, claim.SerializeToString(), identity)
    return wire.RenewRequest(envelope=envelope_message(replace(sealed, suite=identity.suite)))


# Installing


def response_of(content: bytes) -> wire.EnrolResponse:
    """The answer in a file; raises UnprovableError if there is none."""
    file = wire.EnrolmentFile()
    if len(content) > TRUST_BYTES_MAX:
        raise UnprovableError("answer file", expected=f"at most {TRUST_BYTES_MAX} bytes", got=len(content))
    try:
        file.ParseFromString(content)
    except DecodeError as exc:
        raise UnprovableError("answer file", expected="an answer of an authority", got=str(exc)[:80]) from exc
    if file.WhichOneof("content") != "response":
        got = file.WhichOneof("content") or "nothing"
        raise UnprovableError("answer file", expected="an answer of an authority", got=got)
    return file.response


def install(
    directories: Mapping[Zone, Path], response: wire.EnrolResponse, now: datetime
) -> dict[Zone, Path]:
    """Check an answer and write a new generation of each zone's identity; returns where they are.

    All of it is checked before any of it is written. Raises UnprovableError, IdentityError or UsageError.
    """
    answered = {one.zone: one for one in response.zones}
    held = {zone: _waits(zone, directory) for zone, directory in directories.items() if zone in answered}
    if not held:
        raise UsageError("answer", expected=" or ".join(directories), got=", ".join(answered) or "no zone")
    files = {zone: _files(one, answered[zone], response, now) for zone, one in held.items()}
    places = {}
    for zone, content in files.items():
        places[zone] = write_generation(directories[zone], content)
        shutil.rmtree(directories[zone] / PENDING)
        sync_directory(directories[zone])
    return places


def _waits(zone: Zone, directory: Path) -> Waiting:
    found = waiting(directory)
    if found is None:
        raise UsageError(
            f"zone {zone}",
            expected="keys that wait for this answer",
            got=f"none in {directory}",
            next_step="ask first: jinbao enrol --request",
        )
    return found


def _files(
    held: Waiting, answer: wire.ZoneCertificates, response: wire.EnrolResponse, now: datetime
) -> dict[str, bytes]:
    anchors = _anchors(held.context, response)
    line = _chain(answer.line_chain, held.line.public_key(), held.context, anchors, now)
    seal = _chain(answer.seal_chain, held.seal.public_key(), held.context, anchors, now)
    said = {"authority": held.context.authority, "address": held.context.address}
    return {
        KEY: private_pem(held.line),
        CHAIN: _pem(line),
        SEAL_KEY: private_pem(held.seal),
        SEAL_CHAIN: _pem(seal),
        ANCHORS: _pem(anchors),
        TRUST: write_trust(response.trust),
        ENROLMENT: json.dumps(said).encode(),
    }


def _pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _certificates(ders: Iterable[bytes]) -> list[x509.Certificate]:
    return [found for found in map(parse, ders) if isinstance(found, x509.Certificate)]


def _anchors(context: Context, response: wire.EnrolResponse) -> tuple[x509.Certificate, ...]:
    """Roots the authority says are in force and this zone has reason to believe: pinned, or certified by a pinned one."""
    known = _certificates(response.trust)
    offered = _certificates(response.anchors)
    found = tuple(
        root
        for root in offered
        if root in context.roots
        or any(
            cross.public_key() == root.public_key() and issued(cross, pinned)
            for cross in known
            for pinned in context.roots
        )
    )
    if not found:
        raise IdentityError(
            "answer: roots",
            expected="the pinned one, or one it certified",
            got=f"{len(offered)} others",
            next_step="ask the authority for a token with today's root",
        )
    return found


def _chain(
    ders: Sequence[bytes], key: object, context: Context, anchors: Sequence[x509.Certificate], now: datetime
) -> list[x509.Certificate]:
    """A leaf and its authority, held against key, names, root and time."""
    chain = _certificates(ders)
    thing = f"answer for {context.identity.endpoint}"
    if len(chain) != 2:  # noqa: PLR2004  # leaf and issuing authority
        raise UnprovableError(thing, expected="a leaf and its authority", got=f"{len(chain)} certificates")
    leaf, above = chain
    if leaf.public_key() != key:
        raise UnprovableError(thing, expected="certificates of the keys that wait", got="of another key")
    if parse_identity(leaf) != context.identity:
        raise IdentityError(thing, expected=context.identity.uri, got=parse_identity(leaf).uri)
    if not issued(leaf, above) or not any(issued(above, anchor) for anchor in anchors):
        raise IdentityError(
            thing, expected="an authority below the pinned root", got=leaf.issuer.rfc4514_string()[:120]
        )
    _check_authority(above, context, thing)
    for one in chain:
        if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
            raise IdentityError(
                f"clock: {thing}",
                expected=f"a time from {one.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
                got=f"{now:%Y-%m-%dT%H:%M:%SZ}",
                next_step="compare the clocks of node and authority",
            )
    return chain


def _check_authority(above: x509.Certificate, context: Context, thing: str) -> None:
    """Raise IdentityError for an authority that names another node than the expected one."""
    try:
        names = above.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return  # a government's authority need not carry our names; the pinned root vouches for it
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    expected = authority_uri(context.identity.trust_domain, context.authority)
    if context.authority and uris != [expected]:
        raise IdentityError(thing, expected=expected, got=", ".join(uris)[:120])
