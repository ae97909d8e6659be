"""The command `jinbao`: finds the noun, speaks the reader's language, ends with a stable exit code.

0 ok, 1 failed, 2 usage, 3 degraded, 4 unreachable. The one fence where errors become words.
Nouns are loaded when they are named, so that `--help` stays quick.
"""

from __future__ import annotations

import codecs
import importlib
import io
import os
import sys

import click

from jinbao import __version__
from jinbao.cli.loading import look_seldom
from jinbao.cli.show import talk, worded
from jinbao.cli.words import choose, t
from jinbao.model.errors import JinbaoError, LocalError

NOUNS: dict[str, tuple[str, str, str]] = {
    "serve": ("serve:serve", "run one zone of this node", "运行本节点的一个分区"),
    "status": ("status:status", "is the zone well, and if not, why", "分区是否正常，原因何在"),
    "doctor": ("doctor:doctor", "what keeps this node from working, and the command that mends it", "查出节点的毛病，并给出修复命令"),
    "topology": ("status:topology", "nodes, parents and lag per stream", "节点、上下级和各流进度"),
    "trace": ("status:trace", "where one record is, at each stage and tier", "一条记录在各阶段、各层级的位置"),
    "config": ("config:config", "check and show settings", "检查和显示配置"),
    "capture": ("capture:capture", "capture from the business databases: show, run", "业务库采集：查看、立即执行"),
    "line": ("line:line", "the line: status, pull, pause, resume, rebase, export, import", "主线：状态、拉取、暂停、恢复、重定基点、导出、导入"),
    "database": ("database:database", "databases of the zones: check, migrate, convert", "各分区的数据库：检查、升级、转换"),
    "standby": ("standby:standby", "the backup site: status, rebuild, drill", "灾备：状态、重建、演练"),
    "backup": ("backup:backup", "backup of this node to a directory: create, list, verify, restore", "本节点到目录的备份：创建、列表、校验、恢复"),
    "trust": ("trust:trust", "whom this zone trusts: list, import", "信任：查看、导入"),
    "journal": ("journal:journal", "the journal: list, show, verify, scrub, mend, retention", "流水：列表、查看、校验、巡检、修复、保留"),
    "quarantine": ("quarantine:quarantine", "rows the gate stopped, and why", "被隔离的记录及原因"),
    "library": ("library:library", "stored records: list, show, count, export, digest", "交换库：列表、查看、计数、导出、摘要"),
    "evidence": ("evidence:evidence", "proof of what became of a record: export, verify, list", "一条记录的证据：导出、核验、列表"),
    "decision": ("decision:decision", "indicators of the decision zone", "决策区指标"),
    "audit": ("audit:audit", "the audit trail: list, verify, export", "审计日志：查询、校验、导出"),
    "monitoring": ("monitoring:monitoring", "files for Prometheus, Alertmanager and Grafana: write, targets", "Prometheus、Alertmanager、Grafana 所需文件：写出、采集目标"),
    "runbook": ("monitoring:runbook", "what an alert means and what to do", "告警的含义与处置"),
    "sample": ("sample:sample", "make a sample city", "生成样例城市"),
    "ca": ("ca:ca", "authorities: init, issue, token, list, revoke, rotate, crl, csr, import, export, serve", "发证机构：建立、签发、令牌、列表、吊销、轮换、吊销列表、申请、导入、导出、服务"),
    "enrol": ("enrol:enrol", "enrol this node with a token, or renew its certificates", "以令牌入网，或续期证书"),
    "support": ("support:support", "what a helper needs to see, without personal data: bundle", "供支持人员查看的材料，不含个人信息：打包"),
    "demo": ("demo:demo", "a three-tier network on this machine", "在本机演示三级网络"),
    "bundle": ("bundle:bundle", "the offline bundle: key, build, sign, verify", "离线安装包：密钥、构建、签名、校验"),
    "completion": ("completion:completion", "what makes a shell complete commands: bash, zsh, fish", "shell 命令补全：bash、zsh、fish"),
    "debug": ("debug:debug", "for developers: failpoints", "开发用：故障点"),
}  # fmt: skip
"""Module and command of each noun, with its sentence in English and Chinese."""


class Nouns(click.Group):
    """Loads a noun's module when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All nouns, in the order a newcomer needs them."""
        del ctx
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The noun's command, or None."""
        del ctx
        if cmd_name not in NOUNS:
            return None
        module, _, name = NOUNS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"jinbao.cli.{module}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest noun named for a misspelt one."""
        import difflib

        if args and not args[0].startswith("-") and args[0] not in NOUNS:
            near = difflib.get_close_matches(args[0], NOUNS, 1)
            hint = t(f"Did you mean {near[0]}?", f"是否指 {near[0]}？") if near else ""
            ctx.fail(t(f"No such noun: {args[0]}. {hint}", f"没有这个命令：{args[0]}。{hint}"))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Nouns with their sentences, without loading any."""
        del ctx
        with formatter.section(t("Nouns", "命令")):
            formatter.write_dl([(name, t(en, zh)) for name, (_, en, zh) in NOUNS.items()])


def build() -> Nouns:
    """The root command in the language chosen."""
    epilog = t(
        "Examples: jinbao demo --once | jinbao status --config node.toml | jinbao quarantine list --json",
        "示例：jinbao demo --once | jinbao status --config node.toml | jinbao quarantine list --json",
    )
    root = Nouns(
        name="jinbao",
        help=t(
            "Node appliance of the Golden Insurance Project. Exit codes: 0 ok, 1 failed, 2 usage, 3 degraded, 4 unreachable.",
            "金保工程节点软件。退出码：0 正常，1 失败，2 用法错误，3 降级，4 不可达。",
        ),
        epilog=epilog,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    root.params.append(click.Option(["--lang"], type=click.Choice(["zh", "en"]), help=t("language", "语言")))
    return click.version_option(__version__, prog_name="jinbao")(root)


def _language(arguments: list[str]) -> str:
    """The value of `--lang` before anything is built in some language."""
    for at, argument in enumerate(arguments):
        if argument.startswith("--lang="):
            return argument.partition("=")[2]
        if argument == "--lang" and at + 1 < len(arguments):
            return arguments[at + 1]
    return ""


def _take_all_text() -> None:
    """Let every text out: UTF-8 where the locale says ASCII, elsewhere an escape for what the encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            ascii_only = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding="utf-8" if ascii_only else None, errors="backslashreplace")


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit."""
    given = sys.argv[1:] if arguments is None else arguments
    look_seldom()
    _take_all_text()
    choose(_language(given))
    root = build()
    root.callback = lambda **_: None
    try:
        code = root.main(given, prog_name="jinbao", standalone_mode=False)  # None, or what ctx.exit said
        sys.stdout.flush()
    except click.ClickException as exc:
        exc.show()
        sys.exit(2)
    except click.Abort:
        talk(t("stopped", "已中止"))
        sys.exit(1)
    except JinbaoError as exc:
        talk(worded(exc))
        sys.exit(exc.exit_code)
    except BrokenPipeError:
        # The reader of our output left; nobody is there to be told, nor at the flush on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as exc:
        thing = f"file {exc.filename}" if exc.filename else "this machine"
        talk(worded(LocalError(thing, expected="one that can be used", got=exc.strerror or exc)))
        sys.exit(1)
    sys.exit(code)


if __name__ == "__main__":
    main()
