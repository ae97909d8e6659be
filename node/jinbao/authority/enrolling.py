"""The authority's side of enrolment and renewal: checks what a node asks for, answers, or refuses in words (clause 9).

The same messages come over a listener and as files. Who is refused with a proof that holds has a token
or a key that somebody else has too: that is recorded and alarmed; noise without a proof is not.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from cryptography import x509
from google.protobuf.message import DecodeError, Message

from jinbao.authority.authority import Authority, Pair
from jinbao.authority.requests import ProvedKeys, ZoneRequest, prove
from jinbao.authority.state import Issued, State, TokenState, Use, der
from jinbao.authority.tokens import prove as prove_claim
from jinbao.model.batch import SealedBatch
from jinbao.model.errors import IdentityError, JinbaoError, UnprovableError
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint, Tier, Zone
from jinbao.trust.encoding import envelope_of
from jinbao.trust.envelope import signer_of
from jinbao.trust.identity import Identity, check_row, parse_identity
from jinbao.trust.suites import INTL
from jinbao.wire.gen.jinbao.wire.v1 import enrolment_pb2 as wire

RENEWAL_TYPE = "application/vnd.jinbao.renewal.v1+protobuf"

CLAIM_BYTES_MAX = 32 << 10
"""Three zones of two requests each have 3 KiB."""

_ZONES_MAX = 3
_AGAIN = "enrol this zone again with a new token: jinbao ca token"


class Event(Protocol):
    """Where what happened is told: a log line."""

    def __call__(self, name: str, /, **values: object) -> None:
        """One fact."""
        ...


class AlarmedError(IdentityError):
    """Refused although the proof holds: somebody else has this token or key."""


class Enrolling:
    """Answers requests for one authority. `topology` is the newest signed one, None before there is any."""

    def __init__(
        self,
        authority: Authority,
        topology: Callable[[], Topology | None],
        now: Callable[[], datetime],
        event: Event,
    ) -> None:
        self._authority, self._topology, self._now, self._event = authority, topology, now, event

    def enrol(self, request: wire.EnrolRequest) -> wire.EnrolResponse:
        """Certificates for the zones of a token; raises UnprovableError or IdentityError."""
        claim = wire.EnrolClaim()
        _parse(claim, request.claim)
        with self._authority.acting() as state:
            token = state.tokens.get(claim.token_id)
            if token is None:
                raise IdentityError("token", expected="one of this authority", got="one it does not know")
            proof = prove_claim(bytes.fromhex(token.secret_sha256), request.claim)
            if not hmac.compare_digest(proof, request.proof):
                raise UnprovableError(f"token {token.id}: proof", expected="by its secret", got="another")
            with self._alarming(state, f"token:{token.id}", token.node):
                zones = [self._zone(state, token, claim, keys) for keys in _bounded(claim.zones)]
            pairs = [
                (identity.endpoint.zone, self._sign(state, identity, keys, f"token:{token.id}"))
                for identity, keys in zones
            ]
        return self._response(pairs, "zone_enrolled")

    def _zone(
        self, state: State, token: TokenState, claim: wire.EnrolClaim, keys: wire.ZoneKeys
    ) -> tuple[Identity, ProvedKeys]:
        """One zone of a claim, found good; nothing is signed before all of them are."""
        thing = f"token {token.id}"
        if claim.node != token.node or keys.zone not in token.zones:
            raise AlarmedError(
                thing,
                expected=f"{token.node} and {', '.join(token.zones)}",
                got=f"{claim.node[:20]} and {keys.zone[:20]}",
            )
        endpoint = Endpoint(token.node, Zone(keys.zone))
        identity = Identity(state.domain, Tier(token.tier), token.region, endpoint, token.epoch)
        self._authority.check_epoch(identity)
        proved = prove(ZoneRequest(keys.line_request, keys.seal_request), identity)
        if str(endpoint) in token.used:
            self._check_same(state, str(endpoint), f"token:{token.id}", proved)
        elif self._now() > token.expires:
            raise AlarmedError(
                thing,
                expected=f"to be used before {token.expires:%Y-%m-%dT%H:%M:%SZ}",
                got=f"{self._now():%Y-%m-%dT%H:%M:%SZ}",
                next_step=_AGAIN,
            )
        else:
            self._check_right(identity, founding=token.founding)
        return identity, proved

    def _check_same(self, state: State, about: str, via: str, keys: ProvedKeys) -> None:
        """Clause 9.3: what was used before is used again by the same keys only."""
        line, seal = _issued(state, about, via)
        if (line.key, seal.key) != keys.hashes:
            raise AlarmedError(
                f"{via} of {about}", expected="the keys it was used with", got="others", next_step=_AGAIN
            )

    def _check_right(self, identity: Identity, *, founding: bool) -> None:
        """Raise unless the topology of today grants what is asked for."""
        topology = self._topology()
        if topology is None and not founding:
            raise IdentityError(
                f"zone {identity.endpoint}", expected="a signed topology at the authority", got="none"
            )
        if topology is not None:
            check_row(identity, self._authority.in_force(topology))
        self._authority.may_certify(identity, topology)

    def _sign(self, state: State, identity: Identity, keys: ProvedKeys, via: str) -> Pair:
        """Certificates for a zone; those it was given before by the same right, if it was."""
        found = _issued(state, str(identity.endpoint), via)
        if found:
            return self._authority.pair(*(one.certificate for one in found))
        return self._authority.sign_pair(identity, keys, now=self._now(), life=None, via=via)

    def renew(self, request: wire.RenewRequest) -> wire.EnrolResponse:
        """New certificates for new keys of a zone; raises UnprovableError or IdentityError."""
        sealed = envelope_of(request.envelope)
        claim = wire.RenewClaim()
        leaf = _signer_of(sealed)
        _parse(claim, sealed.payload)
        with self._authority.acting() as state:
            held = state.issued.get(leaf.serial_number)
            if held is None or held.certificate != leaf or held.use is not Use.SEAL:
                raise IdentityError(
                    "renewal: signer", expected="a certificate of this authority", got="another"
                )
            identity, via = parse_identity(leaf), f"renewal:{leaf.serial_number:x}"
            if claim.endpoint != held.about:
                raise IdentityError("renewal", expected=held.about, got=claim.endpoint[:40])
            keys = prove(ZoneRequest(claim.keys.line_request, claim.keys.seal_request), identity)
            with self._alarming(state, via, identity.endpoint.node):
                self._check_renewal(state, held, identity, keys, via)
            pair = self._sign(state, identity, keys, via)
        return self._response([(identity.endpoint.zone, pair)], "zone_renewed")

    def _check_renewal(
        self, state: State, held: Issued, identity: Identity, keys: ProvedKeys, via: str
    ) -> None:
        self._authority.check_epoch(identity)
        both = (held, *_issued(state, held.about, held.via))
        revoked = next((state.revoked[one.serial] for one in both if one.serial in state.revoked), None)
        if revoked is not None:
            raise AlarmedError(
                f"certificate {revoked.serial:x} of {held.about}",
                expected="one that was not taken back",
                got=f"revoked at {revoked.at:%Y-%m-%dT%H:%M:%SZ}",
                next_step=_AGAIN,
            )
        if _issued(state, held.about, via):
            self._check_same(state, held.about, via, keys)
            return
        end = held.certificate.not_valid_after_utc
        if self._now() > end:
            raise IdentityError(
                f"certificate {held.serial:x} of {held.about}",
                expected="one that is in force",
                got=f"ended at {end:%Y-%m-%dT%H:%M:%SZ}",
                next_step=_AGAIN,
            )
        self._check_right(identity, founding=identity.endpoint.node == state.node)
        if any(one.key in keys.hashes for one in state.issued.values()):
            raise IdentityError(
                f"renewal of {held.about}", expected="new keys", got="keys that had a certificate"
            )

    def _alarming(self, state: State, via: str, node: str) -> _Alarm:
        return _Alarm(self._authority, state, via, node, self._now(), self._event)

    def _response(self, pairs: list[tuple[Zone, Pair]], event: str) -> wire.EnrolResponse:
        self._authority.crl(self._now(), due_only=True)
        for _zone, pair in pairs:
            about = parse_identity(pair.line[0]).endpoint
            self._event(
                event, endpoint=str(about), until=f"{pair.line[0].not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
            )
        return wire.EnrolResponse(
            zones=[
                wire.ZoneCertificates(
                    zone=zone, line_chain=map(der, pair.line), seal_chain=map(der, pair.seal)
                )
                for zone, pair in pairs
            ],
            anchors=map(der, self._authority.roots()),
            trust=self._authority.documents(),
        )

    def trust(self, request: wire.TrustRequest) -> wire.TrustResponse:
        """What others need to trust, as it is: anybody may ask, so that nothing is signed for it (clause 9.6)."""
        del request
        return wire.TrustResponse(trust=self._authority.documents())

    def answer_file(self, content: bytes) -> bytes:
        """The answer to a request that came as a file, as a file."""
        file = wire.EnrolmentFile()
        _parse(file, content)
        kind = file.WhichOneof("content")
        if kind == "enrol":
            response = self.enrol(file.enrol)
        elif kind == "renew":
            response = self.renew(file.renew)
        else:
            raise UnprovableError("request file", expected="an enrolment or a renewal", got=kind or "nothing")
        return wire.EnrolmentFile(response=response).SerializeToString()


class _Alarm:
    """Records and tells a refusal of somebody whose proof holds; each once, so that nobody fills the ledger."""

    def __init__(
        self, authority: Authority, state: State, via: str, node: str, now: datetime, event: Event
    ) -> None:
        self._authority, self._state, self._via, self._node = authority, state, via, node
        self._now, self._event = now, event

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(self, _kind: object, exc: BaseException | None, _trace: object) -> None:
        """Record an alarm; the error goes on to whoever asked."""
        if not isinstance(exc, JinbaoError):
            return
        self._event("enrolment_refused", via=self._via, node=self._node, reason=str(exc), code=exc.code)
        refusal = (self._via, exc.thing)
        if isinstance(exc, AlarmedError) and refusal not in self._state.refusals:
            self._authority.record("refused", self._now, via=self._via, thing=exc.thing, got=str(exc.got))


def _issued(state: State, about: str, via: str) -> tuple[Issued, ...]:
    """Line and seal certificate a zone was given by one right, or nothing."""
    found = {one.use: one for one in state.issued.values() if one.about == about and one.via == via}
    return (found[Use.LINE], found[Use.SEAL]) if found else ()


def _signer_of(sealed: SealedBatch) -> x509.Certificate:
    """The certificate whose key for seals made a renewal, once the seal is proved."""
    if sealed.suite != INTL:
        raise UnprovableError("renewal: suite", expected=INTL, got=sealed.suite[:40])
    return signer_of(sealed, RENEWAL_TYPE)[0]


def _bounded(zones: object) -> list[wire.ZoneKeys]:
    found: list[wire.ZoneKeys] = list(zones)  # type: ignore[call-overload]  # a repeated field has no type of its own
    if not 0 < len(found) <= _ZONES_MAX or len({one.zone for one in found}) != len(found):
        raise UnprovableError("claim: zones", expected=f"1 to {_ZONES_MAX}, each once", got=len(found))
    return found


def _parse(message: Message, content: bytes) -> None:
    """Read a message within bounds; raises UnprovableError for bytes that are none."""
    thing = type(message).__name__
    if len(content) > CLAIM_BYTES_MAX:
        raise UnprovableError(thing, expected=f"at most {CLAIM_BYTES_MAX} bytes", got=len(content))
    try:
        message.ParseFromString(content)
    except DecodeError as exc:
        raise UnprovableError(thing, expected="a message of the contract", got=str(exc)[:80]) from exc
