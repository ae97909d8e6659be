"""Whether two sealed batches exclude each other, judged by seals alone (clauses 2.5 and 2.6)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.trust.example import CITY, FIRST, PROVINCE, SIBLING, Network

from jinbao.model.batch import Header
from jinbao.model.errors import PeerError, RollbackError, UnprovableError
from jinbao.model.stream import Mark, StreamId
from jinbao.trust.encoding import short_of
from jinbao.trust.envelope import head_of, seal
from jinbao.trust.proof import Ground, judge
from jinbao.trust.verify import check_short

SECOND = replace(FIRST, seq=2, previous="0f" * 32)
RECEIPTS = replace(FIRST, stream=StreamId(PROVINCE, "receipts", "140100"))


@pytest.mark.parametrize(
    ("held", "shown", "ground"),
    [
        (FIRST, replace(FIRST, run="another"), Ground.TWO_HEADS),
        (FIRST, SECOND, Ground.TWO_PASTS),
        (SECOND, FIRST, Ground.EARLIER),
        (FIRST, RECEIPTS, Ground.RECEIPT),
    ],
    ids=lambda part: str(part) if isinstance(part, Ground) else "",
)
def test_two_batches_prove_a_contradiction(
    network: Network, held: Header, shown: Header, ground: Ground
) -> None:
    """Two seals of one identity that cannot both stand in one stream say why."""
    assert judge(network.seal(held), network.seal(shown), network.verifier().prove) == ground


def test_batches_that_fit_prove_nothing(network: Network) -> None:
    """A batch and the one after it, another's batch, another incarnation, and one batch sealed twice are no proof."""
    first, second = network.chain(2)
    others = [
        second,
        network.seal(FIRST),
        network.seal(replace(FIRST, incarnation="b" * 32)),
        network.seal(replace(FIRST, stream=StreamId(SIBLING, "pension_macro"))),
        network.seal(replace(FIRST, stream=StreamId(CITY, "unemployment_monitor"), run="another")),
    ]

    for other in others:
        with pytest.raises(UnprovableError, match="two batches that exclude each other"):
            judge(first, other, network.verifier().prove)


def test_a_seal_that_does_not_hold_proves_nothing(network: Network) -> None:
    """Nobody is accused by a batch that somebody else sealed, or that was altered."""
    first, other = network.seal(FIRST), replace(FIRST, run="another")
    forged = [seal(other, network.identity(SIBLING)), replace(network.seal(other), signature=first.signature)]

    for shown in forged:
        with pytest.raises(PeerError):
            judge(first, shown, network.verifier().prove)


def test_only_the_origin_can_roll_back(network: Network) -> None:
    """An older header as the answer to our mark is a rollback of the origin, a relay that is behind, or a late answer."""
    first, second = network.chain(2)
    mark = Mark(FIRST.stream, FIRST.incarnation, 1, 2, head_of(second))
    shown = short_of(first, mark)

    assert check_short(shown, mark, PROVINCE)
    assert not check_short(shown, replace(mark, seq=3), CITY)
    with pytest.raises(
        RollbackError, match="expected batch 2, which it has shown, or a later one, got batch 1"
    ):
        check_short(shown, mark, CITY)
