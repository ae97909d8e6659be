from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Lane(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LANE_UNSPECIFIED: _ClassVar[Lane]
    LANE_CONTROL: _ClassVar[Lane]
    LANE_BULK: _ClassVar[Lane]
LANE_UNSPECIFIED: Lane
LANE_CONTROL: Lane
LANE_BULK: Lane

class HelloRequest(_message.Message):
    __slots__ = ("nonce", "versions", "trust")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    versions: _containers.RepeatedScalarFieldContainer[str]
    trust: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, nonce: _Optional[bytes] = ..., versions: _Optional[_Iterable[str]] = ..., trust: _Optional[_Iterable[bytes]] = ...) -> None: ...

class HelloResponse(_message.Message):
    __slots__ = ("version", "endpoint", "signature", "certificates", "standards", "now", "suite", "trust")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    STANDARDS_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    version: str
    endpoint: str
    signature: bytes
    certificates: _containers.RepeatedScalarFieldContainer[bytes]
    standards: _containers.RepeatedScalarFieldContainer[str]
    now: str
    suite: str
    trust: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, version: _Optional[str] = ..., endpoint: _Optional[str] = ..., signature: _Optional[bytes] = ..., certificates: _Optional[_Iterable[bytes]] = ..., standards: _Optional[_Iterable[str]] = ..., now: _Optional[str] = ..., suite: _Optional[str] = ..., trust: _Optional[_Iterable[bytes]] = ...) -> None: ...

class StreamId(_message.Message):
    __slots__ = ("node", "zone", "topic", "audience")
    NODE_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    node: str
    zone: str
    topic: str
    audience: str
    def __init__(self, node: _Optional[str] = ..., zone: _Optional[str] = ..., topic: _Optional[str] = ..., audience: _Optional[str] = ...) -> None: ...

class Mark(_message.Message):
    __slots__ = ("stream", "incarnation", "epoch", "seq", "head")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    stream: StreamId
    incarnation: str
    epoch: int
    seq: int
    head: str
    def __init__(self, stream: _Optional[_Union[StreamId, _Mapping]] = ..., incarnation: _Optional[str] = ..., epoch: _Optional[int] = ..., seq: _Optional[int] = ..., head: _Optional[str] = ...) -> None: ...

class FollowRequest(_message.Message):
    __slots__ = ("marks", "limit", "wait_ms", "returned", "lane")
    MARKS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    marks: _containers.RepeatedCompositeFieldContainer[Mark]
    limit: int
    wait_ms: int
    returned: bool
    lane: Lane
    def __init__(self, marks: _Optional[_Iterable[_Union[Mark, _Mapping]]] = ..., limit: _Optional[int] = ..., wait_ms: _Optional[int] = ..., returned: _Optional[bool] = ..., lane: _Optional[_Union[Lane, str]] = ...) -> None: ...

