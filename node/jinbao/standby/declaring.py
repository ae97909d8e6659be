"""Declarations 声明: what persons sign when a data centre is lost, so that its backup may take over its identity.

    {"declaration": the canonical text, "signatures": [{"person", "key", "signature"}, …]}

The text is signed as it stands, by keys persons hold (Ed25519). Says whose signatures count; whether
what is declared fits the network is for whoever grants it. Opens no file and reads no clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from jinbao.model.declarant import KEY_BYTES, declarant, decoded, encoded, known_persons
from jinbao.model.errors import UnprovableError, UsageError
from jinbao.model.grant import GrantedCut
from jinbao.model.quoting import quoted
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust import bounds
from jinbao.trust.grants import DECLARATION_CHARACTERS_MAX, EPOCH_MAX, WITHOUT_MAX

FORMAT = "jinbao-declaration/1"

PERSONS_MIN = 2
"""Nobody declares alone."""

REASON_CHARACTERS_MAX = 500
"""What happened, in one line; as long as a reason of the audit trail."""

SIGNATURES_MAX = 10
"""Of one declaration: more persons do not fit on its page."""

FILE_BYTES_MAX = 32 << 10
"""Of a file that is read: a page of Chinese text takes 12 KB, and somebody may have laid it out."""

_SIGNATURE_BYTES = 64
_PORT_MAX = 65_535
_KEYS = {
    "format", "trust_domain", "node", "epoch", "backup", "reason", "addresses", "cuts", "without", "made_at",
}  # fmt: skip

T = TypeVar("T")


class Key(Protocol):
    """A person's private key."""

    @property
    def public_text(self) -> str:
        """The public half, base64."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Declaration:
    """`node` is lost, and `backup` takes over its identity at `epoch`, built up to `cuts`, listening at `addresses`.

    `without` are neighbours that give nothing back: what only they have of the node is given up. `made_at` is
    UTC, RFC 3339. Cannot exist with a part that is none: raises ValueError naming it.
    """

    trust_domain: str
    node: str
    epoch: int
    backup: str
    reason: str
    addresses: tuple[tuple[Zone, str], ...]
    cuts: tuple[GrantedCut, ...]
    without: tuple[Endpoint, ...]
    made_at: str

    def __post_init__(self) -> None:
        """Check every part by itself."""
        bounds.domain(self.trust_domain)
        for node in (self.node, self.backup):
            Endpoint(node, Zone.EXCHANGE)
        bounds.at_most(bounds.positive(self.epoch), EPOCH_MAX, "epoch")
        if not self.reason or quoted(self.reason, REASON_CHARACTERS_MAX) != self.reason:
            msg = f"reason: expected one line of 1 to {REASON_CHARACTERS_MAX} characters, got {quoted(self.reason)!r}"
            raise ValueError(msg)
        for _, address in self.addresses:
            _host_and_port(address)
        bounds.few(self.without, WITHOUT_MAX, "without")
        bounds.moment(self.made_at)
        for cut in self.cuts:
            bounds.at_most(bounds.positive(cut.lsn), bounds.NUMBER_MAX, "lsn")
            bounds.hash_text(cut.hash)
        _in_order("addresses", [zone for zone, _ in self.addresses])
        _in_order("cuts", [cut.zone for cut in self.cuts])
        _in_order("without", self.without)
        if not self.cuts:
            msg = "cuts: expected one of each zone, got none"
            raise ValueError(msg)


def _in_order(thing: str, parts: Sequence[Zone] | Sequence[Endpoint]) -> None:
    if any(not one < next_one for one, next_one in pairwise(parts)):  # type: ignore[operator]  # both are of one kind
        msg = f"{thing}: expected each once, in order, got {', '.join(map(str, parts))}"
        raise ValueError(msg)


def _host_and_port(address: str) -> None:
    if not bounds.address(address) or not 0 < int(address.rpartition(":")[2]) <= _PORT_MAX:
        msg = f"address: expected host:port, got {quoted(address) or 'nothing'}"
        raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Signature:
    """One person's: the name it was made under, the public key and the signature, both base64."""

    person: str
    key: str
    signature: str


