"""What the commands of `jinbao backup` share: their options, the repository, and whom they believe."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jinbao.cli import show
from jinbao.cli.asking import ask
from jinbao.cli.words import t
from jinbao.model.errors import JinbaoError, UsageError
from jinbao.model.zone import Zone

if TYPE_CHECKING:
    from cryptography import x509

    from jinbao.standby.inspecting import Newest
    from jinbao.standby.repository import Backups, Repository

F = TypeVar("F", bound=Callable[..., Any])

_TELL_EVERY = 500


def repository_argument(command: F) -> F:
    """REPOSITORY: a directory of backups."""
    return click.argument(
        "directory", metavar="REPOSITORY", type=click.Path(path_type=Path, file_okay=False)
    )(command)


def one_zone_option(command: F) -> F:
    """`--zone`: one zone instead of all."""
    kinds = click.Choice([str(zone) for zone in Zone])
    text = t("one zone only", "仅此分区")
    return click.option("--zone", type=kinds, envvar="JINBAO_ZONE", help=text)(command)


def root_option(command: F) -> F:
    """`--root`: whom to believe."""
    text = t(
        "PEM file of trusted root certificates; of the zone's identity on this host if not named",
        "可信根证书（PEM）；缺省取本机该分区身份中的根证书",
    )
    return click.option("--root", "roots", multiple=True, type=click.Path(path_type=Path), help=text)(command)


def telling(before: str, unit: str, *, as_json: bool) -> Callable[[int, int], None]:
    """Tells a person how far it is, now and then."""
    told = [0]

    def tell(done: int, total: int) -> None:
        if not as_json and done >= told[0] + _TELL_EVERY:
            told[0] = done
            show.talk(t(f"· {before}{done} of {total} {unit}", f"· {before}{done} / {total} {unit}"))

    return tell


def begun(directory: Path, node: str) -> Repository:
    """The node's repository, made where there is none."""
    from jinbao.appliance.assembly import utc_now
    from jinbao.standby.repository import Repository
    from jinbao.store.files import Files

    return Repository.begun(directory.absolute(), node, Files(), utc_now)


def opened(directory: Path) -> Repository:
    """The repository that is there."""
    from jinbao.appliance.assembly import utc_now
    from jinbao.standby.repository import Repository
    from jinbao.store.files import Files

    return Repository(directory.absolute(), Files(), utc_now)


def places(repository: Repository, zone: str | None) -> list[Backups]:
    """The zone that is wanted, or all that have a place."""
    from jinbao.model.zone import Endpoint

    zones = [Endpoint(repository.node, Zone(zone))] if zone else repository.zones()
    return [repository.of(endpoint) for endpoint in zones]


def anchors_of(backups: Backups, roots: tuple[Path, ...], config: Path) -> list[x509.Certificate]:
    """The roots that are named, or those in the zone's identity on this host."""
    from cryptography import x509

    from jinbao.appliance.settings import load
    from jinbao.authority.identity_files import ANCHORS, generation

    files = list(roots)
    if not files:
        with suppress(JinbaoError):  # no settings here, or another node's: then they must be named
            settings = load(config)
            if settings.node == backups.zone.node:
                files = [generation(settings.directory(backups.zone.zone) / "identity") / ANCHORS]
        if not files or not files[0].is_file():
            raise UsageError(
                "--root",
                expected="a PEM file of the network's root certificates",
                got=f"none, and no identity of {backups.zone} on this host",
                next_step="name it: --root root.pem",
            )
    found: list[x509.Certificate] = []
    for path in files:
        try:
            found += x509.load_pem_x509_certificates(path.read_bytes())
        except ValueError as exc:
            raise UsageError(f"root {path}", expected="certificates, PEM", got=str(exc)) from exc
    return found


def newest_of(repository: Repository, backups: Backups, config: Path) -> Newest | None:
    """The newest backup the zone says it made here; None where the zone is not on this host, or cannot be asked."""
    from jinbao.appliance.settings import load
    from jinbao.standby.inspecting import Newest

    with suppress(JinbaoError):  # what follows says that the zone was not asked
        if load(config).node == backups.zone.node:
            said = ask(config, str(backups.zone.zone), "backup.zone", repository=repository.id)["newest"]
            return Newest(said.get("name", ""), said.get("at", ""))
    return None
