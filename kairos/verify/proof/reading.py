"""JSON Schema 2020-12 read into terms.

What is read here is checked already: a document of the user's by `kairos.contracts`, which names
what is wrong with it, and a generated one by having been generated.  A `$ref` is written out,
save where it closes a circle.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from kairos.contracts.json_keywords import ASSERTIONS, is_free_format
from kairos.verify.proof.circles import Circles
from kairos.verify.proof.limits import BudgetSpentError, UnsupportedError
from kairos.verify.proof.terms import FALSE, KINDS, NUMBERS, TRUE, Items, Props, Table, exact
from kairos.verify.proof.unevaluated import without_unevaluated

if TYPE_CHECKING:
    from collections.abc import Callable

    from kairos.verify.proof.limits import Meter

__all__ = ["OPAQUE", "Reader"]

OPAQUE = "x-kairos-opaque"
"""A keyword of kairos's own: a list of names for predicates that no keyword can say."""

_SAYING = ASSERTIONS | {OPAQUE}
_WHOLE = ("exactly", Fraction(1))
_BUILT = frozenset({"properties", "$defs", "$ref"})
_REFERS = "'$"  # how a key such as $ref or $id begins
_MOST_DEPTH = 100
_MOST_VALUES = 200_000
_MOST_BUILT = 1_000  # of these, lists and objects, which are spelled out