class FetchRequest(_message.Message):
    __slots__ = ("stream", "seq", "sha256", "offset", "chunk_bytes")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    stream: StreamId
    seq: int
    sha256: str
    offset: int
    chunk_bytes: int
    def __init__(self, stream: _Optional[_Union[StreamId, _Mapping]] = ..., seq: _Optional[int] = ..., sha256: _Optional[str] = ..., offset: _Optional[int] = ..., chunk_bytes: _Optional[int] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("body",)
    BODY_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    def __init__(self, body: _Optional[bytes] = ...) -> None: ...

class Envelope(_message.Message):
    __slots__ = ("suite", "payload_type", "payload", "signature", "certificates", "short_of")
    SUITE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_TYPE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    SHORT_OF_FIELD_NUMBER: _ClassVar[int]
    suite: str
    payload_type: str
    payload: bytes
    signature: bytes
    certificates: _containers.RepeatedScalarFieldContainer[bytes]
    short_of: Mark
    def __init__(self, suite: _Optional[str] = ..., payload_type: _Optional[str] = ..., payload: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., certificates: _Optional[_Iterable[bytes]] = ..., short_of: _Optional[_Union[Mark, _Mapping]] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("stream", "seq", "incarnation", "epoch", "previous", "kind", "made_at", "run", "slice_index", "slices", "period", "standard", "replaces", "segments", "manifest", "continues", "cut")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MADE_AT_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    SLICE_INDEX_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    STANDARD_FIELD_NUMBER: _ClassVar[int]
    REPLACES_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    CONTINUES_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    stream: StreamId
    seq: int
    incarnation: str
    epoch: int
    previous: str
    kind: str
    made_at: str
    run: str
    slice_index: int
    slices: int
    period: str
    standard: str
    replaces: _containers.RepeatedScalarFieldContainer[int]
    segments: _containers.RepeatedCompositeFieldContainer[SegmentRef]
    manifest: Manifest
    continues: Mark
    cut: JournalCut
    def __init__(self, stream: _Optional[_Union[StreamId, _Mapping]] = ..., seq: _Optional[int] = ..., incarnation: _Optional[str] = ..., epoch: _Optional[int] = ..., previous: _Optional[str] = ..., kind: _Optional[str] = ..., made_at: _Optional[str] = ..., run: _Optional[str] = ..., slice_index: _Optional[int] = ..., slices: _Optional[int] = ..., period: _Optional[str] = ..., standard: _Optional[str] = ..., replaces: _Optional[_Iterable[int]] = ..., segments: _Optional[_Iterable[_Union[SegmentRef, _Mapping]]] = ..., manifest: _Optional[_Union[Manifest, _Mapping]] = ..., continues: _Optional[_Union[Mark, _Mapping]] = ..., cut: _Optional[_Union[JournalCut, _Mapping]] = ...) -> None: ...

class JournalCut(_message.Message):
    __slots__ = ("lsn", "hash", "at", "captured_at", "missing")
    LSN_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_AT_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    lsn: int
    hash: str
    at: str
    captured_at: str
    missing: int
    def __init__(self, lsn: _Optional[int] = ..., hash: _Optional[str] = ..., at: _Optional[str] = ..., captured_at: _Optional[str] = ..., missing: _Optional[int] = ...) -> None: ...

class ObjectClaim(_message.Message):
    __slots__ = ("holder", "sha256", "bytes", "sealed_sha256", "sealed_bytes", "suite", "key", "keys", "made_at")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SEALED_SHA256_FIELD_NUMBER: _ClassVar[int]
    SEALED_BYTES_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    MADE_AT_FIELD_NUMBER: _ClassVar[int]
    holder: str
    sha256: str
    bytes: int
    sealed_sha256: str
    sealed_bytes: int
    suite: str
    key: str
    keys: _containers.RepeatedCompositeFieldContainer[WrappedKey]
    made_at: str
    def __init__(self, holder: _Optional[str] = ..., sha256: _Optional[str] = ..., bytes: _Optional[int] = ..., sealed_sha256: _Optional[str] = ..., sealed_bytes: _Optional[int] = ..., suite: _Optional[str] = ..., key: _Optional[str] = ..., keys: _Optional[_Iterable[_Union[WrappedKey, _Mapping]]] = ..., made_at: _Optional[str] = ...) -> None: ...

class WrappedKey(_message.Message):
    __slots__ = ("key", "recipient", "wrapped")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    WRAPPED_FIELD_NUMBER: _ClassVar[int]
    key: str
    recipient: str
    wrapped: bytes
    def __init__(self, key: _Optional[str] = ..., recipient: _Optional[str] = ..., wrapped: _Optional[bytes] = ...) -> None: ...

class SegmentRef(_message.Message):
    __slots__ = ("table", "sha256", "bytes", "rows", "digest", "totals", "disclosure")
    class TotalsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    TABLE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    DISCLOSURE_FIELD_NUMBER: _ClassVar[int]
    table: str
    sha256: str
    bytes: int
    rows: int
    digest: str
    totals: _containers.ScalarMap[str, int]
    disclosure: str
    def __init__(self, table: _Optional[str] = ..., sha256: _Optional[str] = ..., bytes: _Optional[int] = ..., rows: _Optional[int] = ..., digest: _Optional[str] = ..., totals: _Optional[_Mapping[str, int]] = ..., disclosure: _Optional[str] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("first_seq", "tables", "quarantined")
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    first_seq: int
    tables: _containers.RepeatedCompositeFieldContainer[TableTotals]
    quarantined: int
    def __init__(self, first_seq: _Optional[int] = ..., tables: _Optional[_Iterable[_Union[TableTotals, _Mapping]]] = ..., quarantined: _Optional[int] = ...) -> None: ...

class TableTotals(_message.Message):
    __slots__ = ("table", "rows", "digest", "totals")
    class TotalsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    TABLE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    table: str
    rows: int
    digest: str
    totals: _containers.ScalarMap[str, int]
    def __init__(self, table: _Optional[str] = ..., rows: _Optional[int] = ..., digest: _Optional[str] = ..., totals: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Topology(_message.Message):
    __slots__ = ("trust_domain", "version", "rows", "made_at")
    TRUST_DOMAIN_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MADE_AT_FIELD_NUMBER: _ClassVar[int]
    trust_domain: str
    version: int
    rows: _containers.RepeatedCompositeFieldContainer[NodeRow]
    made_at: str
    def __init__(self, trust_domain: _Optional[str] = ..., version: _Optional[int] = ..., rows: _Optional[_Iterable[_Union[NodeRow, _Mapping]]] = ..., made_at: _Optional[str] = ...) -> None: ...

class NodeRow(_message.Message):
    __slots__ = ("node", "name_zh", "name_en", "tier", "region", "parent", "zones", "carrier", "addresses", "epoch", "dials", "protects")
    class AddressesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NODE_FIELD_NUMBER: _ClassVar[int]
    NAME_ZH_FIELD_NUMBER: _ClassVar[int]
    NAME_EN_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    ZONES_FIELD_NUMBER: _ClassVar[int]
    CARRIER_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    DIALS_FIELD_NUMBER: _ClassVar[int]
    PROTECTS_FIELD_NUMBER: _ClassVar[int]
    node: str
    name_zh: str
    name_en: str
    tier: str
    region: str
    parent: str
    zones: _containers.RepeatedScalarFieldContainer[str]
    carrier: _containers.RepeatedScalarFieldContainer[str]
    addresses: _containers.ScalarMap[str, str]
    epoch: int
    dials: str
    protects: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, node: _Optional[str] = ..., name_zh: _Optional[str] = ..., name_en: _Optional[str] = ..., tier: _Optional[str] = ..., region: _Optional[str] = ..., parent: _Optional[str] = ..., zones: _Optional[_Iterable[str]] = ..., carrier: _Optional[_Iterable[str]] = ..., addresses: _Optional[_Mapping[str, str]] = ..., epoch: _Optional[int] = ..., dials: _Optional[str] = ..., protects: _Optional[_Iterable[str]] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("trust_domain", "node", "epoch", "addresses", "cuts", "without", "declaration", "made_at")
    class AddressesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TRUST_DOMAIN_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    CUTS_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_FIELD_NUMBER: _ClassVar[int]
    DECLARATION_FIELD_NUMBER: _ClassVar[int]
    MADE_AT_FIELD_NUMBER: _ClassVar[int]
    trust_domain: str
    node: str
    epoch: int
    addresses: _containers.ScalarMap[str, str]
    cuts: _containers.RepeatedCompositeFieldContainer[GrantedCut]
    without: _containers.RepeatedScalarFieldContainer[str]
    declaration: str
    made_at: str
    def __init__(self, trust_domain: _Optional[str] = ..., node: _Optional[str] = ..., epoch: _Optional[int] = ..., addresses: _Optional[_Mapping[str, str]] = ..., cuts: _Optional[_Iterable[_Union[GrantedCut, _Mapping]]] = ..., without: _Optional[_Iterable[str]] = ..., declaration: _Optional[str] = ..., made_at: _Optional[str] = ...) -> None: ...

class GrantedCut(_message.Message):
    __slots__ = ("zone", "lsn", "hash")
    ZONE_FIELD_NUMBER: _ClassVar[int]
    LSN_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    zone: str
    lsn: int
    hash: str
    def __init__(self, zone: _Optional[str] = ..., lsn: _Optional[int] = ..., hash: _Optional[str] = ...) -> None: ...
