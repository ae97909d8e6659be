"""What an authority grants and for how long: every number with its unit and its reason. Decides, signs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from jinbao.model.errors import LocalError, UsageError

BACKDATED = timedelta(minutes=5)
"""A certificate holds from a little before its issue: clocks differ by less than this."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Lives and limits of one authority.

    `leaf` 14 days, from 7 to 30: a line that is down for a week must not cost a zone its name, and a
    stolen key must not be good for a season. `issuing` 3 years and `root` 20: a parent lives more than
    `times` its child, so that a rotation always has room. `crl` a day, `root_crl` half a year: the root
    is offline. `token` 10 minutes, `token_max` 30 days: what is carried by hand takes longer.
    `tokens_open_max` 500: a province enrols all of its zones in one campaign.
    """

    leaf: timedelta = timedelta(days=14)
    leaf_min: timedelta = timedelta(days=7)
    leaf_max: timedelta = timedelta(days=30)
    issuing: timedelta = timedelta(days=1096)
    root: timedelta = timedelta(days=7305)
    times: int = 6
    crl: timedelta = timedelta(hours=24)
    root_crl: timedelta = timedelta(days=180)
    token: timedelta = timedelta(minutes=10)
    token_max: timedelta = timedelta(days=30)
    tokens_open_max: int = 500


def leaf_life(policy: Policy, asked: timedelta | None) -> timedelta:
    """The life of a leaf; raises UsageError outside what the policy allows."""
    life = policy.leaf if asked is None else asked
    if not policy.leaf_min <= life <= policy.leaf_max:
        raise UsageError(
            "life of a certificate",
            expected=f"{policy.leaf_min.days} to {policy.leaf_max.days} days",
            got=f"{life.total_seconds() / 86400:g}",
        )
    return life


def token_life(policy: Policy, asked: timedelta | None) -> timedelta:
    """The life of a token; raises UsageError outside what the policy allows."""
    life = policy.token if asked is None else asked
    if not timedelta(0) < life <= policy.token_max:
        most = policy.token_max.total_seconds() / 60
        raise UsageError(
            "life of a token", expected=f"up to {most:g} minutes", got=f"{life.total_seconds() / 60:g}"
        )
    return life


def check_parent(policy: Policy, parent: x509.Certificate, life: timedelta, now: datetime, name: str) -> None:
    """Raise LocalError unless `parent` lives more than `times` the life of `name` and does not end before it."""
    whole = parent.not_valid_after_utc - parent.not_valid_before_utc
    if whole <= life * policy.times:
        raise LocalError(
            f"life of {name}",
            expected=f"less than a {policy.times}th of its authority's {whole.days} days",
            got=f"{life.days} days",
            next_step="ask for a shorter life, or rotate the authority with a longer one",
        )
    if now + life > parent.not_valid_after_utc:
        raise LocalError(
            f"life of {name}",
            expected=f"an end before its authority's, {parent.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
            got=f"{now + life:%Y-%m-%dT%H:%M:%SZ}",
            next_step="rotate the authority: jinbao ca rotate",
        )
