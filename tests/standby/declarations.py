"""Persons with keys in memory, and declarations they sign."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jinbao.authority.person_keys import PersonKey
from jinbao.model.grant import GrantedCut
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.declaring import Declaration, Signed, encode, read, sign

KEYS = {
    name: PersonKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))
    for number, name in enumerate(("wang", "li", "买买提·艾力", "stranger"), 1)
}
PERSONS = {name: key.public_text for name, key in KEYS.items() if name != "stranger"}

DECLARATION = Declaration(
    trust_domain="jinbao.example",
    node="140100",
    epoch=2,
    backup="140000-backup",
    reason="机房火灾, nothing answers",
    addresses=((Zone.EXCHANGE, "10.9.0.5:7443"),),
    cuts=(GrantedCut(Zone.EXCHANGE, 45, "a" * 64), GrantedCut(Zone.PRODUCTION, 33, "b" * 64)),
    without=(Endpoint("140000", Zone.EXCHANGE),),
    made_at="2024-11-05T00:15:04.222Z",
)


def unsigned(declaration: Declaration = DECLARATION, **changed: Any) -> Signed:
    """A declaration nobody signed yet."""
    text = encode(replace(declaration, **changed))
    return Signed(text, read(text))


def signed_by(*names: str, signed: Signed | None = None) -> Signed:
    """A declaration, signed by persons one after the other."""
    found = signed or unsigned()
    for name in names:
        found = sign(found, name, KEYS[name])
    return found
