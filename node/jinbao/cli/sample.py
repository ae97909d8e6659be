"""`jinbao sample`: business databases of people who do not exist."""

from __future__ import annotations

from pathlib import Path

import click

from jinbao.cli import show
from jinbao.cli.asking import json_option
from jinbao.cli.words import t


@click.group(help=t("Sample data.", "样例数据。"), epilog="jinbao sample city 140100 --url sqlite:///city.db")
def sample() -> None:
    """Group."""


@sample.command(
    help=t(
        "Write a sample city with known defects into empty databases.", "在空库中写入带已知缺陷的样例城市。"
    ),
    epilog="jinbao sample city 140100 --persons 20000 --seed 1 --url sqlite:///city.db",
)
@click.argument("region")
@click.option("--persons", default=20_000, show_default=True, help=t("insured persons", "参保人数"))
@click.option("--seed", default=1, show_default=True, help=t("same seed, same city", "随机种子"))
@click.option("--period", default=202410, show_default=True, help=t("month, YYYYMM", "所属期 YYYYMM"))
@click.option("--defects", default=2, show_default=True, help=t("of each kind", "每种缺陷的个数"))
@click.option(
    "--url",
    "urls",
    multiple=True,
    required=True,
    help=t("database; several are county databases", "数据库；多个即区县分库"),
)
@click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    help=t("write the planted defects here, as TSV", "将缺陷清单写入此 TSV"),
)
@json_option
def city(
    region: str,
    persons: int,
    seed: int,
    period: int,
    defects: int,
    urls: tuple[str, ...],
    ledger: Path | None,
    as_json: bool,
) -> None:
    """Generate, then say what was made."""
    from jinbao.sample.generate import generate

    made = generate(urls, region=region, persons=persons, seed=seed, period=period, defects_per_kind=defects)
    if ledger is not None:
        made.frame().write_csv(ledger, separator="\t")
    if as_json:
        show.as_json({"rows": made.rows, "odd_kinds": len(made.odd_kinds), "planted": len(made.planted)})
        return
    show.table(
        [{"table": k, "rows": v} for k, v in made.rows.items()],
        {"table": t("table", "表"), "rows": t("rows", "行数")},
    )
    odd, planted = len(made.odd_kinds), len(made.planted)
    show.result(
        t(
            f"{odd} odd but legal kinds, {planted} planted defects",
            f"{odd} 种少见但合法的情形，{planted} 个预置缺陷",
        )
    )
