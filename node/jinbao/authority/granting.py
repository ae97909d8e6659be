"""Grants 授予 at an authority: a node's identity has another holder, whom this authority certifies from now on.

What a node's parent sealed is proved and recorded, then every certificate of an older epoch is taken back and
listed. Each step is durable and may be repeated after a crash. Whether a node should be promoted is not asked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jinbao.authority.authority import REASONS, Authority
from jinbao.authority.state import State, Use, packed
from jinbao.authority.tokens import MINISTRY
from jinbao.model.batch import SealedBatch
from jinbao.model.errors import PeerError, RevocationUnknownError, UsageError
from jinbao.model.grant import Grant
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.book import TrustBook
from jinbao.trust.encoding import envelope_message
from jinbao.trust.grants import EPOCH_MAX, decode_grant, open_grants
from jinbao.trust.identity import Identity, parse_identity

_REASON = REASONS["superseded"]
"""What was sealed before stays believed: the new holder takes back what the old one had sent."""


@dataclass(frozen=True)
class Taken:
    """A node at its new epoch, and the serials that were taken back for it; none when it was known already."""

    node: str
    epoch: int
    revoked: tuple[int, ...]


def take_in(
    authority: Authority,
    sealed: SealedBatch,
    topology: Topology,
    now: datetime,
    *,
    above: Sequence[SealedBatch] = (),
) -> Taken:
    """Take in a grant of a node this authority certifies; `above` are grants its signer's own right rests on.

    Raises UnprovableError, IdentityError or UsageError, and then has recorded nothing. The same grant again
    goes on where it was cut off.
    """
    book = TrustBook.of(authority.roots(), authority.documents())
    with authority.acting() as state:
        known = state.in_force(topology)
        wanted = decode_grant(sealed.payload)
        _check_own(authority, wanted, known)
        proved = _proved((*above, sealed), book, known, now)
        _check_next(state, wanted, known)
        _check_above(proved, wanted, known)
        revoked: tuple[int, ...] = ()
        for grant, envelope in proved:
            if _is_news(state, grant, known):
                content = envelope_message(envelope).SerializeToString()
                authority.record("granted", now, node=grant.node, epoch=grant.epoch, sealed=packed(content))
            if known.issuer(grant.node) == state.node:
                revoked += _take_back(authority, state, grant.node, grant.epoch, now)
    authority.crl(now, due_only=True)
    return Taken(wanted.node, wanted.epoch, revoked)


def _check_own(authority: Authority, wanted: Grant, known: Topology) -> None:
    """Raise unless this authority certifies the node, and it is one that can be granted; nothing is proved yet."""
    row = known.row(wanted.node)
    if row is None:
        return  # `open_grant` says it
    authority.check_own(wanted.node, known.trust_domain, known)
    if not row.parent:
        raise UsageError(
            f"grant of {wanted.node}",
            expected="none: the root node has no parent",
            got="one",
            next_step="jinbao ca grant DIR --root-epoch N",
        )


def _proved(
    several: Sequence[SealedBatch], book: TrustBook, known: Topology, now: datetime
) -> list[tuple[Grant, SealedBatch]]:
    """Grants with their envelopes, those of parents first; an error says what to do at an authority."""
    try:
        _, found = open_grants(several, book, known, now)
    except RevocationUnknownError as exc:
        raise RevocationUnknownError(
            exc.thing,
            expected=exc.expected,
            got=exc.got,
            next_step="jinbao ca import, with the newest lists (jinbao ca export at that authority)",
        ) from exc
    except PeerError as exc:
        if exc.next_step:
            raise
        raise type(exc)(exc.thing, expected=exc.expected, got=exc.got, next_step=_ASK, **exc.values) from exc
    by_payload = {decode_grant(one.payload): one for one in several}
    return [(grant, by_payload[grant]) for grant in found]


_ASK = (
    "have the exchange zone of the node's parent grant it; name the grant of a promoted parent with --above"
)


def _check_next(state: State, wanted: Grant, known: Topology) -> None:
    """Raise UsageError unless a grant is of a later epoch than any known, or is the one that was taken in."""
    row = known.by_node[wanted.node]
    if wanted.epoch > row.epoch or any(one.grant == wanted for one in state.grants):
        return
    raise UsageError(
        f"grant of {wanted.node}",
        expected=f"an epoch after {row.epoch}",
        got=f"epoch {wanted.epoch}",
        next_step=f"have {row.parent} grant epoch {row.epoch + 1}, or look at what is known: jinbao ca list",
    )


def _check_above(proved: Sequence[tuple[Grant, SealedBatch]], wanted: Grant, known: Topology) -> None:
    """Raise UsageError for a grant beside the wanted one that its signer's right does not rest on."""
    above = {endpoint.node for endpoint in known.above(Endpoint(wanted.node, Zone.EXCHANGE))}
    for grant, _ in proved:
        if grant != wanted and grant.node not in above:
            raise UsageError(
                "grants beside",
                expected=f"those of nodes above {wanted.node}",
                got=f"one of {grant.node}",
                next_step="take in each grant by a command of its own",
            )


def _is_news(state: State, grant: Grant, known: Topology) -> bool:
    return grant.epoch > max(known.by_node[grant.node].epoch, state.epoch(grant.node))


def succeed(authority: Authority, epoch: int, now: datetime, topology: Topology | None = None) -> Taken:
    """Say that the root node has another holder: it has no parent who could, so its own authority does.

    From then on the authority certifies it at `epoch`, before any topology says so: the new holder signs that one.
    Raises UsageError for another authority, or an epoch that was given already. May be repeated.
    """
    with authority.acting() as state:
        if state.node != MINISTRY:
            raise UsageError(
                f"authority {state.name}",
                expected=f"authority {MINISTRY}, for the root node",
                got="another",
                next_step="every other node is granted by its parent: jinbao ca grant DIR GRANTFILE",
            )
        if not epoch or epoch != state.epoch(MINISTRY):
            held = [one.epoch for one in _identities(state, MINISTRY).values()]
            said = topology.row(MINISTRY) if topology else None
            last = max(state.epoch(MINISTRY), said.epoch if said else 1, *held)
            if not last < epoch <= EPOCH_MAX:
                raise UsageError(
                    f"epoch of {MINISTRY}",
                    expected=f"one after {last}",
                    got=epoch,
                    next_step=f"epoch {last + 1}",
                )
            made_at = f"{now:%Y-%m-%dT%H:%M:%SZ}"
            authority.record("granted", now, node=MINISTRY, epoch=epoch, sealed="", made_at=made_at)
        revoked = _take_back(authority, state, MINISTRY, epoch, now)
    authority.crl(now, due_only=True)
    return Taken(MINISTRY, epoch, revoked)


def _identities(state: State, node: str) -> dict[int, Identity]:
    """Whom each certificate speaks for that was issued to a zone of a node, by serial."""
    return {
        one.serial: parse_identity(one.certificate)
        for one in state.issued.values()
        if one.use in {Use.LINE, Use.SEAL} and one.about.startswith(f"{node}/")
    }


def _take_back(authority: Authority, state: State, node: str, epoch: int, now: datetime) -> tuple[int, ...]:
    """Take back what was issued to a node for an older epoch and has not ended. Inside `acting` only."""
    older = tuple(
        serial
        for serial, identity in _identities(state, node).items()
        if identity.epoch < epoch
        and serial not in state.revoked
        and state.issued[serial].certificate.not_valid_after_utc >= now
    )
    if older:
        serials = [f"{serial:x}" for serial in older]
        authority.record("revoked", now, serials=serials, reason=_REASON.value)
    return older
