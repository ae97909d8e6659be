"""When a certificate is to be renewed, and when it is late: pure questions about two certificates and a moment.

Half of a life is for work, the rest for getting through to the authority. Zones that enrolled on one
day do not ask in one minute: each adds up to a twentieth of its life, by its serial number.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from cryptography import x509

DUE_FROM, JITTER, ALARM_FROM = 1 / 2, 1 / 20, 2 / 3
"""Shares of a life: asked for from a half and up to a twentieth more, alarmed from two thirds on."""

_STEPS = 1000


class Renewal(StrEnum):
    """Where a certificate stands."""

    FRESH = "fresh"
    DUE = "due"  # ask, and go on asking
    ALARM = "alarm"  # ask, and tell a person: offline renewal is a way
    ENDED = "ended"  # only a new token helps


def standing(certificate: x509.Certificate, now: datetime, *, is_tainted: bool = False) -> Renewal:
    """Where a certificate stands at `now`; one of a tainted authority is due at once."""
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > last:
        return Renewal.ENDED
    life = last - first
    if now >= first + life * ALARM_FROM:
        return Renewal.ALARM
    return Renewal.DUE if is_tainted or now >= due_at(certificate) else Renewal.FRESH


def due_at(certificate: x509.Certificate) -> datetime:
    """The moment from which a certificate is to be renewed."""
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    jitter = JITTER * (certificate.serial_number % _STEPS) / _STEPS
    return first + (last - first) * (DUE_FROM + jitter)
