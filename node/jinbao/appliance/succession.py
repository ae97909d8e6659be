"""Succession 承继: whether a zone still holds its identity, and whether it has taken over what the holder before had.

A grant of the parent names the epoch that counts. A zone of an older one is superseded: it seals nothing any more
and is read only. A zone of a newer one than its journal knows was built for it: it seals nothing before it has taken
back what was sent (`flow.healing`). Grants nothing and takes nothing back itself.
"""

from __future__ import annotations

from collections.abc import Callable

from jinbao.appliance.zone_lock import Purpose
from jinbao.model.errors import SupersededError, UnhealedError
from jinbao.model.topology import Topology
from jinbao.model.zone import Endpoint


class Succession:
    """One zone's place among the holders of its identity; asked before everything it seals."""

    def __init__(
        self,
        me: Endpoint,
        *,
        topology: Callable[[], Topology],
        epoch: Callable[[], int],
        begun: Callable[[], int],
    ) -> None:
        """`epoch` is that of our certificate, `begun` the newest one our journal knows as ours."""
        self._me, self._topology = me, topology
        self._epoch, self._begun = epoch, begun
        self._settled = 0

    @property
    def epoch(self) -> int:
        """The epoch of the identity we hold."""
        return self._epoch()

    @property
    def is_superseded(self) -> bool:
        """Whether our identity has another holder."""
        row = self._topology().row(self._me.node)
        return row is not None and row.epoch > self._epoch()

    @property
    def is_unhealed(self) -> bool:
        """Whether we were built for an epoch that our journal does not know yet."""
        if self._settled != self._epoch() and self._epoch() <= self._begun():
            self._settled = self._epoch()
        return self._settled != self._epoch()

    def require_sealer(self) -> None:
        """Raise as the two below where nothing may be sealed."""
        self.require_holder()
        self.require_healed()

    def require_holder(self) -> None:
        """Raise SupersededError where another holds our identity."""
        if self.is_superseded:
            row = self._topology().by_node[self._me.node]
            raise SupersededError(
                f"zone {self._me}",
                expected=f"the identity at epoch {row.epoch}, which was granted to another holder",
                got=f"epoch {self._epoch()}: it is read only",
                next_step="jinbao standby rejoin; docs/how-to/take-back-an-old-node.md",
            )

    def require_able(self, purpose: Purpose) -> None:
        """Raise UnhealedError for a zone that is to serve and must ask its neighbours first; one superseded may answer."""
        if purpose is Purpose.SERVE and not self.is_superseded:
            self.require_healed()

    def require_healed(self) -> None:
        """Raise UnhealedError where what the holder before had sent is not taken back."""
        if self.is_unhealed:
            raise UnhealedError(
                f"zone {self._me}",
                expected=f"what was sent before epoch {self._epoch()} taken back from those who have it",
                got="a zone that was built and asked nobody yet",
                next_step="jinbao standby promote, once more; docs/how-to/promote-a-backup.md",
            )