class Reader:
    """Reads one document into a table; a `bare` one means what the standard says."""

    def __init__(self, document: Any, table: Table, meter: Meter, *, bare: bool = False) -> None:
        self._root = document
        self._table = table
        self._meter = meter
        self._bare = bare
        # whoever tells 1.0 from 1 has to be told where the standard does not
        self.to_the_letter = bare and table.whole_floats
        self._circles = Circles(self._target)
        self._known: dict[str, int] = {}
        self._parts: dict[int, tuple[Any, int]] = {}
        self._waiting: dict[str, int | None] = {}  # with a stand-in, where one was asked for
        self._here: list[str] = []  # the references being read for one and the same value

    def root(self) -> int:
        """Return the literal of the whole document.

        Raises UnsupportedError for what it cannot say in terms.
        """
        try:
            return self._follow("#", 0)
        except BudgetSpentError as error:
            raise BudgetSpentError(f"{error} before all of a contract is read") from None

    @property
    def document(self) -> Any:
        """The document that is read."""
        return self._root

    def plain(self, schema: Any) -> Any:
        """Return what a part that only refers to another refers to."""
        for _ in range(_MOST_DEPTH):
            if not isinstance(schema, dict):
                break
            if schema.keys() & _SAYING == {"$ref"}:
                schema = self._target(schema["$ref"])
            elif schema.keys() & _SAYING == {"allOf"} and len(schema["allOf"]) == 1:
                schema = schema["allOf"][0]
            else:
                break
        return schema

    def part(self, schema: Any) -> int:
        """Return the literal of one part of the document."""
        return self._below(schema, 0)

    def _read(self, schema: Any, depth: int) -> int:
        if isinstance(schema, bool):
            return TRUE if schema else FALSE
        if depth > _MOST_DEPTH:
            raise UnsupportedError(f"schemas in one another deeper than {_MOST_DEPTH}")
        held = self._parts.get(id(schema))
        if held is None:  # with the schema, whose identity must not pass to another
            held = self._parts[id(schema)] = schema, self._read_once(schema, depth)
        return held[1]

    def _read_once(self, schema: dict[str, Any], depth: int) -> int:
        """Read a schema that refers to nothing once for all documents."""
        if not _BUILT.isdisjoint(schema) and _is_large(schema):
            return self._read_new(schema, depth)
        text = repr(schema)
        if _REFERS in text:
            return self._read_new(schema, depth)
        spelled, spelling = self._table.spelled, (self.to_the_letter, text)
        found = spelled.get(spelling)
        if found is None:
            found = spelled[spelling] = self._read_new(schema, depth)
        return found

    def _read_new(self, schema: dict[str, Any], depth: int) -> int:
        self._meter.spend()
        if "$id" in schema and schema is not self._root and depth:  # a document in a document
            return Reader(schema, self._table, self._meter, bare=self._bare).root()
        schema = without_unevaluated(schema, self._target)
        parts = self._kinds(schema["type"]) if "type" in schema else []
        parts += [
            read(self, schema[keyword], depth) for keyword, read in _READERS if keyword in schema
        ]
        parts += self._numbers(schema) + self._texts(schema) + self._sizes(schema)
        parts += self._inside(schema, depth) + self._branches(schema, depth)
        return self._table.all_of(parts)

    def _below(self, schema: Any, depth: int) -> int:
        """Read a schema for a part of the value: there, the same reference is no circle."""
        outside, self._here = self._here, []
        try:
            return self._read(schema, depth + 1)
        finally:
            self._here = outside

    def _kinds(self, wanted: str | list[str]) -> list[int]:
        names = {wanted} if isinstance(wanted, str) else set(wanted)
        kinds = names | NUMBERS if "number" in names else names
        if self.to_the_letter and "integer" in names and "number" not in names:
            return [self._table.kinds({*kinds, "float"} & set(KINDS)), self._table.atom(*_WHOLE)]
        return [self._table.kinds(kind for kind in KINDS if kind in kinds)]

    def _numbers(self, schema: dict[str, Any]) -> list[int]:
        found = []
        for keyword, op, is_open in (
            ("minimum", "lower", False),
            ("exclusiveMinimum", "lower", True),
            ("maximum", "upper", False),
            ("exclusiveMaximum", "upper", True),
        ):
            if keyword in schema:
                found.append(self._table.atom(op, (exact(schema[keyword]), is_open)))
        if "multipleOf" in schema:
            op = "exactly" if self.to_the_letter else "multiple"
            found.append(self._table.atom(op, exact(schema["multipleOf"])))
        return found

    def _texts(self, schema: dict[str, Any]) -> list[int]:
        found = []
        if "pattern" in schema:
            found.append(self._table.atom("pattern", schema["pattern"]))
        name = schema.get("format")
        if name is not None and not is_free_format(name):
            found.append(self._table.atom("format", name))
        return found

    def _sizes(self, schema: dict[str, Any]) -> list[int]:
        found = []
        for op, least, most in (
            ("longer", "minLength", "maxLength"),
            ("size", "minItems", "maxItems"),
            ("count", "minProperties", "maxProperties"),
        ):
            found.append(self._table.more(op, int(schema.get(least, 0))))
            if most in schema:
                found.append(self._table.unless(self._table.more(op, int(schema[most]) + 1)))
        if schema.get("uniqueItems"):
            found.append(self._table.atom("unique", None))
        return found

    def _inside(self, schema: dict[str, Any], depth: int) -> list[int]:
        """Read what speaks of properties and of items."""
        found = []
        if schema.keys() & {"properties", "patternProperties", "additionalProperties"}:
            found.append(self._properties(schema, depth))
        if "prefixItems" in schema or "items" in schema:
            prefix = tuple(self._below(part, depth) for part in schema.get("prefixItems", ()))
            rest = self._below(schema.get("items", True), depth)
            found.append(self._table.items(Items(prefix, rest)))
        if "contains" in schema:
            found += self._contains(schema, depth)
        if "propertyNames" in schema:
            names = self._below(schema["propertyNames"], depth)
            found.append(TRUE if names == TRUE else self._table.atom("names", names))
        for name in schema.get("required", ()):
            found.append(self._table.atom("required", name))
        for name, needed in schema.get("dependentRequired", {}).items():
            needs = self._table.all_of(self._table.atom("required", one) for one in needed)
            found.append(self._table.any_of([-self._has(name), needs]))
        for name, part in schema.get("dependentSchemas", {}).items():
            found.append(self._table.any_of([-self._has(name), self._read(part, depth + 1)]))
        return found

    def _has(self, name: str) -> int:
        is_object = self._table.kinds(["object"])
        return self._table.all_of([is_object, self._table.atom("required", name)])

    def _properties(self, schema: dict[str, Any], depth: int) -> int:
        named = tuple(
            sorted((n, self._below(p, depth)) for n, p in schema.get("properties", {}).items())
        )
        patterns = tuple(
            sorted(
                (n, self._below(p, depth)) for n, p in schema.get("patternProperties", {}).items()
            )
        )
        rest = self._below(schema.get("additionalProperties", True), depth)
        return self._table.props(Props(named, patterns, rest))

    def _contains(self, schema: dict[str, Any], depth: int) -> list[int]:
        inner = self._below(schema["contains"], depth)
        least, most = int(schema.get("minContains", 1)), schema.get("maxContains")
        found = []
        if least > 0:
            found.append(self._table.atom("atleast", (inner, least)))
        if most is not None:
            too_many = self._table.atom("atleast", (inner, int(most) + 1))
            found.append(self._table.unless(too_many))
        return found

    def _branches(self, schema: dict[str, Any], depth: int) -> list[int]:
        if "if" not in schema:
            return []
        asked = self._read(schema["if"], depth + 1)
        then = self._read(schema.get("then", True), depth + 1)
        other = self._read(schema.get("else", True), depth + 1)
        return [self._table.any_of([-asked, then]), self._table.any_of([asked, other])]

    def _choice(self, values: list[Any], _depth: int) -> int:
        built = sum(isinstance(value, list | dict) for value in values)
        if built > _MOST_BUILT or len(values) > _MOST_VALUES:
            raise UnsupportedError(f"an enum of {len(values)} values, {built} lists and objects")
        self._meter.spend(len(values) // _MOST_BUILT)
        return self._table.choice(values)

    def _opaque(self, names: list[str], _depth: int) -> int:
        return self._table.all_of(self._table.atom("opaque", name) for name in names)

    def _all(self, parts: list[Any], depth: int) -> int:
        return self._table.all_of([self._read(part, depth + 1) for part in parts])

    def _any(self, parts: list[Any], depth: int) -> int:
        return self._table.any_of([self._read(part, depth + 1) for part in parts])

    def _one(self, parts: list[Any], depth: int) -> int:
        return self._table.one_of([self._read(part, depth + 1) for part in parts])

    def _follow(self, ref: str, depth: int) -> int:
        if ref in self._here:
            raise UnsupportedError(f"a $ref that leads to itself: {ref}")
        known = self._known.get(ref)
        if known is not None:
            return known
        if ref in self._waiting:
            stand_in = self._waiting[ref]
            if stand_in is None:
                stand_in = self._waiting[ref] = self._table.atom("ref", self._circles.name(ref))
            return stand_in
        self._waiting[ref] = None
        self._here.append(ref)
        found = self._known[ref] = self._read(self._target(ref), depth + 1)
        self._here.remove(ref)
        stand_in = self._waiting.pop(ref)
        if stand_in is not None:
            self._table.aim(stand_in, found)
        return found

    def _target(self, ref: str) -> Any:
        part = self._root
        for step in unquote(ref).removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            try:
                part = part[int(name)] if isinstance(part, list) else part[name]
            except (KeyError, IndexError, ValueError, TypeError):
                raise UnsupportedError(f"a $ref that leads nowhere: {ref}") from None
        if not ref.startswith("#") or (ref != "#" and not ref.startswith("#/")):
            raise UnsupportedError(f"a $ref by anchor or to another document: {ref}")
        return part


def _is_large(schema: dict[str, Any]) -> bool:
    """Say whether to write a schema down takes longer than to read its parts, each known."""
    parts = schema.get("properties", {}).values()
    return "properties" not in schema or any(
        isinstance(part, dict) and not _BUILT.isdisjoint(part) for part in parts
    )


_READERS: tuple[tuple[str, Callable[[Reader, Any, int], int]], ...] = (
    ("$ref", Reader._follow),  # noqa: SLF001 - the reader's own table
    ("const", lambda reader, value, depth: Reader._choice(reader, [value], depth)),  # noqa: SLF001
    ("enum", Reader._choice),  # noqa: SLF001
    (OPAQUE, Reader._opaque),  # noqa: SLF001
    ("allOf", Reader._all),  # noqa: SLF001
    ("anyOf", Reader._any),  # noqa: SLF001
    ("oneOf", Reader._one),  # noqa: SLF001
    ("not", lambda reader, part, depth: -Reader._read(reader, part, depth + 1)),  # noqa: SLF001
)
