"""A zstd frame's shape, read without decompressing it: how large its output can be, and that it is one frame alone.

A frame is blocks of at most 128 KiB, each with its own header, so that a walk over the
headers bounds the output whatever the frame claims. Source: RFC 8878, 3.1.1.
"""

from __future__ import annotations

from jinbao.model.errors import UnacceptableError

MAGIC = b"\x28\xb5\x2f\xfd"
BLOCK_BYTES_MAX = 128 << 10

_RAW, _RLE, _COMPRESSED = range(3)
_SINGLE_SEGMENT, _RESERVED, _CHECKSUM, _DICTIONARY = 0x20, 0x08, 0x04, 0x03
_SIZE_BYTES = {0: 0, 1: 2, 2: 4, 3: 8}
_SHORT_SIZE_OFFSET = 256
_CHECKSUM_BYTES, _BLOCK_HEADER_BYTES = 4, 3


def check_frame(content: bytes, *, size: int, window_bytes_max: int) -> None:
    """Check that `content` is exactly one frame that can give `size` bytes and no other number.

    Raises UnacceptableError: for another magic, a dictionary, a window above the limit, a
    claimed size that is not `size`, blocks that give less or more, or bytes after the frame.
    """
    try:
        at, claimed, window, has_checksum = _header(content)
        if window > window_bytes_max:
            raise UnacceptableError(
                "zstd frame: window", expected=f"at most {window_bytes_max} bytes", got=window
            )
        if claimed not in (None, size):
            raise UnacceptableError(
                "zstd frame: size", expected=f"{size} bytes as its page says", got=claimed
            )
        end, least, most = _blocks(content, at)
    except (IndexError, ValueError) as exc:
        raise UnacceptableError("zstd frame", expected="a frame of RFC 8878", got=str(exc)) from exc
    if not least <= size <= most:
        raise UnacceptableError(
            "zstd frame: blocks", expected=f"blocks that give {size} bytes", got=f"{least} to {most}"
        )
    end += _CHECKSUM_BYTES if has_checksum else 0
    if end != len(content):
        raise UnacceptableError("zstd frame: end", expected=f"at byte {len(content)}", got=f"at byte {end}")


def _header(content: bytes) -> tuple[int, int | None, int, bool]:
    """Where blocks begin, the claimed output, the window, and whether a checksum follows; ValueError for no frame."""
    if content[:4] != MAGIC:
        msg = f"magic {content[:4].hex()}"
        raise ValueError(msg)
    descriptor = content[4]
    if descriptor & (_RESERVED | _DICTIONARY):
        msg = f"descriptor {descriptor:#x}: a dictionary or a reserved bit"
        raise ValueError(msg)
    at, window, is_single = 5, 0, bool(descriptor & _SINGLE_SEGMENT)
    if not is_single:
        exponent, mantissa = content[at] >> 3, content[at] & 7
        window = (1 << (10 + exponent)) + ((1 << (7 + exponent)) * mantissa)
        at += 1
    width = _SIZE_BYTES[descriptor >> 6] or int(is_single)
    if at + width > len(content):
        msg = "an end inside the header"
        raise ValueError(msg)
    claimed = int.from_bytes(content[at : at + width], "little") if width else None
    if claimed is not None and width == _SIZE_BYTES[1]:
        claimed += _SHORT_SIZE_OFFSET
    return at + width, claimed, window or claimed or 0, bool(descriptor & _CHECKSUM)


def _blocks(content: bytes, at: int) -> tuple[int, int, int]:
    """Where the last block ends, and the least and the most the blocks can give."""
    least = most = 0
    is_last = False
    while not is_last:
        if at + _BLOCK_HEADER_BYTES > len(content):
            msg = "an end before the last block"
            raise ValueError(msg)
        head = int.from_bytes(content[at : at + _BLOCK_HEADER_BYTES], "little")
        is_last, kind, size = bool(head & 1), (head >> 1) & 3, head >> 3
        if kind > _COMPRESSED or size > BLOCK_BYTES_MAX:
            msg = f"a block of type {kind} with {size} bytes"
            raise ValueError(msg)
        least += 0 if kind == _COMPRESSED else size
        most += BLOCK_BYTES_MAX if kind == _COMPRESSED else size
        at += _BLOCK_HEADER_BYTES + (1 if kind == _RLE else size)
    return at, least, most
