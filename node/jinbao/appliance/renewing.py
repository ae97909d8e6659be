"""Renewal of a zone's certificates by the zone itself: in time, with new keys, over the network where it may.

Asks from half of a life on and goes on asking; a failure is told, and from two thirds of the
life on it is a reason for the zone not to be well. A decision zone opens no connection: it is
renewed by file, and says so when it is time. What was renewed is taken up by `TrustKeeper.reload`.
"""

from __future__ import annotations

from jinbao.appliance import enrolment
from jinbao.appliance.assembly import OpenZone
from jinbao.authority.joining import enrolment_of
from jinbao.authority.renewal import Renewal, standing
from jinbao.model.errors import JinbaoError, LocalError
from jinbao.model.zone import Zone

_ORDER = [Renewal.FRESH, Renewal.DUE, Renewal.ALARM, Renewal.ENDED]


def zone_standing(zone: OpenZone) -> Renewal:
    """Where the worse of a zone's certificates stands; one of a tainted authority is due at once."""
    book, now, identity = zone.trust.book(), zone.ports.now(), zone.identity
    chains = [chain for chain in (identity.tls_chain, identity.seal_chain) if chain]
    found = [standing(c[0], now, is_tainted=len(c) > 1 and book.is_tainted(c[1])) for c in chains]
    return max(found, key=_ORDER.index)


class Renewing:
    """One step asks the authority once, if it is time."""

    def __init__(self, zone: OpenZone) -> None:
        self._zone = zone

    def step(self) -> bool:
        """Renew if it is due; whether another identity lies on disk now.

        Raises LocalError, or what the authority said, once it is late.
        """
        found = zone_standing(self._zone)
        if found is Renewal.FRESH:
            return False
        if found is Renewal.ENDED:
            raise self._late("ended", "enrol this zone with a new token: jinbao enrol --token FILE")
        try:
            return self._renew(found)
        except JinbaoError as exc:
            if found is Renewal.ALARM:
                raise
            self._zone.observer.event("renewal_failed", code=exc.code, reason=str(exc))
            return False

    def _renew(self, found: Renewal) -> bool:
        zone = self._zone
        by_network = zone.me.zone is not Zone.DECISION and all(enrolment_of(zone.identity))
        if not by_network:
            if found is Renewal.ALARM:
                raise self._late(
                    "in force until then", f"jinbao enrol --renew --zone {zone.me.zone} --request FILE"
                )
            return False
        directory = zone.settings.directory(zone.me.zone) / "identity"
        with zone.trust.renewal:
            enrolment.renew(zone.me.zone, directory, zone.ports.now())
        return True

    def _late(self, got: str, next_step: str) -> LocalError:
        until = f"{self._zone.identity.until:%Y-%m-%dT%H:%M:%SZ}"
        return LocalError(
            f"certificate of {self._zone.me} until {until}",
            expected="one renewed in the first two thirds of its life",
            got=got,
            next_step=next_step,
        )
