"""Projections: how a room's tables follow from the journal's acts (invariant 13).

A room writes its tables only here, so that replaying a journal into an empty database
gives the same tables. Bulk rows of an act are staged before the transaction opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa

from jinbao.model.acts import Act
from jinbao.store.engine import Store, Transaction
from jinbao.store.stage import Stage


@dataclass(frozen=True, slots=True)
class Recorded:
    """An act with its place in the journal: `lsn` 1, 2, 3 …, `at` UTC for people."""

    lsn: int
    act: Act
    at: str


class Projection(Protocol):
    """One room's reading of the acts it knows."""

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of acts this projection reads; others are never shown to it."""
        ...

    @property
    def tables(self) -> Sequence[sa.Table]:
        """Every table this projection writes, and nobody else."""
        ...

    def stage(self, store: Store, act: Act) -> tuple[Stage, ...]:
        """Prepare the act's bulk rows, before the transaction."""
        ...

    def project(self, tx: Transaction, recorded: Recorded, stages: tuple[Stage, ...]) -> None:
        """Write what the act means for this room's tables."""
        ...
