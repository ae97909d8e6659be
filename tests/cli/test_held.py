"""A held stream as an operator sees it: both sides shown, written to a file, and let go with a reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.conftest import Say
from tests.cli.harness import Net
from tests.conftest import Golden

from jinbao.appliance.assembly import open_zone
from jinbao.appliance.settings import load
from jinbao.authority.identity_files import load_identity
from jinbao.model import acts
from jinbao.model.acts import envelope_of
from jinbao.model.receipt import Receipt, Stage
from jinbao.model.stream import StreamId
from jinbao.model.zone import Endpoint, Zone
from jinbao.trust.encoding import decode_header
from jinbao.trust.envelope import head_of, seal

STREAM = StreamId(Endpoint("140100", Zone.PRODUCTION), "pension_macro")


@pytest.fixture
def held(net: Net) -> Iterator[Net]:
    """The province holds a library of the city, which showed it two manifests; afterwards all is as before."""
    home, kept = net.directory / "140000", net.directory / "140000-kept"
    shutil.copytree(home / Zone.EXCHANGE, kept, symlinks=True)
    zone = open_zone(load(Path(net.config("140000"))), Zone.EXCHANGE)
    mark = zone.index.mark(STREAM)
    ours = zone.index.batch(STREAM, mark.seq, mark.head)
    assert ours is not None
    header = replace(decode_header(ours.payload), run="another", made_at="2024-11-05T00:00:00.000Z")
    shown = seal(header, load_identity(net.directory / "140100" / Zone.PRODUCTION / "identity"))
    reason = "expected one head, got two"
    word = Receipt(
        zone.me, STREAM, mark.seq, head_of(shown), Stage.HELD, 0, "", reason, zone.ports.now_text()
    )
    act = acts.held(STREAM, mark.seq + 1, "equivocation", reason, [ours, shown])
    zone.ledger.record(act, acts.receipt_due(word))
    zone.close()
    yield net
    shutil.rmtree(home / Zone.EXCHANGE)
    shutil.move(kept, home / Zone.EXCHANGE)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_both_sides_are_shown(held: Net, say: Say, golden: Golden, lang: str) -> None:
    """`line proof` says why, what both heads prove, and where each stands."""
    said = say("line", "proof", str(STREAM), "--config", held.config("140000"), lang=lang)

    assert (said.err, said.code) == ("", 0)
    golden(f"{lang}/line-proof.txt", held.normal(said.out))


def test_both_sides_are_written_whole(held: Net, say: Say, tmp_path: Path) -> None:
    """`line proof --out` writes both envelopes, which prove the contradiction wherever they are read; JSON stays."""
    out = tmp_path / "proof.json"

    said = say("line", "proof", str(STREAM), "--out", str(out), "--config", held.config("140000"))
    told = json.loads(say("line", "proof", str(STREAM), "--json", "--config", held.config("140000")).out)
    again = str(tmp_path / "again.json")
    both = say("line", "proof", str(STREAM), "--out", again, "--json", "--config", held.config("140000"))

    found = json.loads(out.read_text(encoding="utf-8"))
    assert (said.out, said.err) == ("", f"both sides written to {out}\n")
    assert (json.loads(both.out), both.err, Path(again).read_bytes()) == (told, "", out.read_bytes())
    assert found == told
    assert found["ground"] == "two_heads"
    assert [head_of(envelope_of(side["sealed"])) for side in found["heads"]] == [
        side["head"] for side in found["heads"]
    ]


def test_a_hold_is_ended_with_a_reason(held: Net, say: Say) -> None:
    """`line release` wants a reason, names where the stream goes on, and takes the word to the origin back."""
    asked, config = ("line", "release", str(STREAM)), ("--config", held.config("140000"))

    without = say(*asked, *config)
    empty = say(*asked, "--reason", "", *config)
    said = say(*asked, "--reason", "old copy switched off", *config)
    again = say(*asked, "--reason", "old copy switched off", *config)

    zone = open_zone(load(Path(held.config("140000"))), Zone.EXCHANGE)
    last, due = zone.ledger.acts(kind="released")[-1].act.body, zone.index.receipts_due(99)
    zone.close()
    assert (without.code, empty.code, said.code, again.code) == (2, 2, 0, 2)
    assert said.out.startswith(f"{STREAM} goes on at #")
    assert last["reason"] == "old copy switched off"
    assert [receipt.reason for _, _, receipt in due][-1] == ""


def test_a_stream_that_never_was_held_has_no_proof(net: Net, say: Say) -> None:
    """`line proof` of a stream that was never held, or of none, says so and ends with 2."""
    for stream in (str(STREAM), "pension_macro"):
        said = say("line", "proof", stream, "--config", net.config("100000"))

        assert (said.out, said.code) == ("", 2)
