"""Granting 授予: what persons declared becomes the parent's sealed word that an identity has another holder.

Judges a declaration by this zone's settings, topology and clock, seals the grant and has it recorded like any
trust document; what follows from it is the trust keeper's. The same declaration is granted once.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from jinbao.appliance.assembly import OpenZone
from jinbao.link.standing import PROOF_BYTES_MAX
from jinbao.model.errors import JinbaoError, LocalError, UsageError
from jinbao.model.grant import Grant
from jinbao.model.topology import Topology
from jinbao.model.trust import DocumentKind, TrustDocument
from jinbao.model.zone import Endpoint, Zone
from jinbao.standby.declaring import Declaration, Signed, read_file, verified
from jinbao.trust.encoding import decode_envelope, envelope_message
from jinbao.trust.grants import decode_grant, seal_grant

AHEAD_MAX = timedelta(hours=24)
"""How far a declaration's time may be ahead of ours: the clock of a site in trouble is wrong by hours, not by days."""


def grant(zone: OpenZone, signed: Signed) -> bytes:
    """The sealed grant of a declaration, as an envelope of the contract, recorded here; the one before if there is one.

    Raises UsageError for a declaration that does not fit or lacks signatures, UnprovableError for a signature that
    does not hold.
    """
    declaration = signed.declaration
    _check_ours(zone, declaration)
    settings = zone.settings.promotion
    verified(signed, settings.persons, settings.persons_min)
    if (before := recorded(zone, signed)) is not None:
        return before
    check_place(zone.topology, declaration)
    _check_time(zone, declaration)
    made = Grant(
        trust_domain=declaration.trust_domain,
        node=declaration.node,
        epoch=declaration.epoch,
        addresses=declaration.addresses,
        cuts=declaration.cuts,
        without=declaration.without,
        declaration=signed.content(),
        made_at=zone.ports.now_text(),
    )
    body = envelope_message(seal_grant(made, zone.identity)).SerializeToString()
    _check_shown(made, body)
    zone.trust.learn([TrustDocument(DocumentKind.GRANT, made.node, made.epoch, body)], "")
    found = recorded(zone, signed)
    if found is None:  # another declaration of this epoch was granted at the same time, or trust in us ended
        raise LocalError(
            f"grant of {made.node} at epoch {made.epoch}",
            expected="to be believed by this zone itself",
            got="another word",
            next_step="see the zone's log for trust_refused",
        )
    if found == body:
        zone.observer.event("identity_granted", node=made.node, epoch=made.epoch, backup=declaration.backup)
    return found


def _check_shown(made: Grant, body: bytes) -> None:
    """Raise UsageError for a grant that a refused holder could not be shown: it would never learn why."""
    if len(body) > PROOF_BYTES_MAX:
        raise UsageError(
            f"grant of {made.node} at epoch {made.epoch}",
            expected=f"at most {PROOF_BYTES_MAX} bytes with its certificates",
            got=len(body),
            next_step="jinbao standby declare, again, at the backup, with a shorter --reason or fewer --without",
        )


def recorded(zone: OpenZone, signed: Signed) -> bytes | None:
    """The grant that was sealed for this text, as an envelope; None while there is none."""
    node, epoch = signed.declaration.node, signed.declaration.epoch
    for held in zone.documents.held():
        document = held.document
        if (document.kind, document.name, document.number) == (DocumentKind.GRANT, node, epoch):
            try:
                declared = decode_grant(decode_envelope(document.body).payload).declaration
                if read_file(declared.encode()).text == signed.text:
                    return document.body
            except JinbaoError:  # a grant of another kind of declaration is none of this one
                return None
    return None


def _check_ours(zone: OpenZone, declaration: Declaration) -> None:
    """Raise UsageError unless the node is of our network and we are its parent."""
    topology, node = zone.topology, declaration.node
    if declaration.trust_domain != topology.trust_domain:
        raise UsageError(
            "declaration: trust domain", expected=topology.trust_domain, got=declaration.trust_domain
        )
    row = topology.row(node)
    if row is None:
        raise UsageError("declaration: node", expected="one of the topology", got=node)
    if not row.parent or zone.me != Endpoint(row.parent, Zone.EXCHANGE):
        asked = f"{row.parent}/exchange, its parent" if row.parent else "nobody: the root node has no parent"
        raise UsageError(f"grant of {node}", expected=f"to be asked of {asked}", got=zone.me)


def check_place(topology: Topology, declaration: Declaration) -> None:
    """Raise UsageError unless what is declared fits the node's row as it is now: epoch, zones, neighbours, backup."""
    row, thing = topology.by_node[declaration.node], f"declaration of {declaration.node}"
    again = "jinbao standby declare, again, at the backup"
    if declaration.epoch != row.epoch + 1:
        raise UsageError(f"{thing}: epoch", expected=row.epoch + 1, got=declaration.epoch, next_step=again)
    if declaration.backup != topology.backup(row.node):
        protector = topology.backup(row.node) or "none: nobody protects it"
        raise UsageError(f"{thing}: backup", expected=protector, got=declaration.backup)
    zones, cuts = set(map(str, row.zones)), {str(cut.zone) for cut in declaration.cuts}
    if cuts != zones:
        raise UsageError(f"{thing}: cuts", expected=_listed(zones), got=_listed(cuts), next_step=again)
    near = {e for zone in row.zones for e in topology.neighbours(Endpoint(row.node, zone))}
    others = {str(endpoint) for endpoint in near if endpoint.node != row.node}
    for part, got, known in (
        ("addresses", {str(zone) for zone, _ in declaration.addresses}, zones),
        ("without", set(map(str, declaration.without)), others),
    ):
        if got - known:
            raise UsageError(f"{thing}: {part}", expected=f"of {_listed(known)}", got=_listed(got - known))


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _check_time(zone: OpenZone, declaration: Declaration) -> None:
    made, now = datetime.fromisoformat(declaration.made_at), zone.ports.now()
    oldest = now - timedelta(hours=zone.settings.promotion.declared_within_hours)
    if not oldest <= made <= now + AHEAD_MAX:
        raise UsageError(
            f"declaration of {declaration.node}",
            expected=f"made between {oldest:%Y-%m-%dT%H:%MZ} and {now + AHEAD_MAX:%Y-%m-%dT%H:%MZ}",
            got=declaration.made_at,
            next_step="jinbao standby declare, again, at the backup",
        )
