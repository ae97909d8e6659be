"""`jinbao ca grant`: a node's identity has another holder, and its authority certifies that one from now on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jinbao.cli.asking import json_option
from jinbao.cli.ca_options import (
    PATH,
    directory_argument,
    done,
    now,
    opened,
    passphrase_option,
    topology_of,
    topology_option,
)
from jinbao.cli.words import t

if TYPE_CHECKING:
    from jinbao.model.batch import SealedBatch


@click.command(
    help=t(
        "Take in a grant that a node's parent sealed: certificates of older epochs are taken back, tokens and renewals "
        "are for the new one. Safe to repeat. The root node has no parent: --root-epoch instead of a file.",
        "登记上级签封的授予：吊销旧纪元证书，此后令牌和续期均按新纪元。可重复执行。根节点无上级，以 --root-epoch 代替文件。",
    ),
    epilog="jinbao ca grant ca-140000 140100.grant --topology topology.sealed",
)
@directory_argument
@click.argument("file", type=PATH, metavar="[GRANTFILE]", required=False)
@click.option(
    "--above", type=PATH, multiple=True, metavar="GRANTFILE",
    help=t("grant of a node above that was itself promoted, where the topology does not say so yet", "上级自身被切换时其授予文件，拓扑尚未载明时给出"),
)  # fmt: skip
@click.option(
    "--root-epoch",
    type=click.IntRange(min=2),
    help=t("the ministry's node has another holder, at this epoch", "部级节点由新持有者接替，纪元为此数"),
)
@topology_option
@passphrase_option
@json_option
def grant(
    directory: Path,
    file: Path | None,
    above: tuple[Path, ...],
    root_epoch: int | None,
    topology: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Recorded, taken back, listed: each durable before the next."""
    from jinbao.authority import granting
    from jinbao.model.errors import UsageError

    if (file is None) == (root_epoch is None) or (file and not topology) or (above and not file):
        raise UsageError(
            "what is granted",
            expected="a grant with --topology, or --root-epoch",
            got="one without the other" if bool(file) != bool(root_epoch) else "both" if file else "neither",
        )
    authority = opened(directory, passphrase_file)
    known = topology_of(topology, authority)
    if file is None or known is None:
        assert root_epoch is not None, "one of both was given"
        taken = granting.succeed(authority, root_epoch, now(), known)
    else:
        sealed = [_sealed(path) for path in above]
        taken = granting.take_in(authority, _sealed(file), known, now(), above=sealed)
    serials = [f"{serial:x}" for serial in taken.revoked]
    done(
        as_json,
        t(
            f"{taken.node} is at epoch {taken.epoch}; {len(serials)} certificates of older epochs taken back, "
            "hand out the new list: jinbao ca export; token of the new holder: jinbao ca token",
            f"{taken.node} 已为纪元 {taken.epoch}；吊销旧纪元证书 {len(serials)} 张，"
            "请分发新列表：jinbao ca export；新持有者令牌：jinbao ca token",
        ),
        node=taken.node,
        epoch=taken.epoch,
        revoked=serials,
    )


def _sealed(path: Path) -> SealedBatch:
    """A sealed grant from its file; nothing of it is believed yet."""
    from jinbao.model.errors import SettingsError
    from jinbao.trust.encoding import decode_envelope

    try:
        return decode_envelope(path.read_bytes())
    except OSError as exc:
        raise SettingsError(f"grant {path}", expected="a signed file", got=str(exc)) from exc
