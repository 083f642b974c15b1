"""Every field at fault: a search stops at the first, so each property is asked again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.verify.proof.outcome import Fault
from kairos.verify.proof.words import worded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.verify.proof.ground import Ground
    from kairos.verify.proof.reading import Reader

__all__ = ["Looker"]

_MOST_DEPTH = 8


class Looker:
    """Walks both schemas side by side, as long as both are plain objects or arrays."""

    def __init__(self, ground: Ground, emitted: Reader, accepted: Reader) -> None:
        self._ground = ground
        self._emitted = emitted
        self._accepted = accepted

    def faults(self) -> list[Fault]:
        """Return every fault, outermost first; at least one."""
        emitted, accepted = self._emitted.document, self._accepted.document
        found = list(self._at("$", emitted, accepted, 0))
        if found:
            return found
        return [self._fault("$", emitted, accepted)]

    def _fault(self, path: str, emitted: Any, accepted: Any, lit: int | None = None) -> Fault:
        return Fault(path, self._has(emitted), self._needs(accepted), lit)

    def _has(self, emitted: Any) -> str:
        return worded(emitted, self._emitted.plain)

    def _needs(self, accepted: Any) -> str:
        return worded(accepted, self._accepted.plain)

    def _clash(self, emitted: Any, accepted: Any) -> bool:
        one = self._ground.part(self._emitted, emitted)
        other = self._ground.part(self._accepted, accepted)
        return self._ground.search.solve([one, -other]).found

    def _at(self, path: str, emitted: Any, accepted: Any, depth: int) -> Iterator[Fault]:
        if not self._clash(emitted, accepted):
            return
        emitted, accepted = self._emitted.plain(emitted), self._accepted.plain(accepted)
        inner: list[Fault] = []
        if depth < _MOST_DEPTH and isinstance(emitted, dict) and isinstance(accepted, dict):
            if emitted.get("type") == "object" and accepted.get("type") == "object":
                inner = list(self._of_properties(path, emitted, accepted, depth))
            elif emitted.get("type") == "array" and accepted.get("type") == "array":
                both = emitted.get("items", True), accepted.get("items", True)
                inner = list(self._at(f"{path}[*]", *both, depth + 1))
        yield from inner or [self._fault(path, emitted, accepted)]

    def _of_properties(
        self, path: str, emitted: dict[str, Any], accepted: dict[str, Any], depth: int
    ) -> Iterator[Fault]:
        has, wants = emitted.get("properties", {}), accepted.get("properties", {})
        rest = emitted.get("additionalProperties", True)
        always = set(emitted.get("required", ()))
        required = accepted.get("required", ())
        for name in dict.fromkeys((*wants, *required)):
            here, part = f"{path}.{name}", has.get(name, rest)
            if name in required and name not in always:
                said = "missing" if part is False else f"{self._has(part)}, may be missing"
                lit = self._ground.table.atom("required", name)
                yield Fault(here, said, f"required {self._needs(wants.get(name, True))}", lit)
            elif part is not False:
                yield from self._at(here, part, wants.get(name, True), depth + 1)
        if accepted.get("additionalProperties", True) is not False:
            return
        for name, part in has.items():
            if name not in wants and part is not False:
                yield Fault(f"{path}.{name}", self._has(part), "no such key")
        if rest is not False:
            yield Fault(f"{path}.*", "any other key", "no other keys")
