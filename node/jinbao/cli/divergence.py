"""The commands of `jinbao standby` for a node whose identity has another holder: diverged, review, rejoin."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jinbao.cli import show
from jinbao.cli.asking import ask, ask_for_file, asking, config_option, json_option
from jinbao.cli.words import t
from jinbao.model.zone import Zone

if TYPE_CHECKING:
    from jinbao.standby.opening import Divergence
    from jinbao.standby.reviewing import Review, TailBatch

LEFT = 3
"""Exit code where the tail holds what the new holder has not."""

_GRANT_BYTES_MAX = 32 << 10

_grant_option = click.option(
    "--grant",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help=t(
        "the grant that ended this node's epoch, a file; for a node that no neighbour could tell",
        "终结本节点纪元的授予文件；用于无邻居可告知的节点",
    ),
)


@click.command(
    help=t(
        "At a superseded zone: write what it recorded after the new holder's cut, with every segment, as one sealed file. "
        "It holds personal data in clear.",
        "在已被接替的分区：将新持有者切点之后的流水及全部数据段写成一个签封文件。其中含明文个人信息。",
    ),
    epilog="jinbao standby diverged --zone production --out 140100-production.divergence",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help=t("file, readable by this account alone", "文件，仅本账户可读"),
)
@_grant_option
@asking(Zone.EXCHANGE)
def diverged(out: Path, grant: Path | None, config: Path, zone: str, as_json: bool) -> None:
    """The zone may run; what it records meanwhile is left to a later file."""
    from jinbao.store.files import Files

    found = ask_for_file(out, config, zone, "standby.diverged", grant=_text_of(grant))
    Files().sync(out)
    Files().sync_directory(out.absolute().parent)
    if as_json:
        show.as_json(found)
        return
    text = t(
        "{zone}: {acts} acts after act {cut}, {segments} segments of {segment_bytes} bytes",
        "{zone}：第 {cut} 条之后 {acts} 条流水，{segments} 段 {segment_bytes} 字节",
    )
    show.result(text.format(**found) if found["acts"] else _nothing(found))
    _warn_missing(found["missing"])


def _text_of(grant: Path | None) -> str:
    """The grant's envelope in base64; empty for none."""
    from jinbao.model.errors import UsageError

    content = grant.read_bytes() if grant is not None else b""
    if len(content) > _GRANT_BYTES_MAX:
        raise UsageError("--grant", expected=f"a grant, at most {_GRANT_BYTES_MAX} bytes", got=len(content))
    return base64.b64encode(content).decode("ascii")


def _nothing(found: dict[str, Any]) -> str:
    return t(
        "{zone}: no tail: its journal ends with act {last}, the new holder was built up to act {cut}",
        "{zone}：无尾部：其流水止于第 {last} 条，新持有者建至第 {cut} 条",
    ).format(**found)


def _warn_missing(missing: int) -> None:
    if missing:
        text = t(
            "{} segments that its acts need were missing or damaged already",
            "其流水所需的 {} 个数据段先前已缺失或损坏",
        )
        show.talk(text.format(missing))


@click.command(
    help=t(
        "Prove a divergence file by what a zone here believes, and show what is in it: which batches the zone has too, "
        "captures, and what persons did. Exit code 3: there are batches that it has not.",
        "以本节点分区的信任核验分歧文件并列出内容：哪些批次本分区也有、采集与转换、人员操作。退出码 3：存在本分区没有的批次。",
    ),
    epilog="jinbao standby review 140100-production.divergence --to /srv/review",
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--to",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help=t(
        "write every segment in clear into this directory, as Parquet",
        "将全部数据段以明文 Parquet 写入此目录",
    ),
)
@asking(Zone.EXCHANGE)
@click.pass_context
def review(
    ctx: click.Context, file: Path, directory: Path | None, config: Path, zone: str, as_json: bool
) -> None:
    """The file is opened here: it may be as large as a disk, and a zone reads nothing a person names."""
    from dataclasses import asdict

    from jinbao.standby.reviewing import lay_out
    from jinbao.standby.reviewing import review as read
    from jinbao.store.files import Files

    found = _proved(file, config, zone)
    made = read(found)
    here = _asked(made.batches, config, zone)
    written = lay_out(found, directory.absolute(), Files()) if directory is not None else 0
    batches = [asdict(one) | said for one, said in zip(made.batches, here, strict=True)]
    if as_json:
        show.as_json(
            _said(found)
            | {
                "batches": batches,
                "runs": list(map(asdict, made.runs)),
                "deeds": list(map(asdict, made.deeds)),
            }
            | {"unshown": made.unshown, "written": written}
        )
    else:
        _show(found, made, batches)
        if directory is not None:
            text = t("{} segments in clear in {}", "{} 个明文数据段写入 {}")
            show.result(text.format(written, directory))
    ctx.exit(LEFT if any(line["here"] != "same" for line in batches) else 0)


