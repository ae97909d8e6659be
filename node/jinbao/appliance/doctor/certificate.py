"""Certificate 证书: the zone's keys, what they certify, how long, and whether the way to a trusted root holds.

Modes of key files are `permissions`' matter. Renews nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from cryptography import x509

from jinbao.appliance.doctor.context import ZoneContext
from jinbao.appliance.doctor.findings import Finding, State, UnknownError, Words, same
from jinbao.authority.identity_files import ZoneIdentity, generation
from jinbao.authority.renewal import Renewal, standing
from jinbao.model.errors import IdentityError, JinbaoError, RevocationUnknownError
from jinbao.trust.identity import Use, parse_identity
from jinbao.trust.suites import P256

_TOKEN = Words(
    "the authority makes the token: jinbao ca token DIR --node {node} --out FILE",
    "令牌由发证机构生成：jinbao ca token DIR --node {node} --out FILE",
)


def look(zone: ZoneContext) -> Iterator[Finding]:
    """One finding for each chain, or one for what keeps both from being read."""
    _require_readable(zone)
    try:
        identity = zone.identity
        named = parse_identity(identity.chain[0]).endpoint
    except JinbaoError as exc:
        yield _red(zone, "certificate.broken", same(exc.expected), same(exc.got), exc.thing)
        return
    if named != zone.me:
        yield _red(zone, "certificate.foreign", same(zone.me), same(named), str(identity.directory))
        return
    zone.trouble  # noqa: B018  # takes up what was recorded: newer lists and authorities
    chains = {Use.LINE: identity.tls_chain, _seal_use(identity): identity.seal_chain or identity.chain}
    for use, chain in chains.items():
        yield _judged(zone, use, chain)


def _seal_use(identity: ZoneIdentity) -> Use:
    return Use.SEAL if identity.suite != P256 else Use.LINE


def _require_readable(zone: ZoneContext) -> None:
    directory = zone.directory / "identity"
    if directory.is_dir() and not os.access(generation(directory), os.R_OK | os.X_OK):
        raise UnknownError(
            Words(
                "this account may not read the keys: run as the zone's own",
                "本账户无权读取密钥：请以分区账户运行",
            )
        )


def _enrol(zone: ZoneContext) -> tuple[str, Words]:
    node = zone.settings.node
    return zone.command("enrol --token FILE"), Words(*(text.format(node=node) for text in _TOKEN))


def _red(zone: ZoneContext, code: str, expected: Words, got: Words, thing: str) -> Finding:
    fix, advice = _enrol(zone)
    return Finding(code, State.RED, expected, got, thing, fix, advice)


def _judged(zone: ZoneContext, use: Use, chain: Sequence[x509.Certificate]) -> Finding:
    leaf, now = chain[0], zone.now
    days = round((leaf.not_valid_after_utc - now).total_seconds() / 86_400, 1)
    until, numbers = f"{leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC", {"days_left": days}
    where = standing(leaf, now)
    if where is Renewal.ENDED:
        got = Words(f"ended {until}", f"已于 {until} 到期")
        fix, advice = _enrol(zone)
        expected = Words("one in force", "在有效期内")
        return Finding("certificate.ended", State.RED, expected, got, str(use), fix, advice, numbers)
    found = _proved(zone, use, chain, numbers)
    if found is None and where is Renewal.ALARM:
        expected = Words("renewed in the first two thirds of its life", "在有效期前三分之二内续期")
        got = Words(f"ends {until}", f"{until} 到期")
        fix = zone.command("enrol --renew --reason 'certificate late'")
        return Finding("certificate.late", State.WARNING, expected, got, str(use), fix, numbers=numbers)
    good = Words(f"until {until}, chain whole", f"有效至 {until}，证书链完整")
    return found or Finding("certificate.ok", State.OK, got=good, thing=str(use), numbers=numbers)


def _proved(
    zone: ZoneContext, use: Use, chain: Sequence[x509.Certificate], numbers: dict[str, float]
) -> Finding | None:
    """What is wrong with the way from a leaf to a root; None where nothing is."""
    try:
        zone.keeper.book().prove(chain[0], chain[1:], zone.now, use)
    except RevocationUnknownError as exc:
        zone.facts  # noqa: B018  # where the database cannot be read, a newer list may lie in it: unknown
        fix = zone.command("trust import FILE --reason 'newer list'")
        advice = Words(
            "the authority makes the list: jinbao ca crl DIR", "吊销列表由发证机构生成：jinbao ca crl DIR"
        )
        return Finding(
            "certificate.list", State.RED, same(exc.expected), same(exc.got), exc.thing, fix, advice, numbers
        )
    except IdentityError as exc:
        fix, advice = _enrol(zone)
        return Finding(
            "certificate.unproved",
            State.RED,
            same(exc.expected),
            same(exc.got),
            exc.thing,
            fix,
            advice,
            numbers,
        )
    return None
