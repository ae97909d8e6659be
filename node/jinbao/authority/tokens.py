"""Tokens 入网令牌: a file that lets one node enrol once per zone, for a short time, with an authority it pins.

The secret is in the file alone; the authority keeps its hash, and the node proves that it has the
secret without sending it: an HMAC, keyed by that hash, over what it asks for.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from jinbao.authority.authority import Authority, identity_of
from jinbao.authority.policy import token_life
from jinbao.authority.private_files import check_private, write_private
from jinbao.authority.state import State
from jinbao.model.errors import SettingsError, UsageError
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.trust.chain import issued
from jinbao.trust.identity import Identity

SUITE = "intl-1"
"""What the certificates of a token are for: see the suites of the contract."""

MINISTRY = "100000"
"""The node whose exchange zone signs the topology (region codes of GB/T 2260)."""

_CONTEXT = b"jinbao-enrolment-v1\n"
_SECRET_BYTES = 32
_FORMAT = 1


@dataclass(frozen=True)
class Token:
    """What the file says; never written to a log, never shown."""

    id: str
    secret: bytes
    domain: str
    node: str
    tier: Tier
    region: str
    zones: tuple[Zone, ...]
    epoch: int
    authority: str
    address: str
    expires: datetime
    suite: str
    root: x509.Certificate

    def __repr__(self) -> str:
        """Without the secret: whoever prints a token prints its name."""
        return f"Token({self.id}, {self.node})"

    def identity(self, zone: Zone) -> Identity:
        """What a zone will be called."""
        return Identity(self.domain, self.tier, self.region, Endpoint(self.node, zone), self.epoch)


def secret_hash(secret: bytes) -> bytes:
    """What the authority keeps of a secret."""
    return hashlib.sha256(b"jinbao-token-v1\n" + secret).digest()


def prove(key: bytes, claim: bytes) -> bytes:
    """The proof over a claim; `key` is the hash of the secret."""
    return hmac.digest(key, _CONTEXT + claim, "sha256")


def make_token(
    authority: Authority,
    node: str,
    *,
    topology: Topology | None,
    now: datetime,
    zones: Sequence[Zone] = (),
    address: str = "",
    life: timedelta | None = None,
) -> Token:
    """A token for zones of a node (all of them if none is named), recorded before it is handed out.

    Without a topology only the ministry's own node can be enrolled, by the ministry's authority: that
    is how the zone that will sign the first topology comes to its name.
    """
    span = token_life(authority.policy, life)
    roots = authority.roots()
    with authority.acting() as state:
        identities = _identities(state, node, topology, zones)
        for identity in identities:
            authority.may_certify(identity, topology)
        pinned = next(root for root in roots if issued(state.active.certificate, root))
        waiting = [one for one in state.tokens.values() if one.expires > now and not one.used]
        if len(waiting) >= authority.policy.tokens_open_max:
            most = authority.policy.tokens_open_max
            raise UsageError("tokens", expected=f"at most {most} that wait", got=len(waiting))
        first = identities[0]
        token = Token(
            secrets.token_hex(8),
            secrets.token_bytes(_SECRET_BYTES),
            state.domain,
            node,
            first.tier,
            first.region,
            tuple(identity.endpoint.zone for identity in identities),
            first.epoch,
            state.node,
            address,
            now + span,
            SUITE,
            pinned,
        )
        authority.record("token_made", now, **_recorded(token, founding=topology is None))
        return token


def _identities(state: State, node: str, topology: Topology | None, zones: Sequence[Zone]) -> list[Identity]:
    if topology is not None:
        topology = state.in_force(topology)
        row = topology.row(node)
        wanted = zones or (row.zones if row else (Zone.EXCHANGE,))
        return [identity_of(Endpoint(node, zone), topology) for zone in wanted]
    if not node == state.node == MINISTRY:
        raise UsageError(
            f"token for {node}",
            expected="the signed topology, or the ministry's own node",
            got="neither",
            next_step="name the topology: --topology",
        )
    epoch = state.epoch(node) or 1
    return [
        Identity(state.domain, Tier.MINISTRY, node, Endpoint(node, zone), epoch)
        for zone in zones or (Zone.EXCHANGE,)
    ]


def _recorded(token: Token, *, founding: bool) -> dict[str, object]:
    return {
        "id": token.id,
        "secret_sha256": secret_hash(token.secret).hex(),
        "node": token.node,
        "tier": token.tier,
        "region": token.region,
        "zones": list(token.zones),
        "epoch": token.epoch,
        "expires": token.expires.isoformat(),
        "founding": founding,
    }


def token_text(token: Token) -> bytes:
    """What a token's file says: JSON, with the secret."""
    content = {
        "format": _FORMAT,
        "id": token.id,
        "secret": token.secret.hex(),
        "domain": token.domain,
        "node": token.node,
        "tier": token.tier,
        "region": token.region,
        "zones": list(token.zones),
        "epoch": token.epoch,
        "authority": token.authority,
        "address": token.address,
        "expires": token.expires.isoformat(),
        "suite": token.suite,
        "root": token.root.public_bytes(Encoding.PEM).decode("ascii"),
    }
    return json.dumps(content, indent=1).encode()


def write_token(token: Token, path: Path) -> None:
    """Write the file, for its owner alone; refuses to overwrite one."""
    if path.exists():
        raise UsageError(f"token file {path}", expected="a new name", got="a file that is there")
    write_private(path, token_text(token))


def read_token(path: Path) -> Token:
    """Read the file; refuses one that others may read. What it says of itself is never repeated in an error."""
    check_private(path)
    return parse_token(path.read_bytes(), f"token file {path}")


def parse_token(content: bytes, thing: str) -> Token:
    """The token that `token_text` wrote; SettingsError, which names `thing` and repeats nothing, for another content."""
    try:
        return _token(json.loads(content))
    except (ValueError, KeyError, TypeError) as exc:
        raise SettingsError(
            thing,
            expected="a token of this release",
            got="another content",
            next_step="ask the authority for a new one: jinbao ca token",
        ) from exc


def _token(found: dict[str, Any]) -> Token:
    """The token of a file's content; raises ValueError, KeyError or TypeError for another content."""
    if found["format"] != _FORMAT:
        msg = f"format {found['format']}"
        raise ValueError(msg)
    return Token(
        str(found["id"]),
        bytes.fromhex(found["secret"]),
        str(found["domain"]),
        Endpoint(found["node"], Zone.EXCHANGE).node,
        Tier(found["tier"]),
        str(found["region"]),
        tuple(Zone(zone) for zone in found["zones"]),
        int(found["epoch"]),
        str(found["authority"]),
        str(found["address"]),
        datetime.fromisoformat(found["expires"]),
        str(found["suite"]),
        x509.load_pem_x509_certificate(found["root"].encode("ascii")),
    )