@dataclass(frozen=True, slots=True)
class Signed:
    """A declaration's text as it is signed, what it says, and the signatures so far, proved by nobody yet."""

    text: str
    declaration: Declaration
    signatures: tuple[Signature, ...] = ()

    def content(self) -> str:
        """The file, compact; raises UsageError where that is more than a grant carries."""
        found = _canonical(
            {
                "declaration": self.text,
                "signatures": [
                    {"person": s.person, "key": s.key, "signature": s.signature} for s in self.signatures
                ],
            }
        )
        if len(found) > DECLARATION_CHARACTERS_MAX:
            raise UsageError(
                "declaration",
                expected=f"at most {DECLARATION_CHARACTERS_MAX} characters, signatures included",
                got=len(found),
                next_step="give a shorter reason",
            )
        return found


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def encode(declaration: Declaration) -> str:
    """The one text of a declaration: JSON, keys in order, no blanks, characters as they are."""
    return _canonical(
        {
            "format": FORMAT,
            "trust_domain": declaration.trust_domain,
            "node": declaration.node,
            "epoch": declaration.epoch,
            "backup": declaration.backup,
            "reason": declaration.reason,
            "addresses": {str(zone): address for zone, address in declaration.addresses},
            "cuts": [{"zone": str(c.zone), "lsn": c.lsn, "hash": c.hash} for c in declaration.cuts],
            "without": list(map(str, declaration.without)),
            "made_at": declaration.made_at,
        }
    )


def read(text: str) -> Declaration:
    """What a text declares; raises UsageError for anything but the canonical text of a declaration."""
    try:
        found = _declaration(json.loads(text))
    except (ValueError, RecursionError) as exc:
        got = quoted(str(exc), bounds.CHARACTERS_MAX)
        raise UsageError("declaration", expected=f"a text of {FORMAT}", got=got) from exc
    if encode(found) != text:
        raise UsageError("declaration", expected="its canonical text", got="another that says the same")
    return found


def _declaration(body: Any) -> Declaration:  # whatever JSON there was
    parts = _object(body, _KEYS)
    if parts["format"] != FORMAT:
        msg = f"format: expected {FORMAT}, got {quoted(str(parts['format']))}"
        raise ValueError(msg)
    addresses = _is(parts["addresses"], dict)
    cuts = [_object(cut, {"zone", "lsn", "hash"}) for cut in _is(parts["cuts"], list)]
    return Declaration(
        trust_domain=_is(parts["trust_domain"], str),
        node=_is(parts["node"], str),
        epoch=_is(parts["epoch"], int),
        backup=_is(parts["backup"], str),
        reason=_is(parts["reason"], str),
        addresses=tuple((Zone(zone), _is(address, str)) for zone, address in addresses.items()),
        cuts=tuple(GrantedCut(Zone(c["zone"]), _is(c["lsn"], int), _is(c["hash"], str)) for c in cuts),
        without=tuple(Endpoint.parse(_is(name, str)) for name in _is(parts["without"], list)),
        made_at=_is(parts["made_at"], str),
    )


def _object(value: Any, keys: set[str]) -> dict[str, Any]:  # whatever JSON there was
    """An object of these keys and no others."""
    found: dict[str, Any] = _is(value, dict)
    if set(found) != keys:
        wrong = ", ".join(sorted(set(found) ^ keys))
        msg = f"expected {', '.join(sorted(keys))}, got more or fewer: {quoted(wrong)}"
        raise ValueError(msg)
    return found


