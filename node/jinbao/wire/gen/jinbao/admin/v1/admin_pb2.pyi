from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AskRequest(_message.Message):
    __slots__ = ("question", "arguments", "claimed")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    CLAIMED_FIELD_NUMBER: _ClassVar[int]
    question: str
    arguments: bytes
    claimed: str
    def __init__(self, question: _Optional[str] = ..., arguments: _Optional[bytes] = ..., claimed: _Optional[str] = ...) -> None: ...

class AskResponse(_message.Message):
    __slots__ = ("answer", "attachment", "problem")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    answer: bytes
    attachment: bytes
    problem: Problem
    def __init__(self, answer: _Optional[bytes] = ..., attachment: _Optional[bytes] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("code", "thing", "expected", "got", "next_step", "exit_code")
    CODE_FIELD_NUMBER: _ClassVar[int]
    THING_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    GOT_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    code: str
    thing: str
    expected: str
    got: str
    next_step: str
    exit_code: int
    def __init__(self, code: _Optional[str] = ..., thing: _Optional[str] = ..., expected: _Optional[str] = ..., got: _Optional[str] = ..., next_step: _Optional[str] = ..., exit_code: _Optional[int] = ...) -> None: ...
