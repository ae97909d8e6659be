"""Settings of a node: file < environment `JINBAO_*` < flag. What is wrong does not start.

Every limit has a name, a unit, a default and a reason (its description). Secrets are never
settings, only the directories that hold them. Reads one TOML file; touches nothing else.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from jinbao.model.declarant import known_persons
from jinbao.model.errors import SettingsError
from jinbao.model.token import DIGEST, XMIN
from jinbao.model.window import Schedule, Window, window_of
from jinbao.model.zone import Border, Endpoint, Tier, Zone

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
Days = Annotated[float, Field(gt=0)]
Node = Annotated[str, Field(pattern=r"^[0-9]{6}$")]
Address = Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$")]
Peer = Annotated[str, Field(pattern=r"^[0-9]{6}(-backup)?(/(production|exchange|decision))?$")]

MBIT_PER_S_MIN = 0.064


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowSettings(_Strict):
    """One window 线路时段: how much bulk the line may carry while it lasts."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    begin: str = Field(alias="from", description="When it begins, Asia/Shanghai, as `08:00`.")
    end: str = Field(
        alias="to",
        description="When it ends, `18:00`, at most `24:00`; before `from` it is of the day after.",
    )
    days: str = Field(
        "mon-sun", description="Days it begins on: `mon-fri`, `sat,sun`, or one; without it each day."
    )
    mbit_per_s: float = Field(
        ge=0,
        description="Megabits per second for bulk, all peers together; 0 closes the line for bulk. Below 0.064, "
        "which is one telephone channel, a segment takes days.",
    )

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if 0 < self.mbit_per_s < MBIT_PER_S_MIN:
            msg = f"mbit_per_s: expected 0, or {MBIT_PER_S_MIN} at least, got {self.mbit_per_s:g}"
            raise ValueError(msg)
        self.window()
        return self

    def window(self) -> Window:
        """The window it names."""
        return window_of(self.begin, self.end, self.days, self.mbit_per_s)


class LineSettings(_Strict):
    """Windows of one zone's lines to other nodes; within the node nothing is limited."""

    windows: tuple[WindowSettings, ...] = Field(
        (),
        description="When bulk is limited, in both directions, all peers together; outside of them it is not.",
    )
    peers: dict[Peer, tuple[WindowSettings, ...]] = Field(
        default_factory=dict,
        description="Windows of one peer, NODE or NODE/ZONE, which hold beside those of all.",
    )

    @model_validator(mode="after")
    def _apart(self) -> Self:
        self.schedule()
        self.peer_schedules()
        return self

    def schedule(self) -> Schedule:
        """When all peers together are limited."""
        return Schedule(tuple(window.window() for window in self.windows))

    def peer_schedules(self) -> dict[str, Schedule]:
        """When single peers are."""
        return {
            peer: Schedule(tuple(window.window() for window in windows))
            for peer, windows in self.peers.items()
        }


class ZoneSettings(_Strict):
    """One zone of this node."""

    border: Border = Field(
        Border.LINE, description="How this zone meets exchange: `line`, or `carrier` (软交换)."
    )
    listen: str = Field(
        "", description="host:port of the line listener; empty: the address the topology gives."
    )
    http: str = Field("127.0.0.1:0", description="host:port of /metrics and health; 0 picks a free port.")
    database: str = Field("", description="SQLAlchemy URL; empty: SQLite in the zone's directory.")
    line: LineSettings = Field(default_factory=LineSettings)