def _is(value: Any, kind: type[T]) -> T:  # whatever JSON there was
    """The value, if it is of a kind of JSON: true is no number."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        msg = f"expected {kind.__name__}, got {type(value).__name__}"
        raise ValueError(msg)
    return value


def read_file(content: bytes) -> Signed:
    """A file's declaration and signatures, none of them proved; raises UsageError for anything that is none."""
    if len(content) > FILE_BYTES_MAX:
        raise UsageError("declaration", expected=f"at most {FILE_BYTES_MAX} bytes", got=len(content))
    try:
        body = _object(json.loads(content.decode()), {"declaration", "signatures"})
        text = _is(body["declaration"], str)
        several = bounds.few(_is(body["signatures"], list), SIGNATURES_MAX, "signatures")
        signatures = tuple(map(_signature, several))
    except (ValueError, RecursionError) as exc:
        got = quoted(str(exc), bounds.CHARACTERS_MAX)
        raise UsageError("declaration", expected="a file of jinbao standby declare", got=got) from exc
    return Signed(text, read(text), signatures)


def _signature(value: Any) -> Signature:  # whatever JSON there was
    body = _object(value, {"person", "key", "signature"})
    key, signature = _is(body["key"], str), _is(body["signature"], str)
    decoded(key, KEY_BYTES)
    decoded(signature, _SIGNATURE_BYTES)
    return Signature(declarant(_is(body["person"], str)), key, signature)


def signed_over(text: str) -> bytes:
    """The bytes a signature is over: a word that no other signature begins with, LF, and the text."""
    return f"jinbao-declaration-v1\n{text}".encode()


def sign(signed: Signed, person: str, key: Key) -> Signed:
    """The file with a person's signature added; raises UsageError for a person or a key that signed already."""
    try:
        declarant(person)
    except ValueError as exc:
        raise UsageError("person", expected="a name", got=quoted(person), next_step=str(exc)) from exc
    for other in signed.signatures:
        if person == other.person or key.public_text == other.key:
            by = other.person if person == other.person else f"the key of {other.person}"
            raise UsageError(
                "declaration", expected="each person's signature once", got=f"{by} signed already"
            )
    if len(signed.signatures) >= SIGNATURES_MAX:
        raise UsageError(
            "declaration", expected=f"at most {SIGNATURES_MAX} signatures", got=len(signed.signatures) + 1
        )
    made = Signature(person, key.public_text, encoded(key.sign(signed_over(signed.text))))
    found = replace(signed, signatures=(*signed.signatures, made))
    found.content()
    return found


def verified(signed: Signed, persons: Mapping[str, str], persons_min: int) -> tuple[str, ...]:
    """Who signed, once every signature is a known person's, each person's own, and there are enough.

    `persons` are public keys by name, as settings have them. Raises UsageError for one who is unknown, who signed
    twice or has another's key, and for too few; UnprovableError for a signature that does not hold.
    """
    assert persons_min >= PERSONS_MIN, "nobody declares alone"
    try:
        keys = known_persons(dict(persons))
    except ValueError as exc:
        raise UsageError("persons", expected="names with their keys", got=str(exc)) from exc
    signers = [signature.person for signature in signed.signatures]
    for name in signers:
        if name not in keys:
            raise UsageError(
                "declaration", expected=f"signatures of {_names(list(keys))}", got=f"one of {name}"
            )
        if signers.count(name) > 1:
            raise UsageError("declaration", expected="each person's signature once", got=f"{name} twice")
    for signature in signed.signatures:
        _check(signed.text, signature, keys[signature.person])
    if len(signers) < persons_min:
        raise UsageError(
            "declaration",
            expected=f"{persons_min} of {_names(list(keys))}",
            got=f"{_names(signers)}: {persons_min - len(signers)} lack",
            next_step="jinbao standby sign",
        )
    return tuple(signers)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "nobody"


def _check(text: str, signature: Signature, key: bytes) -> None:
    thing = f"declaration: signature of {signature.person}"
    if decoded(signature.key, KEY_BYTES) != key:
        raise UnprovableError(thing, expected="by the key that is known of this person", got="another key")
    public = Ed25519PublicKey.from_public_bytes(key)
    try:
        public.verify(decoded(signature.signature, _SIGNATURE_BYTES), signed_over(text))
    except InvalidSignature as exc:
        raise UnprovableError(thing, expected="one over this text", got="one over another") from exc
