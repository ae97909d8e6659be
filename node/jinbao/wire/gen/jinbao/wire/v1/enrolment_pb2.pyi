from jinbao.wire.gen.jinbao.wire.v1 import wire_pb2 as _wire_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ZoneKeys(_message.Message):
    __slots__ = ("zone", "line_request", "seal_request")
    ZONE_FIELD_NUMBER: _ClassVar[int]
    LINE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    SEAL_REQUEST_FIELD_NUMBER: _ClassVar[int]
    zone: str
    line_request: bytes
    seal_request: bytes
    def __init__(self, zone: _Optional[str] = ..., line_request: _Optional[bytes] = ..., seal_request: _Optional[bytes] = ...) -> None: ...

class EnrolRequest(_message.Message):
    __slots__ = ("claim", "proof")
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    claim: bytes
    proof: bytes
    def __init__(self, claim: _Optional[bytes] = ..., proof: _Optional[bytes] = ...) -> None: ...

class EnrolClaim(_message.Message):
    __slots__ = ("token_id", "node", "zones")
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    ZONES_FIELD_NUMBER: _ClassVar[int]
    token_id: str
    node: str
    zones: _containers.RepeatedCompositeFieldContainer[ZoneKeys]
    def __init__(self, token_id: _Optional[str] = ..., node: _Optional[str] = ..., zones: _Optional[_Iterable[_Union[ZoneKeys, _Mapping]]] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("envelope",)
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    envelope: _wire_pb2.Envelope
    def __init__(self, envelope: _Optional[_Union[_wire_pb2.Envelope, _Mapping]] = ...) -> None: ...

class RenewClaim(_message.Message):
    __slots__ = ("endpoint", "keys")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    keys: ZoneKeys
    def __init__(self, endpoint: _Optional[str] = ..., keys: _Optional[_Union[ZoneKeys, _Mapping]] = ...) -> None: ...

class EnrolResponse(_message.Message):
    __slots__ = ("zones", "anchors", "trust")
    ZONES_FIELD_NUMBER: _ClassVar[int]
    ANCHORS_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    zones: _containers.RepeatedCompositeFieldContainer[ZoneCertificates]
    anchors: _containers.RepeatedScalarFieldContainer[bytes]
    trust: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, zones: _Optional[_Iterable[_Union[ZoneCertificates, _Mapping]]] = ..., anchors: _Optional[_Iterable[bytes]] = ..., trust: _Optional[_Iterable[bytes]] = ...) -> None: ...

class TrustRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TrustResponse(_message.Message):
    __slots__ = ("trust",)
    TRUST_FIELD_NUMBER: _ClassVar[int]
    trust: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, trust: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ZoneCertificates(_message.Message):
    __slots__ = ("zone", "line_chain", "seal_chain")
    ZONE_FIELD_NUMBER: _ClassVar[int]
    LINE_CHAIN_FIELD_NUMBER: _ClassVar[int]
    SEAL_CHAIN_FIELD_NUMBER: _ClassVar[int]
    zone: str
    line_chain: _containers.RepeatedScalarFieldContainer[bytes]
    seal_chain: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, zone: _Optional[str] = ..., line_chain: _Optional[_Iterable[bytes]] = ..., seal_chain: _Optional[_Iterable[bytes]] = ...) -> None: ...

class EnrolmentFile(_message.Message):
    __slots__ = ("enrol", "renew", "response")
    ENROL_FIELD_NUMBER: _ClassVar[int]
    RENEW_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    enrol: EnrolRequest
    renew: RenewRequest
    response: EnrolResponse
    def __init__(self, enrol: _Optional[_Union[EnrolRequest, _Mapping]] = ..., renew: _Optional[_Union[RenewRequest, _Mapping]] = ..., response: _Optional[_Union[EnrolResponse, _Mapping]] = ...) -> None: ...
