"""What a driver and a worker process say to each other: JSON, with values as bytes beside it.

A message is a prefix with two lengths, a head (a JSON object), and blobs one after another, whose
sizes the head lists.  Values are JSON already and are never parsed on the way.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["GarbledError", "pack", "receive"]

_PREFIX = struct.Struct(">4sIQ")
_MAGIC = b"krs1"


class GarbledError(ValueError):
    """What arrived is no message; says why, in words that hold nothing of it."""


def pack(head: dict[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """Return one message, ready to be sent."""
    # ASCII only, so that a lone surrogate in a path or a message passes too
    written = json.dumps({**head, "blobs": [len(blob) for blob in blobs]}).encode("ascii")
    return b"".join((_PREFIX.pack(_MAGIC, len(written), sum(map(len, blobs))), written, *blobs))


def receive(
    read: Callable[[int], bytes], limit: int | None = None
) -> tuple[dict[str, Any], list[bytes]]:
    """Return the next message; `read(n)` gives exactly `n` bytes or raises.

    Raises GarbledError for what is no message, and for one of more than `limit` bytes, which is
    then not read.
    """
    magic, head_size, body_size = _PREFIX.unpack(read(_PREFIX.size))
    if magic != _MAGIC:
        raise GarbledError("answered what is no message")
    if limit is not None and head_size + body_size > limit:
        raise GarbledError(
            f"answered with {head_size + body_size:,} bytes, more than the {limit:,} allowed"
        )
    head, sizes = _head(read(head_size))
    if sum(sizes) != body_size:
        raise GarbledError("answered with lengths that do not add up")
    return head, [read(size) for size in sizes]


def _head(raw: bytes) -> tuple[dict[str, Any], list[int]]:
    try:
        head = json.loads(raw.decode("ascii"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise GarbledError("answered what is not JSON") from None
    sizes = head.pop("blobs", None) if isinstance(head, dict) else None
    if not isinstance(sizes, list) or not all(type(size) is int and size >= 0 for size in sizes):
        raise GarbledError("answered without the sizes of its values")
    return head, sizes


def _refuse(constant: str) -> None:
    raise ValueError(constant)
