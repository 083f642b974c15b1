"""JSON Schema documents: read as a whole, and every reference followed to what it names.

A document is checked before anything is asked of it, so that a keyword which could not be
honoured is refused when the contract is declared and never passed over.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag, urljoin

from pydantic_core import PydanticSerializationError, from_json, to_json

from kairos.contracts.json_keywords import (
    NAMED,
    SCHEMA,
    SCHEMAS,
    check_keyword,
    check_pattern,
    check_plain,
    kind_of,
    refused,
)
from kairos.contracts.rules import same_json
from kairos.exceptions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.exceptions import ConfigError

__all__ = ["Document", "shown_again"]

_MOST_DEPTH = 180  # pydantic's own parser ends at 200
_MOST_PARTS = 1_000_000
_MOST_BITS = 14_000  # of an int: pydantic reads no more than 4,300 digits
_VALUES = frozenset({"const", "enum", "default", "examples"})  # what stands there is no schema
_NAMES = frozenset({"$id", "$anchor", "$dynamicAnchor"})


class Document:
    """One checked document; `resolve` follows its references.

    With `any_format`, a `format` that nothing here can parse is taken.  Raises ConfigError for
    what is no JSON Schema 2020-12, with the keyword and place.
    """

    def __init__(self, root: Any, *, any_format: bool = False) -> None:
        self.root = _json_copy(root)
        self._any_format = any_format
        self._resources: dict[str, Any] = {"": self.root}
        self._base: dict[int, str] = {}  # the URI that references in a schema start from
        self._anchors: dict[tuple[str, str], Any] = {}
        self._dynamic: dict[str, list[tuple[str, Any]]] = {}
        self._refs: list[tuple[dict[str, Any], str, str]] = []  # with the keyword and the place
        self._pointers: dict[int, str] = {}  # of every part that is a schema
        try:
            self._check(self.root, "#", "")
            self._targets: dict[int, Any] = {}
            for node, keyword, here in self._refs:  # which grows while it is gone through
                self._targets[id(node)] = self._find(node, keyword, here)
        except RecursionError:
            raise _too_deep() from None
        self._refuse_loops()

    @property
    def has_refs(self) -> bool:
        """Whether any part refers to another."""
        return bool(self._refs)

    def resolve(self, node: dict[str, Any]) -> Any:
        """Return the part of the document that the `$ref` of `node` names."""
        return self._targets[id(node)]

    def flat(self) -> Any:
        """Return the document with each reference written as a pointer from its root."""
        own = not self._anchors and len(self._resources) == 1
        return self.root if own else self._flattened(self.root)

    def _flattened(self, part: Any) -> Any:
        if isinstance(part, list):
            return [self._flattened(inner) for inner in part]
        if not isinstance(part, dict):
            return part
        drop = _NAMES if id(part) in self._pointers else frozenset()
        out = {name: self._flattened(inner) for name, inner in part.items() if name not in drop}
        target = self._targets.get(id(part))
        if isinstance(target, bool):
            del out["$ref"]
            out["allOf"] = [*out.get("allOf", ()), target]
        elif target is not None:
            out["$ref"] = self._pointers[id(target)].replace("%", "%25")
        return out

    def embedded(self) -> dict[str, Any]:
        """Return the document as a part of another, its references hidden from pydantic.

        pydantic takes every `$ref` for one of its own; `Contract.json_schema` shows them again,
        relative to the `$id` that is given here.
        """
        if not isinstance(self.root, dict):
            return {"not": {}} if self.root is False else {}
        return {**_hidden(self.root), **self._identity()}

    def _identity(self) -> dict[str, Any]:
        if not self._refs or "$id" in self.root:
            return {}
        import hashlib  # noqa: PLC0415 - only a document that refers to itself needs a name

        digest = hashlib.sha256(to_json(self.root)).hexdigest()[:16]
        return {"$id": f"urn:kairos:schema:{digest}"}

    def _check(self, schema: Any, pointer: str, base: str) -> None:
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            raise refused("a schema", pointer, "an object, true or false", type(schema).__name__)
        if "$id" in schema:
            base = self._named(schema, f"{pointer}/$id", base)
        self._pointers[id(schema)] = pointer
        self._base[id(schema)] = base
        for keyword, value in schema.items():
            here = f"{pointer}/{_escaped(keyword)}"
            check_keyword(keyword, here)
            if keyword in SCHEMA:
                self._check(value, here, base)
            elif keyword in SCHEMAS | NAMED:
                self._check_several(keyword, value, here, base)
            else:
                check_plain(keyword, value, here, any_format=self._any_format)
                self._note(schema, keyword, value, here, base)
        if "$dynamicRef" in schema:
            self._plain_ref(schema, pointer, base)

    def _check_several(self, keyword: str, value: Any, here: str, base: str) -> None:
        if keyword in SCHEMAS:
            if not isinstance(value, list) or not value:
                raise refused(
                    f"{keyword!r}", here, "a list of schemas, at least one", kind_of(value)
                )
            for index, part in enumerate(value):
                self._check(part, f"{here}/{index}", base)
            return
        if not isinstance(value, dict):
            raise refused(f"{keyword!r}", here, "an object of schemas", kind_of(value))
        for name, part in value.items():
            if keyword == "patternProperties":
                check_pattern(name, here)
            self._check(part, f"{here}/{_escaped(name)}", base)

    def _named(self, schema: dict[str, Any], here: str, base: str) -> str:
        """Note a part with an $id: it is a document of its own, its references start there."""
        check_plain("$id", schema["$id"], here)
        uri, fragment = urldefrag(_joined(base, schema["$id"]))
        if fragment:
            raise refused("an $id with a fragment", here, "a URI without one", fragment[:60])
        if not same_json(self._resources.setdefault(uri, schema), schema):
            raise refused("an $id that stands there twice", here, "one for each", uri[:60])
        return uri

    def _note(self, schema: dict[str, Any], keyword: str, value: Any, here: str, base: str) -> None:
        """Remember what the meaning of other parts depends on."""
        if keyword in {"$anchor", "$dynamicAnchor"}:
            if not same_json(self._anchors.setdefault((base, value), schema), schema):
                raise refused(f"the {keyword} {value!r}", here, "one of its name", "another one")
            if keyword == "$dynamicAnchor":
                self._dynamic.setdefault(value, []).append((base, schema))
        elif keyword == "$ref":
            self._refs.append((schema, "$ref", here))

    def _plain_ref(self, schema: dict[str, Any], pointer: str, base: str) -> None:
        """Write a $dynamicRef as a $ref: whether it may be one is asked once all is known."""
        node = schema
        here = f"{pointer}/$dynamicRef"
        ref = schema.pop("$dynamicRef")
        if "$ref" in schema:
            node = {}
            schema["allOf"] = [*schema.get("allOf", ()), node]
            self._pointers[id(node)] = f"{pointer}/allOf/{len(schema['allOf']) - 1}"
            self._base[id(node)] = base
        node["$ref"] = ref
        self._refs.append((node, "$dynamicRef", here))

    def _find(self, node: dict[str, Any], keyword: str, here: str) -> Any:
        uri, way = urldefrag(_joined(self._base[id(node)], node["$ref"]))
        if uri not in self._resources:
            raise refused(
                "a $ref to another document",
                here,
                "a reference inside this document, such as #/$defs/name",
                node["$ref"][:60],
                "copy what it refers to into $defs",
            )
        way = unquote(way)
        if way and not way.startswith("/"):
            part = self._anchors.get((uri, way))
            if keyword == "$dynamicRef":
                part = self._outermost(node, part, way, here)
        else:
            part = self._at(uri, way)
        if part is None:
            raise refused(
                f"a {keyword} that leads nowhere",
                here,
                "a schema that is there",
                node["$ref"][:60],
                self._nearest(node["$ref"]),
            )
        return part

    def _nearest(self, ref: str) -> str | None:
        """Name the reference that may be meant, or say what to write for this one."""
        near = did_you_mean(ref, list(self._pointers.values()))
        name = ref.removeprefix("#/$defs/")
        return near or (f"write {name!r} into its $defs" if name.isidentifier() else None)

    def _at(self, uri: str, way: str) -> Any:
        """Return the part at a pointer, or None where no schema stands there."""
        part = self._resources[uri]
        steps = [step.replace("~1", "/").replace("~0", "~") for step in way.split("/")[1:]]
        for step in steps:
            if isinstance(part, dict) and step in part:
                part = part[step]
            elif isinstance(part, list) and step.isdecimal() and int(step) < len(part):
                part = part[int(step)]
            else:
                return None
        if isinstance(part, bool) or id(part) in self._pointers:
            return part
        if not isinstance(part, dict) or not _VALUES.isdisjoint(steps):
            return None
        # below a keyword of somebody else's, such as OpenAPI's #/components/schemas
        top = self._pointers[id(self._resources[uri])]
        self._check(part, top + way, uri)
        return part

    def _outermost(self, node: dict[str, Any], lexical: Any, name: str, here: str) -> Any:
        """Return what a $dynamicRef means where that is the same on every way to it."""
        everywhere = self._dynamic.get(name, [])
        if len(everywhere) < 2 or all(lexical is not part for _, part in everywhere):  # noqa: PLR2004
            return lexical
        root = self._base[id(self.root)]
        for base, part in everywhere:
            if base == root and (base or part is lexical):
                node["$ref"] = f"{base}#{name}"
                return part
        raise refused(
            "a $dynamicRef",
            here,
            f"one {name!r} to lead to, or one in the root of the document",
            "one whose end depends on the way to it",
            "say $ref",
        )

    def _refuse_loops(self) -> None:
        """Refuse a schema that is defined as itself: asking it about a value would not end."""
        done: set[int] = set()
        for node, _, _ in self._refs:
            way = [(node, self._same_value(node))]
            open_now = {id(node)}
            while way:
                at, rest = way[-1]
                part = next(rest, None)
                if part is None:
                    way.pop()
                    open_now.discard(id(at))
                    done.add(id(at))
                elif id(part) in open_now:
                    circle = [one for one, _ in way]
                    start = next(i for i, one in enumerate(circle) if one is part)
                    self._refuse_loop({id(one) for one in circle[start:]})
                elif isinstance(part, dict) and id(part) not in done:
                    open_now.add(id(part))
                    way.append((part, self._same_value(part)))

    def _refuse_loop(self, circle: set[int]) -> None:
        node, _, here = next(ref for ref in self._refs if id(ref[0]) in circle)
        end = "a schema at the end of it"
        raise refused("a $ref that leads to itself", here, end, node["$ref"][:60])

    def _same_value(self, part: dict[str, Any]) -> Iterator[Any]:
        """Yield the schemas that judge the same value as `part` does."""
        if "$ref" in part:
            yield self.resolve(part)
        for keyword in ("allOf", "anyOf", "oneOf"):
            yield from part.get(keyword, ())
        for keyword in ("not", "if", "then", "else"):
            if keyword in part:
                yield part[keyword]
        yield from part.get("dependentSchemas", {}).values()


def _joined(base: str, ref: str) -> str:
    if not ref or ref.startswith("#"):
        return base + ref
    try:
        return urljoin(base, ref)
    except ValueError:
        return ref


def _json_copy(root: Any) -> Any:
    _measure(root)
    try:
        copy = from_json(to_json(root), allow_inf_nan=False)
    except (ValueError, PydanticSerializationError):
        copy = None
    if copy is None or copy != root:
        raise _no_json("#", type(root).__name__)
    return copy


def _no_json(pointer: str, found: str) -> ConfigError:
    return refused("it is no JSON", pointer, "JSON: an object of keywords, true or false", found)


def _too_deep() -> ConfigError:
    fix = "give the inner parts names in $defs, and refer to them"
    return refused("it nests too deep", "#", "less depth", f"more than {_MOST_DEPTH} levels", fix)


def _measure(root: Any) -> None:
    """Refuse what is no JSON, and what is too large or too deep, without writing it out.

    The same Python object may stand in many places: its size is counted in each, once.
    """
    sizes: dict[int, int] = {}
    above: set[int] = set()

    def measure(value: Any, pointer: tuple[Any, ...]) -> int:
        known = sizes.get(id(value))
        if known is not None:
            return known
        if id(value) in above:
            raise _no_json("#", "a Python object inside itself")
        if len(pointer) > _MOST_DEPTH:
            raise _too_deep()
        above.add(id(value))
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        size = 1
        for name, inner in pairs:
            here = (*pointer, name)
            odd = _odd(inner) or (isinstance(value, dict) and _odd_name(name))
            if odd:
                raise _no_json("#" + "".join(f"/{_escaped(str(one))}" for one in here), odd)
            size += measure(inner, here) if isinstance(inner, dict | list) else 1
        if size > _MOST_PARTS:
            raise refused("it is too large", "#", "fewer parts", f"more than {_MOST_PARTS} parts")
        above.discard(id(value))
        sizes[id(value)] = size
        return size

    if isinstance(root, dict | list):
        try:
            measure(root, ())
        except RecursionError:
            raise _too_deep() from None


def _odd(value: Any) -> str:
    """Say what of a value is not JSON's; nothing where all is well."""
    if isinstance(value, float):
        return "" if isfinite(value) else "a number that is not finite"
    if isinstance(value, bool | dict | list) or value is None:
        return ""
    if isinstance(value, int):
        return "" if value.bit_length() <= _MOST_BITS else "an int of too many digits"
    return _odd_name(value) if isinstance(value, str) else f"a {type(value).__name__}"


def _odd_name(name: Any) -> str:
    if not isinstance(name, str):
        return "a key that is no text"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "a text with half a surrogate pair"
    return ""


def _hidden(part: Any) -> Any:
    if isinstance(part, dict):
        return {_HIDE.get(name, name): _hidden(inner) for name, inner in part.items()}
    return [_hidden(inner) for inner in part] if isinstance(part, list) else part


def shown_again(part: Any) -> Any:
    """Return a JSON Schema with the references that `Document.embedded` hid."""
    if isinstance(part, dict):
        return {_SHOW.get(name, name): shown_again(inner) for name, inner in part.items()}
    return [shown_again(inner) for inner in part] if isinstance(part, list) else part


_HIDE = {"$ref": "$kairos-ref", "$defs": "$kairos-defs"}
_SHOW = {hidden: name for name, hidden in _HIDE.items()}


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
