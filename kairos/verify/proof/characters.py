"""Sets of characters as ranges of code points.

The alphabet is Unicode without surrogates, which no JSON string of pydantic's holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["EVERY", "Chars", "both", "invert", "merge"]

Chars: TypeAlias = "tuple[tuple[int, int], ...]"
"""Code points as inclusive ranges, sorted, apart from one another."""

EVERY: Chars = ((0, 0xD7FF), (0xE000, 0x10FFFF))


def merge(ranges: Iterable[tuple[int, int]]) -> Chars:
    """Return the union of ranges in any order."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return both(tuple(found), EVERY)


def invert(chars: Chars) -> Chars:
    """Return every other character."""
    found, low = [], 0
    for first, last in chars:
        if low < first:
            found.append((low, first - 1))
        low = last + 1
    found.append((low, 0x10FFFF))
    return both(tuple(pair for pair in found if pair[0] <= pair[1]), EVERY)


def both(one: Chars, other: Chars) -> Chars:
    """Return the characters that are in both."""
    found, i, j = [], 0, 0
    while i < len(one) and j < len(other):
        low, high = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if low <= high:
            found.append((low, high))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)
