"""Names for references that close a circle, so that the same circle twice is one term.

Two documents that say the same of `#/$defs/Tree`, and of all that it leads to, mean the same by
it: what stands elsewhere in them does not matter.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from kairos.verify.proof.limits import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Circles"]

_BY_REFERENCE = ("$defs", "definitions")  # of the root: counted only as far as it is referred to


class Circles:
    """The references of one document; `target` returns what a reference leads to."""

    def __init__(self, target: Callable[[str], Any]) -> None:
        self._target = target
        self._said: dict[str, str] = {}
        self._next: dict[str, frozenset[str]] = {}

    def name(self, ref: str) -> tuple[str, str]:
        """Return the same name for references of one spelling that mean the same."""
        todo, seen = [ref], {ref}
        while todo:
            more = self._leads_to(todo.pop()) - seen
            seen |= more
            todo += more
        whole = "".join(f"{one} {self._said[one]}\n" for one in sorted(seen))
        return ref, sha256(whole.encode()).hexdigest()

    def _leads_to(self, ref: str) -> frozenset[str]:
        known = self._next.get(ref)
        if known is not None:
            return known
        try:
            part = self._target(ref)
        except UnsupportedError:  # what only looks like a reference, as in an enum
            part = None
        if ref == "#" and isinstance(part, dict):
            part = {name: inner for name, inner in part.items() if name not in _BY_REFERENCE}
        self._said[ref] = sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()
        found = self._next[ref] = frozenset(_references(part))
        return found


def _references(part: Any) -> Iterator[str]:
    todo = [part]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if isinstance(one.get("$ref"), str):
                yield one["$ref"]
            todo += one.values()
        elif isinstance(one, list):
            todo += one
