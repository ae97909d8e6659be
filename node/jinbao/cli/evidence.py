"""`jinbao evidence`: a file that proves what became of one record, its proof offline, and what is late."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jinbao.cli import show
from jinbao.cli.asking import answer, ask, ask_for_file, asking, json_option, reason_option
from jinbao.cli.words import is_chinese, t
from jinbao.model.errors import EvidenceError, UsageError
from jinbao.model.zone import Zone

if TYPE_CHECKING:
    from cryptography import x509

    from jinbao.trust.evidence_proof import Verdict

DEGRADED = 3


@click.group(
    help=t(
        "Proof of what became of a record: export, verify, list.",
        "一条记录去向的证据：导出、核验、列表。",
    ),
    epilog="jinbao evidence verify record.json --root root.pem",
)
def evidence() -> None:
    """Group."""


@evidence.command(
    help=t(
        "One record's evidence as a file: who sealed it, which tiers accepted and applied it, with all that proves it.",
        "导出一条记录的证据文件：由谁签封、各级何时受理和入库，以及全部证明材料。",
    ),
    epilog="jinbao evidence export 1401P000000012 --library pension_macro --table retiree --out record.json --reason 'request 2024-31'",
)
@click.argument("key")
@click.option("--library", required=True, help=t("the library", "交换库"))
@click.option(
    "--table", default="", help=t("its table, where the key stands in several", "表（主键见于多表时）")
)
@click.option("--origin", default="", help=t("one origin node only", "仅此来源节点"))
@click.option(
    "--seq",
    default=0,
    help=t("the submission with this batch instead of the newest", "指定批次所在的报送，而非最新一次"),
)
@click.option(
    "--partial",
    is_flag=True,
    help=t("leave out receipts of release 0.1, which prove nothing alone", "略去 0.1 版回执（不能单独证明）"),
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help=t("file", "文件"))
@reason_option
@asking(Zone.EXCHANGE)
def export(
    key: str,
    library: str,
    table: str,
    origin: str,
    seq: int,
    partial: bool,
    out: Path,
    reason: str,
    config: Path,
    zone: str,
    as_json: bool,
) -> None:
    """Write the file, readable by this account alone."""
    asked: dict[str, Any] = {
        "key": key,
        "library": library,
        "table": table,
        "origin": origin,
        "reason": reason,
    }
    found = ask_for_file(out, config, zone, "evidence.export", **asked, seq=seq, partial=partial)
    if as_json:
        show.as_json(found)
        return
    show.talk(
        t(
            f"{found['table']}, sealed by {found['origin']} at {found['sealed_at']}: written to {out}",
            f"{found['table']}，{found['origin']} 签封于 {found['sealed_at']}：已写入 {out}",
        )
    )
    for name in found["unproved"]:
        show.talk(f"  - {_unproved()[name]}")


@evidence.command(
    name="list",
    help=t(
        "Submissions with what each tier said and when, what is awaited until when, and what did not come in time.",
        "各次报送：各级何时签认，尚待何事、时限，以及逾期未到者。",
    ),
    epilog="jinbao evidence list --library pension_macro --late --zone production",
)
@click.option("--library", default="", help=t("one library only", "仅此交换库"))
@click.option("--limit", default=10, show_default=True, help=t("submissions per stream", "每个流的报送数"))
@click.option("--late", is_flag=True, help=t("only what did not come in time", "仅逾期者"))
@asking(Zone.EXCHANGE)
def listing(library: str, limit: int, late: bool, config: Path, zone: str, as_json: bool) -> None:
    """One line per thing said or awaited."""
    found = ask(config, zone, "evidence.list", library=library, limit=limit, late=late)
    columns = {
        "submission": t("submission", "报送"),
        "step": t("stage", "阶段"),
        "by": t("by", "由"),
        "at": t("at", "时间"),
        "due_at": t("due", "时限"),
        "why": t("about", "说明"),
    }
    if not as_json:
        found["lines"] = [line | {"step": step_word(line["step"])} for line in found["lines"]]
    answer(found, as_json, "lines", columns)


@evidence.command(
    help=t(
        "Prove an evidence file with root certificates alone: no node, no network. Exit code 1 names the clause "
        "that does not hold, 3 says that the file carries no revocation state.",
        "仅凭根证书离线核验证据文件，无需节点和网络。退出码 1 指出不成立的条款，3 表示文件未带吊销状态。",
    ),
    epilog="jinbao evidence verify record.json --root root.pem",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--root",
    "roots",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help=t("PEM file of trusted root certificates", "可信根证书（PEM）"),
)
@click.option(
    "--require-crl/--no-require-crl",
    default=None,
    help=t(
        "refuse without revocation state of every certificate; default: where the file carries any CRL",
        "缺少任一证书的吊销状态即拒绝；默认仅在文件带有 CRL 时要求",
    ),
)
@json_option
@click.pass_context
def verify(
    ctx: click.Context, file: Path, roots: tuple[Path, ...], require_crl: bool | None, as_json: bool
) -> None:
    """The verdict, or the clause that does not hold."""
    from jinbao.trust.evidence_proof import verify_evidence

    trusted = [certificate for path in roots for certificate in _roots(path)]
    try:
        verdict = verify_evidence(file.read_bytes(), trusted, require_crl=require_crl)
    except EvidenceError as exc:
        if not as_json:
            raise
        parts = {"clause": exc.clause, "thing": exc.thing, "expected": exc.expected, "got": exc.got}
        show.as_json({"proved": False, **parts})
        ctx.exit(1)
    if as_json:
        show.as_json(_verdict_json(verdict))
    else:
        _show(verdict)
    ctx.exit(0 if verdict.is_revocation_carried else DEGRADED)


def _roots(path: Path) -> list[x509.Certificate]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError as exc:
        raise UsageError(f"root {path}", expected="certificates, PEM", got=str(exc)) from exc


def step_word(step: str) -> str:
    """A stage in the reader's language."""
    chinese = {
        "sealed": "签封",
        "submitted": "报送",
        "relayed": "转送",
        "accepted": "受理",
        "applied": "入库",
        "refused": "拒绝",
        "held": "暂停",
        "overdue": "逾期",
        "missing": "缺回执",
        "awaited": "待回执",
    }
    return t(step, chinese.get(step, step))


