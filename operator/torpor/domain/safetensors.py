"""What a safetensors header promises about its file: the way to see a truncated shard before a GPU is asked for.

A file is eight bytes of header length (little-endian), that many bytes of JSON, and the tensors, which must
follow each other without a gap from the first byte to the last.
"""

import json
import math
from collections.abc import Mapping
from typing import TypeGuard, cast

LENGTH_BYTES = 8
MOST_HEADER_BYTES = 100_000_000
"""The format's own limit; a longer header is not one."""

DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
"""Bits of one element. A dtype that is not listed is newer than this table: its tensors' sizes are not checked."""


def header_end(first: bytes, size: int) -> int | str:
    """Where the header ends, in bytes from the start of the file, or what is wrong with it.

    Args:
        first: at least the first eight bytes of the file (fewer only if the file has fewer).
        size: bytes of the whole file.
    """
    if size < LENGTH_BYTES or len(first) < LENGTH_BYTES:
        return f"has {size} bytes, too few for a safetensors header"
    length = int.from_bytes(first[:LENGTH_BYTES], "little")
    if length > MOST_HEADER_BYTES:
        return f"claims a header of {length} bytes, the format allows {MOST_HEADER_BYTES}: not safetensors"
    if LENGTH_BYTES + length > size:
        return f"claims a header of {length} bytes but has {size} bytes in all: truncated"
    return LENGTH_BYTES + length


def header_fault(head: bytes, size: int) -> str | None:
    """What is wrong with a file of `size` bytes that starts with the whole header `head`; None if nothing.

    The sentence has no subject: put the file's name in front of it.
    """
    end = header_end(head, size)
    if isinstance(end, str):
        return end
    try:
        header: object = json.loads(head[LENGTH_BYTES:end])
    except ValueError:
        return "has a header that is not JSON"
    if not _is_object(header):
        return "has a header that is not a JSON object"
    spans: list[tuple[int, int]] = []
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        span = _read_span(tensor)
        if span is None:
            return f"describes tensor {name!r} in a form that is not safetensors"
        spans.append(span)
    return _span_fault(sorted(spans), size - end, size)


def _read_span(tensor: object) -> tuple[int, int] | None:
    """Begin and end of one tensor, if its offsets fit its dtype and shape."""
    if not _is_object(tensor):
        return None
    offsets, shape = tensor.get("data_offsets"), tensor.get("shape")
    if not (_is_counts(offsets) and len(offsets) == 2 and _is_counts(shape)):
        return None
    begin, end = offsets
    bits = DTYPE_BITS.get(str(tensor.get("dtype")))
    if begin > end or (bits is not None and math.prod(shape) * bits != (end - begin) * 8):
        return None
    return begin, end


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _is_counts(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        type(item) is int and item >= 0 for item in cast("list[object]", value)
    )


def _span_fault(spans: list[tuple[int, int]], data_bytes: int, size: int) -> str | None:
    reached = 0
    for begin, end in spans:
        if begin != reached:
            return f"has tensors with a gap or an overlap at byte {min(begin, reached)} of its data"
        reached = end
    if reached > data_bytes:
        return (
            f"has {size} bytes, but its header describes {size - data_bytes + reached}: "
            "truncated; upload it again"
        )
    if reached < data_bytes:
        return f"has {data_bytes - reached} bytes more than its header describes"
    return None
