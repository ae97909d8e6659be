"""Acts of a promotion: a lost node is declared at its backup, and its identity is granted by its parent."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from jinbao.appliance.assembly import OpenZone
from jinbao.appliance.freezing import frozen, sound
from jinbao.appliance.granting import check_place, grant
from jinbao.appliance.questions.registry import Asked, Body, Reasoned, question
from jinbao.model.audit import Role
from jinbao.model.errors import UsageError
from jinbao.model.grant import GrantedCut
from jinbao.model.masking import mask_numbers
from jinbao.model.quoting import quoted
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.cuts import Cut
from jinbao.standby.declaring import FILE_BYTES_MAX, Declaration, Signed, encode, read, read_file


class Loss(Reasoned):
    """A node that is lost and why, where its new holder will listen (host:port by zone), who gives nothing back."""

    node: str
    addresses: dict[str, str] = Field(default_factory=dict)
    without: list[str] = Field(default_factory=list)


class OneDeclaration(Reasoned):
    """A declaration's file with its signatures, base64, and why it is granted."""

    content: str = Field(max_length=2 * FILE_BYTES_MAX)


@question("standby.declare", kind="act", changes=True, role=Role.SECURITY, arguments=Loss)
def declare(asked: Asked, arguments: Loss) -> Body:
    """Declare a protected node lost: its copies stand still, and what persons sign says up to where they go."""
    zone = asked.zone
    declaration = _declaration(zone, arguments, sound(zone, arguments.node))
    check_place(
        zone.topology, declaration
    )  # what is wrong with the words is said before anything stands still
    cuts = frozen(zone, asked.running.workers if asked.running else None, arguments.node, declaration.reason)
    signed = Signed(text := encode(replace(declaration, cuts=_granted(cuts))), read(text))
    signed.content()
    zone.observer.event("node_declared", node=arguments.node, epoch=declaration.epoch)
    return {
        "zone": str(zone.me),
        "node": arguments.node,
        "epoch": declaration.epoch,
        "cuts": [{"zone": str(c.stream.origin), "acts": c.lsn, "at": c.at} for c in cuts],
        "without": list(map(str, declaration.without)),
        "declaration": text,
    }


def _declaration(zone: OpenZone, arguments: Loss, cuts: Sequence[Cut]) -> Declaration:
    row = zone.topology.row(arguments.node)
    assert row is not None, "only nodes of the topology are protected"
    try:
        return Declaration(
            trust_domain=zone.topology.trust_domain,
            node=row.node,
            epoch=row.epoch + 1,
            backup=zone.me.node,
            reason=" ".join(mask_numbers(arguments.reason).split()),
            addresses=tuple(sorted((Zone(name), address) for name, address in arguments.addresses.items())),
            cuts=_granted(cuts),
            without=tuple(sorted(set(map(_endpoint, arguments.without)))),
            made_at=zone.ports.now_text(),
        )
    except ValueError as exc:
        raise UsageError(
            f"declaration of {row.node}", expected="reason, addresses and neighbours", got=str(exc)
        ) from exc


def _endpoint(text: str) -> Endpoint:
    try:
        return Endpoint.parse(text)
    except ValueError as exc:
        msg = f"without: expected NODE/ZONE, got {quoted(text)}"
        raise ValueError(msg) from exc


def _granted(cuts: Sequence[Cut]) -> tuple[GrantedCut, ...]:
    return tuple(
        sorted((GrantedCut(c.stream.origin.zone, c.lsn, c.hash) for c in cuts), key=lambda c: c.zone)
    )


@question("standby.grant", kind="act", changes=True, role=Role.SECURITY, arguments=OneDeclaration)
def granting(asked: Asked, arguments: OneDeclaration) -> Body:
    """Grant the identity of a node below to the backup site that persons declared for it; the word goes on to all."""
    try:
        content = b64decode(arguments.content, validate=True)
    except Base64Error as exc:
        raise UsageError("standby.grant: content", expected="base64", got=str(exc)) from exc
    signed = read_file(content)
    body = grant(asked.zone, signed)
    if asked.running is not None:
        asked.running.workers["trust"].wake()
    return {
        "zone": str(asked.zone.me),
        "node": signed.declaration.node,
        "epoch": signed.declaration.epoch,
        "signed_by": [signature.person for signature in signed.signatures],
        "content": b64encode(body).decode(),
    }
