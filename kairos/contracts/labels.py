"""What in a contract is sensitive: by its name, by its type, or because somebody says so.

A sensitive value bears a label.  `Annotated[str, Sensitive("pii")]` bears the one it is given;
a field whose name is that of a secret, or whose type is pydantic's SecretStr, bears its own path,
such as `user.password`.  Lists and dicts add nothing to a path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from kairos.exceptions import ConfigError
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

    from kairos.contracts.contract import Contract

__all__ = ["Mark", "Sensitive", "marks_of"]

_MARK = "kairos_sensitive"
_MOST_NODES = 20_000


@dataclass(frozen=True, slots=True)
class Sensitive:
    """Marks a field, a parameter or an output as sensitive: `Annotated[str, Sensitive("pii")]`.

    What bears the mark bears the label, and so does everything made from it, until a step
    declassifies it by that name.  Without a label of its own a field bears its path, such as
    `user.email`.  Changes nothing in what is accepted or written.

    Raises ConfigError for a label that is no text.
    """

    label: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.label, str):
            raise ConfigError(
                "the label of Sensitive(...) is no text",
                where=declared_here(),
                expected="a name such as 'pii'",
                found=type(self.label).__name__,
            )

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        schema = handler(source)
        held = schema.get("metadata") or {}
        marked = {**schema, "metadata": {**held, _MARK: (*held.get(_MARK, ()), self.label)}}
        return cast("CoreSchema", marked)


class Mark(NamedTuple):
    """A sensitive place in a value: its path, and the label it was given, or "" for its path.

    Of what holds itself only the first place is told: it stands for others anywhere `within`.
    """

    path: tuple[str, ...]
    label: str = ""
    within: tuple[str, ...] | None = None


def marks_of(contract: Contract, is_secret: Callable[[str], bool]) -> tuple[Mark, ...]:
    """Return the sensitive places of what a contract describes; `is_secret` judges names.

    The whole value is marked where there are too many places to tell them apart.  Raises
    ConfigError, or whatever a type's own hooks raise, for a contract that cannot be built.
    """
    walk = _Walk(is_secret)
    found = dict.fromkeys(walk.through(contract.adapter.core_schema, (), frozenset(), named=True))
    return tuple(found) if walk.left > 0 else (Mark(()),)


# Of two ways to read the same value one is enough.
_ONE_WAY = {"json-or-python": "json_schema", "lax-or-strict": "strict_schema"}
_NO_SCHEMAS = frozenset({"metadata", "config", "serialization", "default", "expected", "cls"})


class _Walk:
    """A walk over a core schema.  It may be recursive, and wide as a tree though small as a graph.

    So a definition is entered once on each path, and `left` counts down over all paths.
    """

    def __init__(self, is_secret: Callable[[str], bool]) -> None:
        self._is_secret = is_secret
        self._definitions: dict[str, Any] = {}
        self._again: set[str] = set()
        self.left = _MOST_NODES

    def through(
        self, schema: Any, path: tuple[str, ...], inside: frozenset[str], *, named: bool
    ) -> Iterator[Mark]:
        self.left -= 1
        if self.left <= 0 or not isinstance(schema, dict):
            return
        for label in (schema.get("metadata") or {}).get(_MARK, ()):
            yield Mark(path, label)
        if _is_a_secret_type(schema):
            yield Mark(path)
            return
        kind = schema.get("type")
        if kind == "definitions":
            self._definitions |= {each["ref"]: each for each in schema["definitions"]}
            yield from self.through(schema["schema"], path, inside, named=named)
        elif kind == "definition-ref":
            yield from self._defined(schema["schema_ref"], path, inside, named=named)
        elif kind in _ONE_WAY:
            yield from self.through(schema[_ONE_WAY[kind]], path, inside, named=named)
        else:
            for names, part in _parts(schema):
                secret = named and any(map(self._is_secret, names))
                below = (*path, names[0]) if names else path
                if secret:
                    yield Mark(below)
                # what is secret as a whole needs no names for its parts, only their own marks
                yield from self.through(part, below, inside, named=named and not secret)

    def _defined(
        self, ref: str, path: tuple[str, ...], inside: frozenset[str], *, named: bool
    ) -> Iterator[Mark]:
        if ref in inside:
            self._again.add(ref)
            return
        target = self._definitions.get(ref)
        found = list(self.through(target, path, inside | {ref}, named=named))
        holds_itself = ref in self._again
        yield from (mark._replace(within=path) if holds_itself else mark for mark in found)


def _parts(schema: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give the schemas inside one, each with the names that its value has there."""
    for key, held in schema.items():
        if key in _NO_SCHEMAS:
            continue
        if key == "computed_fields":
            yield from ((_names(f, f["property_name"]), f["return_schema"]) for f in held)
        elif key == "fields" and isinstance(held, dict | list):
            pairs = (
                held.items()
                if isinstance(held, dict)
                else [(f["name"], f) for f in held if isinstance(f, dict)]
            )
            yield from ((_names(field, name), field["schema"]) for name, field in pairs)
        elif key == "arguments_schema" and isinstance(held, list):
            yield from ((_names(each, each["name"]), each["schema"]) for each in held)
        elif isinstance(held, dict) and "type" in held:
            yield (), held
        elif isinstance(held, dict):  # the choices of a tagged union
            yield from (((), each) for each in held.values() if isinstance(each, dict))
        elif isinstance(held, list):  # a choice may come with its label
            inner = (each[0] if isinstance(each, tuple) else each for each in held)
            yield from (((), each) for each in inner if isinstance(each, dict))


def _names(field: dict[str, Any], name: str) -> tuple[str, ...]:
    """Return the names of a field, first the one under which its value is stored."""
    aliases = [field.get(key) for key in ("serialization_alias", "validation_alias", "alias")]
    stored = [alias for alias in aliases if isinstance(alias, str)]
    return tuple(dict.fromkeys((*stored, name)))


def _is_a_secret_type(schema: dict[str, Any]) -> bool:
    """Tell pydantic's SecretStr, SecretBytes and Secret[T] from their own functions."""
    function = schema.get("function")
    if schema.get("type") != "function-after" or not isinstance(function, dict):
        return False
    called = function.get("function")
    if isinstance(called, type):
        return any(base.__name__ == "_SecretBase" for base in called.__mro__)
    at = (getattr(called, "__module__", ""), getattr(called, "__qualname__", ""))
    return at[0] == "pydantic.types" and at[1].startswith("Secret.")