class SourceSettings(_Strict):
    """One business database the production zone reads."""

    name: str = Field(pattern=r"[a-z][a-z0-9_]{0,31}", description="Name in topics, logs and findings.")
    url: str = Field(
        description="SQLAlchemy URL; read only. Put passwords into the driver's own password file."
    )
    encoding: Literal["utf-8", "gb18030"] = Field("utf-8", description="Encoding of its text columns.")
    keys: dict[str, list[str]] = Field(
        default_factory=dict, description="Key columns of tables that declare none."
    )
    change: Literal["content", "digest", "token"] = Field(
        "content",
        description="What tells that a row changed: its `content`, which is read; a `digest` of it made in "
        "PostgreSQL, where only changed rows are read; or a `token` that is believed, and checked.",
    )
    tokens: dict[str, str] = Field(
        default_factory=dict,
        description="For `token`: the column of a table that changes with every change of a row. Without one "
        "PostgreSQL gives xmin, and SQLite's tables are compared by content.",
    )
    check_days: Positive = Field(
        14,
        description="For `token`: within so many days the content of every row is compared, so that a token "
        "that lies is found; a fortnight, as a month closes after two.",
    )

    @model_validator(mode="after")
    def _can_tell(self) -> Self:
        kind = self.url.partition(":")[0].partition("+")[0]
        offers = {"content": {kind}, "digest": {"postgresql"}, "token": {"postgresql", "sqlite"}}[self.change]
        if kind not in offers:
            msg = f"change: expected content for {kind}, got {self.change}, which needs {' or '.join(sorted(offers))}"
            raise ValueError(msg)
        if self.change != "content" and self.encoding != "utf-8":
            msg = f"change: expected content for a source in {self.encoding}, got {self.change}"
            raise ValueError(msg)
        return self

    def token(self, table: str) -> str:
        """What stands for a row's content: the catalogue's word or a column's name; empty is the content itself."""
        if self.change == "digest":
            return DIGEST
        own = {name.upper(): column for name, column in self.tokens.items()}
        usual = XMIN if self.url.startswith("postgresql") else ""
        return own.get(table.upper(), usual) if self.change == "token" else ""


class Limits(_Strict):
    """Bounds; a limit that is reached is an error with its name, never a silent loss."""

    segment_rows_max: Positive = Field(
        65_536,
        description="Rows per segment: about 6 MB; what a zone holds at once while it seals or applies.",
    )
    headers_max: Positive = Field(
        500, description="Headers per follow answer: small, so that directives are not late."
    )
    scrub_days: Days = Field(
        7.0,
        description="Every segment of a zone is read again within so many days: what rots is found while others have it.",
    )
    receipts_max: Positive = Field(5_000, description="Receipts sealed in one batch.")
    apply_batches_max: Positive = Field(20_000, description="Accepted batches looked at per apply round.")
    apply_ends_max: Positive = Field(
        5,
        description="Processes that may end in a row while they apply one batch, before its stream is held: "
        "a host that loses its power twice in a night is no poison.",
    )
    database_log_bytes_max: Positive = Field(
        512 << 20,
        description="Length of a SQLite log (-wal) beyond which views of the database that keep it are ended.",
    )
    view_s_max: Seconds = Field(
        60.0,
        description="Views older than this are ended while the log is too long; at twice its limit all are.",
    )
    disk_reserve_bytes: Positive = Field(
        256 << 20, description="Kept free: a full disk also blocks its own cure."
    )
    disk_warning_s: Positive = Field(
        604_800,
        description="Warn when the reserve is reached within this at the present pace: a week, as a parent may be away.",
    )
    durable_write_s: Seconds = Field(
        0.1,
        description="A file or commit that takes longer, as a median, is told: a healthy disk takes 5 ms.",
    )
    revocation_grace_s: Positive = Field(
        259_200,
        description="How long a revocation list is believed beyond its date: a line is down over a long weekend.",
    )
    fetches_per_peer_max: Positive = Field(4, description="Fetches at once per peer: one starves no other.")
    held_streams_max: Positive = Field(
        1_000, description="Streams held at once; further trouble is logged: a peer cannot fill the journal."
    )
    streams_per_origin_max: Positive = Field(
        1_000, description="Streams taken of one zone: far above its libraries, below what slows a round."
    )
    segment_bytes_max: Positive = Field(
        4 << 30, description="Bytes of a segment that is fetched; the stream of a larger one is held."
    )
    submission_rows_max: Positive = Field(
        20_000_000, description="Rows of one submission, which is applied whole; more is refused."
    )
    decoded_bytes_max: Positive = Field(
        512 << 20, description="Bytes of a peer's segment once decoded: ten times our own largest."
    )
    decoded_ratio_max: Positive = Field(
        500, description="Decoded bytes per byte of file, above 16 MiB: ours reach 20, a bomb 30 000."
    )
    footer_bytes_max: Positive = Field(4 << 20, description="Bytes of a segment's footer: ours have 10 KB.")
    row_groups_max: Positive = Field(256, description="Row groups of a segment: ours have one or two.")
    pages_max: Positive = Field(20_000, description="Pages of a segment: ours have hundreds.")
    page_bytes_max: Positive = Field(64 << 20, description="Bytes of a page once decoded: ours have 1 MiB.")
    window_bytes_max: Positive = Field(
        8 << 20, description="Window of a zstd frame: a decompressor allocates it before the first byte."
    )
    cell_bytes_max: Positive = Field(64 << 10, description="Bytes of one text cell: names and addresses fit.")
    decoder_memory_bytes: Positive = Field(
        2 << 30, description="Address space of the process that decodes peers' segments first."
    )
    decoder_job_s: Seconds = Field(60.0, description="Time for one segment; 64 000 rows take 50 ms.")
    decoder_deaths_max: Positive = Field(
        3, description="Decoders that may end on one segment before the segment is refused."
    )