def _proved(file: Path, config: Path, zone: str) -> Divergence:
    """The file, proved by what the zone believes; its answer is believed as its roots are, which come with it."""
    from datetime import timedelta

    from jinbao.appliance.assembly import utc_now
    from jinbao.model.grant import granted
    from jinbao.standby.opening import open_divergence
    from jinbao.trust.book import TrustBook
    from jinbao.trust.encoding import decode_envelope, decode_topology
    from jinbao.trust.envelope import parse_certificate
    from jinbao.trust.grants import decode_grant

    said = ask(config, zone, "trust.documents")
    roots = [parse_certificate(base64.b64decode(root)) for root in said["roots"]]
    documents = [base64.b64decode(document) for document in said["documents"]]
    book = TrustBook.of(roots, documents, grace=timedelta(seconds=said["grace_s"]))
    grants = [decode_grant(decode_envelope(base64.b64decode(grant)).payload) for grant in said["grants"]]
    signed = decode_topology(decode_envelope(base64.b64decode(said["topology"])).payload)
    return open_divergence(file, book, granted(signed, grants), utc_now(), grants)


def _asked(batches: list[TailBatch], config: Path, zone: str) -> list[dict[str, Any]]:
    """What the zone says of each batch."""
    from jinbao.appliance.questions.divergence import PLACES_MAX

    found: list[dict[str, Any]] = []
    for first in range(0, len(batches), PLACES_MAX):
        page = batches[first : first + PLACES_MAX]
        places = [{"stream": one.stream, "seq": one.seq, "head": one.head} for one in page]
        found += ask(config, zone, "standby.review", batches=places)["batches"]
    return found


def _said(found: Divergence) -> dict[str, Any]:
    from jinbao.appliance.diverging import body_of

    return body_of(found.said) | {"statement": found.statement}


def _show(found: Divergence, made: Review, batches: list[dict[str, Any]]) -> None:
    said = _said(found)
    if said["acts"]:
        text = t(
            "{zone} at epoch {epoch}: acts {cut} to {last} are not the new holder's (epoch {granted_epoch}); sealed at {made_at}",
            "{zone}（纪元 {epoch}）：第 {cut} 条之后至第 {last} 条流水不属于新持有者（纪元 {granted_epoch}）；签封于 {made_at}",
        )
        show.result(text.format(**said))
    else:
        show.result(_nothing(said))
    if found.statement:
        show.result(t("NOTE: {}", "注意：{}").format(_worded(found.statement)))
    _warn_missing(said["missing"])
    if not said["acts"]:
        return
    kinds = [{"kind": kind, "acts": count} for kind, count in said["kinds"].items()]
    show.table(kinds, {"kind": t("kind", "种类"), "acts": t("acts", "条数")})
    _show_lines(made, batches)
    if made.unshown:
        show.talk(t("{} more lines are not shown", "另有 {} 行未显示").format(made.unshown))


def _worded(statement: str) -> str:
    """How the signer fell short, in the reader's language."""
    superseded, ended = (
        "signed by a certificate taken back as superseded at ",
        "signed by a certificate that had ended at ",
    )
    for english, chinese in (
        (superseded, "签封证书已因被接替而吊销，时间 "),
        (ended, "签封证书已到期，时间 "),
    ):
        if statement.startswith(english):
            return t(statement, chinese + statement.removeprefix(english))
    return statement


