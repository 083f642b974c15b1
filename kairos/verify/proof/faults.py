"""Every field at fault: a search stops at the first, so each property is asked again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kairos.verify.proof.outcome import Fault
from kairos.verify.proof.reading import OPAQUE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.verify.proof.reading import Reader
    from kairos.verify.proof.search import Search

__all__ = ["Looker", "worded"]

_MOST_DEPTH = 8
_MOST_WORDS = 120


class Looker:
    """Walks both schemas side by side, as long as both are plain objects or arrays."""

    def __init__(self, search: Search, emitted: Reader, accepted: Reader) -> None:
        self._search = search
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
        said = worded(self._emitted.plain(emitted)), worded(self._accepted.plain(accepted))
        return Fault(path, *said, lit)

    def _clash(self, emitted: Any, accepted: Any) -> bool:
        one, other = self._emitted.part(emitted), self._accepted.part(accepted)
        return self._search.solve([one, -other]).found

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
                said = worded(self._emitted.plain(part))
                said = f"{said}, may be absent" if part is not False else "never there"
                needed = worded(self._accepted.plain(wants.get(name, True)))
                lit = self._search.table.atom("required", name)
                yield Fault(here, said, f"{needed}, required", lit)
            elif part is not False:
                yield from self._at(here, part, wants.get(name, True), depth + 1)
        if accepted.get("additionalProperties", True) is not False:
            return
        for name, part in has.items():
            if name not in wants and part is not False:
                yield Fault(f"{path}.{name}", worded(self._emitted.plain(part)), "no such key")
        if rest is not False:
            yield Fault(f"{path}.*", "any other key", "no other keys")


def worded(schema: Any) -> str:  # noqa: C901 - one line a keyword
    """Return a schema in a few words, such as `integer, minimum 0`."""
    if schema is True or schema == {}:
        return "anything"
    if schema is False:
        return "nothing"
    parts: list[str] = []
    for key, value in schema.items():
        if key == "type":
            parts.insert(0, " or ".join(value) if isinstance(value, list) else value)
        elif key == OPAQUE:
            parts += [name.partition("#")[0] for name in value]
        elif key == "anyOf":
            parts.append(" or ".join(worded(part) for part in value))
        elif key == "allOf":
            parts += [worded(part) for part in value if part != {}]
        elif key == "enum":
            parts.append("one of " + ", ".join(json.dumps(one) for one in value))
        elif key == "properties":
            parts.append("with " + ", ".join(value))
        elif key in _WORDED:
            parts.append(f"{key} {json.dumps(value)}")
    text = ", ".join(parts) or "a schema"
    return text if len(text) <= _MOST_WORDS else f"{text[: _MOST_WORDS - 1]}…"


_WORDED = frozenset(
    {
        "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
        "minLength", "maxLength", "pattern", "format", "minItems", "maxItems", "uniqueItems",
        "minProperties", "maxProperties",
    }
)  # fmt: skip