class Paces(_Strict):
    """When rounds run."""

    follow_wait_s: Seconds = Field(10.0, description="How long a follow call waits for news.")
    interval_s: Seconds = Field(1.0, description="Pause after a round with nothing to do.")
    backoff_max_s: Seconds = Field(60.0, description="Longest pause after failures in a row.")
    round_s_max: Seconds = Field(
        1800.0,
        description="A round that makes nothing durable for so long hangs: the service manager is given no more "
        "signs of life, and starts the zone again. Half an hour: ten times the longest comparison of a large table.",
    )
    witness_interval_s: Seconds = Field(
        300.0, description="How often a backup site tells its parent how far it is, if that changed."
    )
    authority_interval_s: Seconds = Field(
        3_600.0,
        description="How often a zone asks its authorities what they took back; more often once a list is past half "
        "its life. An hour: a list is good for a day, and what cannot wait is imported by hand.",
    )
    drill_cron: str = Field(
        "0 3 * * 0",
        description="When a backup site drills every node it protects, Asia/Shanghai; empty: only on command.",
    )
    capture_cron: str = Field(
        "30 1 * * *", description="When capture runs, Asia/Shanghai; empty: only on command."
    )


Account = Annotated[str, Field(pattern=r"^@?[a-z_][a-z0-9_.-]{0,31}$")]
"""An account of this host, or `@group`: all its members."""


class RoleSettings(_Strict):
    """Three roles apart 三员分立; see docs/how-to/separate-the-roles.md."""

    system: tuple[Account, ...] = Field(
        (), description="系统管理员: accounts or @groups that run lines, captures, media and shelves."
    )
    security: tuple[Account, ...] = Field(
        (), description="安全管理员: accounts or @groups that steer trust and see personal data in clear."
    )
    audit: tuple[Account, ...] = Field(
        (), description="安全审计员: accounts or @groups that read the audit trail, and do nothing else."
    )
    separation: bool | None = Field(
        None,
        description="Whether no account may hold two roles; empty: as soon as one of the lists has an entry. "
        "Without it the zone's own account holds all three.",
    )

    @property
    def is_separated(self) -> bool:
        """Whether the roles are apart on this node."""
        named = bool(self.system or self.security or self.audit)
        return named if self.separation is None else self.separation

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if not self.is_separated:
            return self
        lists = {"system": self.system, "security": self.security, "audit": self.audit}
        empty = [name for name, accounts in lists.items() if not accounts]
        if empty:
            msg = f"roles apart need at least one account each, got none in {', '.join(empty)}"
            raise ValueError(msg)
        seen: dict[str, str] = {}
        for name, accounts in lists.items():
            for account in dict.fromkeys(accounts):
                if account in seen:
                    msg = f"roles apart need {account} in one list, got it in {seen[account]} and {name}"
                    raise ValueError(msg)
                seen[account] = name
        return self


class AuditSettings(_Strict):
    """The audit trail 审计日志."""

    retention_days: int = Field(
        1095,
        ge=183,
        description="Entries are kept so long: three years, so that a yearly inspection finds the year before "
        "whole. The law asks for six months at least (网络安全法 第二十一条), so less than 183 does not start.",
    )
    seal_interval_s: Seconds = Field(
        300.0,
        description="Longest an entry waits for its seal while the zone runs: what one break-in could unsay.",
    )
    refusals_per_minute_max: Positive = Field(
        30, description="Refused attempts told one by one; further ones are counted: refusals fill no disk."
    )
    persons_max: Positive = Field(
        10_000, description="Persons named one by one in an entry; beyond, the whole table is named."
    )