def _unproved() -> dict[str, str]:
    """What evidence leaves open, in words."""
    return {
        "applied_at_top": t("that the ministry applied the record", "部级已将本记录入库"),
        "time": t(
            "when it was sealed: no other node counter-signed, the time is the origin's own word",
            "签封时间：无其他节点会签，时间仅为来源自述",
        ),
        "revocation": t(
            "that no certificate was revoked: the file carries no revocation state for all of them",
            "各证书未被吊销：文件未带全部吊销状态",
        ),
        "names": t(
            "the names of library, table and columns: the exporting zone's word, by the standard it names",
            "库、表、数据项的名称：由导出分区依其所列标准自述",
        ),
        "truth": t(
            "that the record is true: only that the origin sealed it", "记录内容属实：仅证明来源曾签封此内容"
        ),
        "later": t("that no later submission changed or withdrew it", "此后的报送未更改或撤回本记录"),
    }


def _show(verdict: Verdict) -> None:
    """Who sent what when, who said what of it when, and what is not proved."""
    subject, chinese = verdict.evidence.subject, is_chinese()
    show.result(t("proved:", "已证明："))
    facts = {
        "origin": f"{verdict.origin} {verdict.origin_zh if chinese else verdict.origin_en}",
        "table": f"{subject.library_zh if chinese else subject.library_en}, "
        f"{subject.table_zh if chinese else subject.table_en} ({subject.standard}, {subject.period})",
        "sealed": f"{verdict.sealed_at} #{verdict.seq} ({verdict.kind})",
        "exported": f"{verdict.exporter} {verdict.evidence.made_at}",
        "revocation": t("carried, none revoked", "已带，均未吊销")
        if verdict.is_revocation_carried
        else t("not carried", "未带"),
    }
    names = {
        "origin": t("sealed by", "签封者"),
        "table": t("record of", "所属"),
        "sealed": t("sealed at", "签封于"),
        "exported": t("file made by", "文件出自"),
        "revocation": t("revocation state", "吊销状态"),
    }
    show.pairs(facts, names)
    show.result("")
    titles = {"code": t("item", "数据项"), "name": t("name", "名称"), "value": t("value", "值")}
    show.table(_record(verdict), titles)
    show.result("")
    show.table(
        _words(verdict),
        {"step": t("stage", "阶段"), "by": t("by", "由"), "at": t("at", "时间"), "why": t("why", "原因")},
    )
    show.result("")
    show.result(t("not proved:", "未证明："))
    for name in verdict.unproved:
        show.result(f"  - {_unproved()[name]}")


def _record(verdict: Verdict) -> list[dict[str, Any]]:
    rows = zip(verdict.evidence.subject.columns, verdict.evidence.record, strict=True)
    return [
        {"code": c.code, "name": c.name_zh if is_chinese() else c.name_en, "value": scaled(value, c.scale)}
        for c, value in rows
    ]


def scaled(value: str | int | None, scale: int) -> str | int | None:
    """An integer with its decimals, exactly; text and nothing as they are."""
    if not isinstance(value, int) or scale == 0:
        return value
    whole, part = divmod(abs(value), 10**scale)
    return f"{'-' if value < 0 else ''}{whole}.{part:0{scale}d}"


def _words(verdict: Verdict) -> list[dict[str, Any]]:
    said = [
        {
            "step": f"{step_word(w.step)} #{w.seq}",
            "by": f"{w.receiver} {w.name_zh if is_chinese() else w.name_en}",
            "at": w.at,
            "why": w.reason,
        }
        for w in verdict.words
    ]
    silent = [
        {
            "step": f"{step_word('missing')} #{m.seq}",
            "by": m.receiver,
            "at": m.answered_at,
            "why": f"{m.stage}, {m.due_at}",
        }
        for m in verdict.missing
    ]
    return said + silent


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    subject = verdict.evidence.subject
    return {
        "proved": True,
        "origin": str(verdict.origin),
        "library": subject.library,
        "table": subject.table,
        "standard": subject.standard,
        "period": subject.period,
        "seq": verdict.seq,
        "kind": str(verdict.kind),
        "sealed_at": verdict.sealed_at,
        "closed_at": verdict.closed_at,
        "record": _record(verdict),
        "words": [
            {"step": str(w.step), "by": str(w.receiver), "seq": w.seq, "at": w.at, "why": w.reason}
            for w in verdict.words
        ],
        "missing": [
            {
                "seq": m.seq,
                "by": m.receiver,
                "stage": m.stage,
                "due_at": m.due_at,
                "answered_at": m.answered_at,
            }
            for m in verdict.missing
        ],
        "exported_by": str(verdict.exporter),
        "exported_at": verdict.evidence.made_at,
        "revocation_carried": verdict.is_revocation_carried,
        "unproved": {name: _unproved()[name] for name in verdict.unproved},
    }