def _show_lines(made: Review, batches: list[dict[str, Any]]) -> None:
    from dataclasses import asdict

    here = {"same": t("the same", "相同"), "other": t("ANOTHER", "另有其他"), "none": t("NONE", "无")}
    rows = [line | {"here": here[line["here"]], "head": line["head"][:12]} for line in batches]
    titles = {
        "stream": t("stream", "流"),
        "seq": t("batch", "批次"),
        "kind": t("kind", "种类"),
        "period": t("period", "所属期"),
        "rows": t("rows", "行数"),
        "made_at": t("sealed at", "签封于"),
        "head": t("head", "摘要"),
        "here": t("here", "本分区"),
    }
    if rows:
        show.result("")
        show.table(rows, titles)
    runs = {
        "at": t("at", "时间"),
        "what": t("what", "事项"),
        "run": t("run", "批次号"),
        "library": t("library", "交换库"),
        "period": t("period", "所属期"),
        "rows": t("rows changed or quarantined", "变化或被隔离行数"),
    }
    if made.runs:
        show.result("")
        show.table(list(map(asdict, made.runs)), runs)
    deeds = {
        "at": t("at", "时间"),
        "account": t("account", "账户"),
        "action": t("action", "操作"),
        "arguments": t("arguments", "参数"),
        "reason": t("reason", "原因"),
        "outcome": t("outcome", "结果"),
    }
    if made.deeds:
        show.result("")
        show.table(list(map(asdict, made.deeds)), deeds)


@click.command(
    help=t(
        "At an old node whose identity has another holder, its zones stopped: keep what only it recorded, then set each zone's "
        "directory aside, so that the node can be enrolled anew. Deletes nothing; given again, it goes on.",
        "在身份已由他人持有的旧节点，各分区停止后：保存仅其记录的内容，再将各分区目录改名移开，以便重新入网。"
        "不删除任何内容；可重复执行，中断后继续。",
    ),
    epilog="jinbao standby rejoin --keep /srv/divergence --reason 'promotion of 2026-11-26'",
)
@click.option(
    "--keep",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help=t("directory of the divergence files, made if need be", "分歧文件目录，不存在则建立"),
)
@click.option("--reason", required=True, help=t("why; it is recorded", "原因，将被记录"))
@_grant_option
@config_option
@json_option
def rejoin(keep: Path, reason: str, grant: Path | None, config: Path, as_json: bool) -> None:
    """Every zone or none is begun: no directory is touched before every file is there."""
    import os
    from dataclasses import asdict

    from jinbao.appliance.callers import own
    from jinbao.appliance.rejoining import rejoin as leave
    from jinbao.appliance.settings import load

    envelope = base64.b64decode(_text_of(grant))
    caller = own(os.environ.get("SUDO_USER", ""))
    found = leave(load(config), keep.absolute(), reason=reason, caller=caller, grant=envelope)
    if as_json:
        show.as_json({"zones": [asdict(one) for one in found]})
        return
    rows = [dict(one.body) | {"file": one.file, "directory": one.directory} for one in found]
    titles = {
        "zone": t("zone", "分区"),
        "acts": t("acts kept", "保存的流水"),
        "segments": t("segments", "段"),
        "missing": t("missing", "缺失"),
        "file": t("divergence file", "分歧文件"),
        "directory": t("set aside as", "移开至"),
    }
    show.table(rows, titles)
    for one in found:
        if one.database:
            text = t(
                "{}: its database stays where it is and is not opened again: drop {}, and create an empty one",
                "{}：其数据库仍在原处，不会再被打开：请删除 {} 并新建空库",
            )
            show.result(text.format(one.body["zone"], one.database))
    show.result(
        t(
            "Next: hand the files to who reviews them (jinbao standby review, at the new holder); this place is empty and may be "
            "enrolled anew. What the new holder has comes back by its backup: see Take back an old node.",
            "下一步：将文件交由审核人（在新持有者处执行 jinbao standby review）；此处已空，可重新入网。"
            "新持有者的数据经其灾备取回，见“收回旧节点”。",
        )
    )