class EvidenceSettings(_Strict):
    """When silence becomes evidence."""

    accept_within_s: Seconds = Field(
        86_400.0,
        description="Longest from sealing to a tier's acceptance: a night without the line is usual, a day is not.",
    )
    apply_within_s: Seconds = Field(
        172_800.0,
        description="Longest from sealing, at a receiver from its acceptance, to application: time for a person to look.",
    )
    reread_days: Positive = Field(
        7,
        description="After a change only rows it wrote are read back; every row at least so often: a week, "
        "so that a row altered behind the zone's back is found by the next change after it.",
    )


class CopySettings(_Strict):
    """Who may open the copies that a backup site keeps of this node, which it holds as ciphertext."""

    escrow_key: str = Field(
        "",
        description="Public key of the escrow, base64: its private key lies in a safe, and two persons open it. "
        "A node that is protected needs it.",
    )
    drill_key: str = Field(
        "", description="Public key of the backup site's drills, base64; empty: nobody can drill this node."
    )
    drill_key_file: Path | None = Field(
        None, description="At a backup site: the private key of drills, for the account that drills."
    )
    keep_days: Days = Field(
        30.0,
        description="At a backup site: what came within so many days is never purged; a month's run can be followed.",
    )
    hold: tuple[str, ...] = Field(
        (),
        description="At a backup site: nodes under legal hold (法律保全), of whose copies nothing is purged.",
    )


