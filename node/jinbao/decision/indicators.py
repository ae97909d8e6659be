"""Every indicator the decision zone computes, by id: both libraries in one catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from jinbao.decision.measures import Indicator
from jinbao.decision.pension import PENSION
from jinbao.decision.unemployment import UNEMPLOYMENT

INDICATORS: Mapping[str, Indicator] = MappingProxyType({i.id: i for i in (*PENSION, *UNEMPLOYMENT)})


def of_library(library: str) -> tuple[Indicator, ...]:
    """The indicators of one library, by id."""
    return tuple(i for i in INDICATORS.values() if i.library == library)
