"""Every field at fault: a search stops at the first, so each property is asked again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from kairos.verify.proof.outcome import Fault
from kairos.verify.proof.terms import Items, Props
from kairos.verify.proof.words import worded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.verify.proof.ground import Ground
    from kairos.verify.proof.reading import Reader
    from kairos.verify.proof.terms import Table

__all__ = ["Looker", "Way", "pinned", "values_at"]

_MOST_DEPTH = 8
_MOST_PLACES = 2_000  # that are looked at; parts that are shared make many
_ALSO = ", of which 1.0 is one"

Way: TypeAlias = "tuple[str | None, ...]"
"""A way into a value: names of properties, and None for an item."""


class Looker:
    """Walks both schemas side by side, as long as both are plain objects or arrays."""

    def __init__(self, ground: Ground, emitted: Reader, accepted: Reader) -> None:
        self._ground = ground
        self._emitted = emitted
        self._accepted = accepted
        self._left = _MOST_PLACES

    def faults(self) -> list[Fault]:
        """Return every fault, outermost first; at least one."""
        emitted, accepted = self._emitted.document, self._accepted.document
        found = list(self._at((), emitted, accepted))
        if found:
            return found
        return [self._fault((), emitted, accepted)]

    def _fault(self, at: Way, emitted: Any, accepted: Any) -> Fault:
        has, needs = self._has(emitted), self._needs(accepted)
        if has == needs and self._emitted.to_the_letter != self._accepted.to_the_letter:
            has += _ALSO if self._emitted.to_the_letter else ""
            needs += _ALSO if self._accepted.to_the_letter else ""
        return Fault(_path(at), has, needs, at=at)

    def _has(self, emitted: Any) -> str:
        return worded(emitted, self._emitted.plain)

    def _needs(self, accepted: Any) -> str:
        return worded(accepted, self._accepted.plain)

    def _clash(self, emitted: Any, accepted: Any) -> bool:
        one = self._ground.part(self._emitted, emitted)
        other = self._ground.part(self._accepted, accepted)
        return self._ground.search.solve([one, -other]).found

    def _at(self, at: Way, emitted: Any, accepted: Any) -> Iterator[Fault]:
        self._left -= 1
        if self._left < 0 or not self._clash(emitted, accepted):
            return
        emitted, accepted = self._emitted.plain(emitted), self._accepted.plain(accepted)
        inner: list[Fault] = []
        if len(at) < _MOST_DEPTH and isinstance(emitted, dict) and isinstance(accepted, dict):
            if emitted.get("type") == "object" and accepted.get("type") == "object":
                inner = list(self._of_properties(at, emitted, accepted))
            elif emitted.get("type") == "array" and accepted.get("type") == "array":
                both = emitted.get("items", True), accepted.get("items", True)
                inner = list(self._at((*at, None), *both))
        yield from inner or [self._fault(at, emitted, accepted)]

    def _of_properties(
        self, at: Way, emitted: dict[str, Any], accepted: dict[str, Any]
    ) -> Iterator[Fault]:
        has, wants = emitted.get("properties", {}), accepted.get("properties", {})
        rest = emitted.get("additionalProperties", True)
        always = set(emitted.get("required", ()))
        required = accepted.get("required", ())
        for name in dict.fromkeys((*wants, *required)):
            here, part = (*at, name), has.get(name, rest)
            if name in required and name not in always:
                said = "missing" if part is False else f"{self._has(part)}, may be missing"
                lit = self._ground.table.atom("required", name)
                yield Fault(
                    _path(here), said, f"required {self._needs(wants.get(name, True))}", lit
                )
            elif part is not False:
                yield from self._at(here, part, wants.get(name, True))
        if accepted.get("additionalProperties", True) is not False:
            return
        for name, part in has.items():
            if name not in wants and part is not False:
                yield Fault(_path((*at, name)), self._has(part), "no such key")
        if rest is not False:
            yield Fault(_path((*at, "*")), "any other key", "no other keys")


def _path(at: Way) -> str:
    return "$" + "".join("[*]" if name is None else f".{name}" for name in at)


def values_at(at: Way, value: Any) -> list[Any]:
    """Return what stands in a value at the end of a way; several where it leads through items."""
    found = [value]
    for name in at:
        if name is None:
            found = [item for one in found if isinstance(one, list) for item in one]
        else:
            found = [one[name] for one in found if isinstance(one, dict) and name in one]
    return found


def pinned(at: Way, lit: int, table: Table) -> int:
    """Return the literal of values in which another one holds at the end of a way."""
    for name in reversed(at):
        if name is None:
            lit = table.all_of([table.items(Items((), lit)), table.more("size", 1)])
        else:
            lit = table.all_of([table.props(Props(((name, lit),))), table.atom("required", name)])
    return lit