class PromotionSettings(_Strict):
    """Who may have an identity granted to a backup site, at the node that grants it."""

    persons: dict[str, str] = Field(
        default_factory=dict,
        description="At a node that has nodes below it: persons whose signatures declare one of them lost, as "
        'name = "public key", base64; none: no identity is granted here.',
    )
    persons_min: int = Field(
        2,
        ge=2,
        description="Persons who must sign: two at least, so that nobody takes an identity over alone.",
    )
    declared_within_hours: Annotated[float, Field(gt=0)] = Field(
        72.0,
        description="A declaration is granted so long after it was made: a long weekend; then its cuts and its "
        "reason are looked at anew.",
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        known_persons(self.persons)
        return self


class WatchSettings(_Strict):
    """From when on alerts speak; every limit is a metric too, so that a rule names none. See docs/reference/alerts.md."""

    silent_s: Seconds = Field(
        600.0,
        description="A neighbour below, or a zone that is protected, may not answer for so long: longer than a "
        "restart and the longest pause after failures.",
    )
    waiting_s: Seconds = Field(
        14_400.0,
        description="A submission sealed here may wait so long until the tiers above took it: well before "
        "`evidence.accept_within_s` makes evidence of it.",
    )
    unapplied_s: Seconds = Field(
        3_600.0,
        description="A batch that was accepted may wait so long for its application; the largest takes minutes.",
    )
    rpo_s: Seconds = Field(
        900.0, description="So old may the oldest act be that the backup site does not have."
    )
    clock_offset_s: Seconds = Field(
        60.0,
        description="Two clocks may differ so much; certificates begin and end by them, and a slow line takes a second.",
    )
    backup_s: Seconds | None = Field(
        None,
        description="A backup to a directory (`jinbao backup create`) is made at least so often; empty: no alert waits "
        "for one, as where a backup site protects the node, and `jinbao doctor` asks for one a day where none does.",
    )
    late_runs: Positive = Field(
        2,
        description="What runs by a calendar is late after so many of its turns, and an hour: one may fail.",
    )


class UpgradeSettings(_Strict):
    """What is done before a newer release changes a database's tables; see docs/how-to/upgrade.md."""

    copy_database: bool = Field(
        True,
        description="Before revisions run on a SQLite database that has any, it is copied; false only where another "
        "copy is made before every upgrade.",
    )
    copies_directory: Path | None = Field(
        None,
        description="Holds one directory of these copies per zone; empty: `upgrades` in each zone's own directory.",
    )
    copies_kept: Positive = Field(
        3, description="Copies kept per zone: two upgrades back, and one that went wrong in between."
    )
    server_copied: bool = Field(
        False,
        description="For a PostgreSQL database: whoever looks after the server says that it is copied before an "
        "upgrade. Without that a zone does not start on one where more than an expansion is due.",
    )


class Settings(BaseSettings):
    """A node's settings, whole."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="JINBAO_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    node: str = Field(pattern=r"[0-9]{6}(-backup)?", description="Region code of this node.")
    tier: Tier = Field(description="ministry, province or city.")
    role: Literal["node", "backup"] = Field("node", description="`backup` follows the nodes it protects.")
    # Absolute from here on: the process that decodes segments runs in another directory, and a path it cannot
    # find would be told of the peer that sealed the segment.
    data_directory: Annotated[Path, AfterValidator(Path.absolute)] = Field(
        description="Holds one private directory per zone."
    )
    topology_file: Path = Field(description="The signed topology.")
    trust_directory: Path | None = Field(
        None,
        description="Signed trust documents laid here are taken in: revocation lists, authorities, topology.",
    )
    authorities: dict[Node, Address] = Field(
        default_factory=dict,
        description='Listeners of issuing authorities by node, `140000 = "10.14.0.7:7443"`: production and exchange '
        "zones ask them for newer revocation lists, beside the one they enrolled at, and exchange passes them on. A "
        "province names its own.",
    )
    standards_directory: Path | None = Field(
        None, description="Standards and mappings; empty: those installed."
    )
    zones: dict[Zone, ZoneSettings] = Field(description="The zones this node runs.")
    sources: tuple[SourceSettings, ...] = Field((), description="Business databases; production zone only.")
    period: str = Field(
        "", pattern=r"([0-9]{6})?", description="YYYYMM to report; empty: the month before this."
    )
    limits: Limits = Field(default_factory=Limits)
    pace: Paces = Field(default_factory=Paces)
    roles: RoleSettings = Field(default_factory=RoleSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    sockets_directory: Path | None = Field(
        None,
        description="Holds one directory of sockets per zone; empty: in each zone's own directory, which no other "
        "account can enter. Roles apart need one that others can.",
    )
    evidence: EvidenceSettings = Field(default_factory=EvidenceSettings)
    copies: CopySettings = Field(default_factory=CopySettings)
    promotion: PromotionSettings = Field(default_factory=PromotionSettings)
    watch: WatchSettings = Field(default_factory=WatchSettings)
    upgrade: UpgradeSettings = Field(default_factory=UpgradeSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` merged: origins stay known."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if Zone.EXCHANGE not in self.zones:
            msg = "zones: expected an exchange zone, got " + ", ".join(self.zones)
            raise ValueError(msg)
        if self.roles.is_separated and self.sockets_directory is None:
            msg = "sockets_directory: expected one that all three roles can enter, got none; or clear roles"
            raise ValueError(msg)
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            msg = f"sources: expected each name once, got {', '.join(names)}"
            raise ValueError(msg)
        return self

    def endpoint(self, zone: Zone) -> Endpoint:
        """This node's endpoint of a zone; raises SettingsError if the node does not run it."""
        if zone not in self.zones:
            raise SettingsError(f"node {self.node}: zone", expected=" or ".join(self.zones), got=zone)
        return Endpoint(self.node, zone)

    def directory(self, zone: Zone) -> Path:
        """The zone's private directory."""
        return self.data_directory / zone

    def run_directory(self, zone: Zone) -> Path:
        """Where the zone's sockets are."""
        shared = self.sockets_directory
        return shared / zone if shared else self.directory(zone) / "run"

    def carrier_directory(self, source: Zone, target: Zone) -> Path:
        """Where packages from one zone of this node to another are laid."""
        return self.data_directory / "carrier" / f"{source}-to-{target}"

    def database(self, zone: Zone) -> str:
        """The zone's database URL."""
        return self.zones[zone].database or f"sqlite:///{self.directory(zone) / 'zone.db'}"


def load(path: Path, flags: Mapping[str, Any] | None = None) -> Settings:
    """Read a node's settings; raises SettingsError naming file, key, expected, got and the nearest key."""
    merged = _merge(_file(path), _environment(), flags or {})
    try:
        return Settings(**merged)
    except ValidationError as exc:
        raise _worded(path, exc) from exc


def origins(path: Path, flags: Mapping[str, Any] | None = None) -> list[tuple[str, str, str]]:
    """Every setting in force: key, value, and where it comes from (default, file, environment or flag)."""
    settings = load(path, flags)
    layers = [("flag", flags or {}), ("environment", _environment()), (str(path), _file(path))]
    said = [(name, dict(_flat(layer))) for name, layer in layers]
    rows = []
    for key, value in _flat(settings.model_dump(mode="json")):
        origin = next((name for name, layer in said if key in layer), "default")
        rows.append((key, _plain(value), origin))
    return rows


def _plain(value: Any) -> str:
    text = "" if value is None else str(value)
    scheme, at, rest = text.partition("://")
    if at and "@" in rest:  # a password in a URL is never shown
        return f"{scheme}://***@{rest.rpartition('@')[2]}"
    return text


def _file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        got = "none" if isinstance(exc, FileNotFoundError) else exc.strerror
        raise SettingsError(
            f"settings file {path}", expected="a TOML file", got=got, next_step="jinbao --help"
        ) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(f"settings file {path}", expected="TOML", got=str(exc)) from exc


def _environment() -> dict[str, Any]:
    """`JINBAO_LIMITS__HEADERS_MAX=10` and the like; those of other tools of the house are not settings."""
    other = {"JINBAO_FAILPOINT", "JINBAO_CONFIG", "JINBAO_LANG", "JINBAO_ZONE"}
    names = [name for name in os.environ if name.startswith("JINBAO_") and name not in other]
    found = EnvSettingsSource(Settings)()
    for name in names:  # an unknown variable is an unknown key
        key = name.removeprefix("JINBAO_").lower().split("__")[0]
        if key not in Settings.model_fields:
            found[key] = os.environ[name]
    return found


def _merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = _merge(merged[key], value) if both else value
    return merged


def _flat(layer: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in layer.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
            for at, item in enumerate(value):
                yield from _flat(item, f"{name}[{at}].")
        else:
            yield name, value


_SAID = re.compile(r"Value error, (?:(\w+): )?expected (.+), got (.+)", flags=re.DOTALL)


def _worded(path: Path, exc: ValidationError) -> SettingsError:
    """The first thing that is wrong, in the house's words."""
    # A misspelt key also leaves its right name missing: the misspelling is the news.
    first = min(exc.errors(), key=lambda error: error["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"]) or "settings"
    thing = f"{path}: {key}"
    if first["type"] == "extra_forbidden":
        known = dict(_known(Settings)).get(
            tuple(str(p) for p in first["loc"][:-1] if not isinstance(p, int)), []
        )
        near = difflib.get_close_matches(str(first["loc"][-1]), known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        return SettingsError(thing, expected="a known key", got=str(first["loc"][-1]), next_step=hint)
    if first["type"] == "missing":
        return SettingsError(thing, expected="a value", got="none", next_step=f"set {key} in {path}")
    said = _SAID.fullmatch(first["msg"])
    if said:  # in the house's words already
        name, expected, got = said.groups()
        return SettingsError(f"{thing}: {name}" if name else thing, expected=expected, got=got)
    return SettingsError(thing, expected=first["msg"], got=repr(first.get("input"))[:120])


def _keys(model: type[BaseModel]) -> list[str]:
    """Keys of a table as they are written."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _known(model: type[BaseModel], at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    yield at, _keys(model)
    nested: dict[str, type[BaseModel]] = {
        "limits": Limits,
        "pace": Paces,
        "sources": SourceSettings,
        "roles": RoleSettings,
        "audit": AuditSettings,
        "evidence": EvidenceSettings,
        "watch": WatchSettings,
        "upgrade": UpgradeSettings,
    }
    if model is Settings:
        for name, kind in nested.items():
            yield from _known(kind, (*at, name))
        for zone in Zone:
            yield from _known(ZoneSettings, (*at, "zones", zone))
            yield from _known(LineSettings, (*at, "zones", zone, "line"))
            yield ((*at, "zones", zone, "line", "windows"), _keys(WindowSettings))
