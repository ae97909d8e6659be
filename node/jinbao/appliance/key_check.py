"""Whether a private key opens the copies a backup site keeps, tried before it is needed: every key of every zone.

Opens no copy: the zones' wrapped keys are small and lie apart from it. Asks no zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinbao.appliance.restoring import opens_of
from jinbao.appliance.settings import Settings
from jinbao.model.errors import LocalError, UsageError
from jinbao.model.zone import Zone
from jinbao.standby.objects import RINGS, Ring, read_ring

PURPOSES = ("drill", "escrow")


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one zone: how many of its keys were opened, and the names of those that were not."""

    zone: str
    opened: int
    shut: tuple[str, ...]

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"shut": list(self.shut)}


def check_keys(settings: Settings, keys: Sequence[Path], passphrases: Sequence[Path]) -> list[Tried]:
    """Try private keys on every zone's wrapped keys, by zone.

    Raises LocalError where there is nothing to open, and what reading the private keys raises.
    """
    opens = opens_of(keys, passphrases, PURPOSES)
    rings = {path.stem: read_ring(path) for path in sorted(_rings(settings).glob("*.json"))}
    if opens is None or not any(rings.values()):
        raise LocalError(
            f"copies at {settings.node}", expected="a key to try, and keys of a protected zone", got="none"
        )
    found = []
    for zone, ring in rings.items():
        shut = tuple(name for name in _names(ring) if not _is_opened(opens, name, ring))
        found.append(Tried("/".join(zone.rsplit("-", 1)), len(_names(ring)) - len(shut), shut))
    return found


def _rings(settings: Settings) -> Path:
    return settings.directory(Zone.EXCHANGE) / RINGS


def _names(ring: Ring) -> list[str]:
    return sorted({key for key, _ in ring})


def _is_opened(opens: Any, name: str, ring: Ring) -> bool:
    try:
        opens(name, [wrapped for (key, _), wrapped in ring.items() if key == name])
    except UsageError:
        return False
    return True
