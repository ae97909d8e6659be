"""When a certificate is due, and when that is an alarm: by its life, its serial number and the clock alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.authority.test_profiles import IDENTITY, ISSUING, NOW

from jinbao.authority import profile
from jinbao.authority.renewal import Renewal, due_at, standing

LIFE = timedelta(days=14)
KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
LEAF = profile.line_leaf(IDENTITY, KEY, ISSUING, NOW, LIFE)
WHOLE = LEAF.not_valid_after_utc - LEAF.not_valid_before_utc


def at(share: float) -> Renewal:
    """Where the certificate stands after a share of its life."""
    return standing(LEAF, LEAF.not_valid_before_utc + WHOLE * share)


@pytest.mark.fault_row(39)
@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, Renewal.FRESH),
        (0.499, Renewal.FRESH),
        (0.551, Renewal.DUE),
        (0.666, Renewal.DUE),
        (0.667, Renewal.ALARM),
        (1.0, Renewal.ALARM),
        (1.0001, Renewal.ENDED),
    ],
)
def test_a_renewal_is_due_from_half_and_alarmed_from_two_thirds(share: float, expected: Renewal) -> None:
    """An authority that does not answer is tried from half of a life on, and a person told from two thirds on."""
    assert at(share) is expected


def test_zones_do_not_ask_at_once() -> None:
    """Certificates of one day are due within a twentieth of their life, not in one minute."""
    leaves = [profile.line_leaf(IDENTITY, KEY, ISSUING, NOW, LIFE) for _ in range(40)]

    moments = [due_at(leaf) - leaf.not_valid_before_utc for leaf in leaves]

    assert all(WHOLE / 2 <= moment <= WHOLE * 0.55 for moment in moments)
    assert max(moments) - min(moments) > LIFE / 40


def test_a_tainted_authority_makes_renewal_due_at_once() -> None:
    """Whatever the age of a certificate, it is due when its authority's key is to be given up."""
    assert standing(LEAF, NOW, is_tainted=True) is Renewal.DUE
    assert standing(LEAF, LEAF.not_valid_after_utc, is_tainted=True) is Renewal.ALARM


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 2), st.floats(0, 2))
def test_a_certificate_never_gets_fresher(first: float, second: float) -> None:
    """The later the clock, the further a certificate stands."""
    order = list(Renewal)

    early, late = sorted((first, second))

    assert order.index(at(early)) <= order.index(at(late))
