"""Error families, by who must act. Every message says thing, expected, got, next step.

`code` is stable, so that console and CLI can word it in Chinese. A bug is an
assertion, not one of these.
"""

from __future__ import annotations

from typing import ClassVar


class JinbaoError(Exception):
    """Root of all errors a person can act on; values stay as attributes."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(
        self, thing: str, *, expected: object, got: object, next_step: str = "", **values: object
    ) -> None:
        """Keep the parts; the message is `thing: expected …, got …; next step`."""
        self.thing, self.expected, self.got, self.next_step = thing, expected, got, next_step
        self.values = values
        tail = f"; {next_step}" if next_step else ""
        super().__init__(f"{thing}: expected {expected}, got {got}{tail}")


class PeerError(JinbaoError):
    """The peer is at fault: refuse, record, tell it."""

    code = "peer"


class UnprovableError(PeerError):
    """Hash, seal, chain or signer does not hold; the stream is held and alarmed."""

    code = "unprovable"


class SequenceGapError(UnprovableError):
    """A header does not follow the one before it in its stream."""

    code = "sequence_gap"


class EquivocationError(UnprovableError):
    """Two different headers claim one place in a stream."""

    code = "equivocation"


class RollbackError(UnprovableError):
    """An origin shows less of its stream than it has shown before."""

    code = "rollback"


class SplitViewError(UnprovableError):
    """A receiver was shown another header than the one that stands at that place here."""

    code = "split_view"


class StaleEpochError(UnprovableError):
    """A holder of an older epoch speaks for an identity that was granted to another."""

    code = "stale_epoch"


class PoisonError(PeerError):
    """A batch on which this process ended again and again: it is read no more until a person lets it go on."""

    code = "poison"


class EvidenceError(UnprovableError):
    """An evidence file does not prove what it says; the clause it breaks is named."""

    code = "evidence"

    def __init__(self, clause: str, thing: str, *, expected: object, got: object) -> None:
        """Keep the clause beside the parts."""
        super().__init__(f"clause {clause}: {thing}", expected=expected, got=got, clause=clause)
        self.clause = clause


class UnacceptableError(PeerError):
    """Proved to be the peer's own words, and still nothing this zone will read: out of bounds or not as said."""

    code = "unacceptable"


class IdentityError(PeerError):
    """A caller or server is not who the topology's row says."""

    code = "identity"


class UnknownEpochError(IdentityError):
    """A holder of a newer epoch than we know of: it brings the grant that says so, or is refused."""

    code = "unknown_epoch"


class RevokedError(IdentityError):
    """A certificate was taken back by the authority that issued it."""

    code = "revoked"


class RevocationUnknownError(IdentityError):
    """Nobody here knows whether a certificate was taken back: the list is missing or too old."""

    code = "revocation_unknown"


class LinkError(JinbaoError):
    """The way to the peer is at fault: pace retries."""

    code = "link"
    exit_code = 4


class LineClosedError(LinkError):
    """A window of the line is closed for bulk, here or there; nothing is wrong, and it is fetched later."""

    code = "line_closed"


class LocalError(JinbaoError):
    """This node is at fault: disk, database, file; the operator acts."""

    code = "local"


class CorruptionError(LocalError):
    """Something stored is not what was written: named, never used."""

    code = "corruption"


class InvariantError(LocalError):
    """This zone was about to record what may never be: nothing of it is recorded; its makers act."""

    code = "invariant"


class SpaceError(LocalError):
    """The disk reserve would be broken; capture waits, nothing unfetched is dropped."""

    code = "space"


class DiskError(LocalError):
    """A disk did not keep what it was told to: this zone writes no more, ends, and looks at what it has."""

    code = "disk"


class OutdatedError(LocalError):
    """This zone's database is older than what others have of it: it seals nothing, and does not start."""

    code = "outdated"


class UntoldError(LocalError):
    """A zone was put back from a copy and nobody told it yet how far it had come: it seals nothing until then."""

    code = "untold"


class SupersededError(LocalError):
    """The parent granted this zone's identity to another holder: it seals nothing any more, and is read only."""

    code = "superseded"


class UnhealedError(LocalError):
    """A zone was built for a new epoch and has not taken back yet what the holder before had sent: it does not start."""

    code = "unhealed"


class UnavailableError(LocalError):
    """A database is away, or took the work back: nothing is half done, the step is made again by itself."""

    code = "unavailable"


class AuditError(LocalError):
    """An audit entry cannot be made durable: what it would tell is not done, or not shown."""

    code = "audit"


class SourceError(LocalError):
    """A business database cannot be read as its mapping says."""

    code = "source"


class SettingsError(JinbaoError):
    """Configuration is wrong: do not start."""

    code = "settings"
    exit_code = 2


class UsageError(JinbaoError):
    """A person or program asked for something there is not: say what there is."""

    code = "usage"
    exit_code = 2


class RoleError(UsageError):
    """The caller has not the role, the way or the reason that the question needs; recorded."""

    code = "role"


LASTING = frozenset({EquivocationError.code, RollbackError.code, SplitViewError.code})
"""Codes of holds that only a person ends: the same key said two things, and a later proof unsays neither."""
