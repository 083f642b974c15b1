"""Where a path leads in a JSON Schema: whether every value has it, some may, or none can."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Led", "lead"]

Answer: TypeAlias = Literal["there", "maybe", "absent", "unknown"]
_MOST_CHOICES = 500
_ALL_TYPES = frozenset({"object", "array", "string", "number", "boolean", "null"})


class Led(NamedTuple):
    """Where a path led: `at` is how many of its parts were followed.

    `reason` says what a "maybe" hangs on, or what stands where an "absent" part was looked for;
    `fields` are the names that there are at that place.
    """

    answer: Answer
    at: int = 0
    reason: str = ""
    fields: tuple[str, ...] = ()


class _TooMany(Exception):  # noqa: N818 - it never leaves this module
    """There are more choices than are looked at."""


def lead(document: Any, path: tuple[str | int | None, ...]) -> Led:
    """Follow a path in a document with its `$defs`.

    Its parts are names of fields, numbers of items, and None for any item that there is.
    "unknown" is the answer wherever the schema does not say enough, or too much.
    """
    root = document if isinstance(document, dict) else {}
    nodes: list[Any] = [document]
    doubt = ""
    try:
        for at, part in enumerate(path):
            nodes, step = _follow(nodes, part, root)
            if step.answer in {"absent", "unknown"}:
                return step._replace(at=at)
            doubt = doubt or step.reason
    except _TooMany:
        return Led("unknown")
    return Led("maybe", len(path), doubt) if doubt else Led("there", len(path))


def _follow(nodes: list[Any], part: str | int | None, root: Mapping[str, Any]) -> tuple[Any, Led]:
    """Take one part of a path from each of the schemas that a value may have here."""
    further: list[Any] = []
    without: list[Led] = []
    doubts: list[str] = []
    choices = [choice for node in nodes for choice in _choices(node, root)]
    if len(choices) > _MOST_CHOICES:
        raise _TooMany
    for choice in choices:
        inner, led = _part_of(choice, part)
        if led.answer == "unknown":
            return [], led
        if led.answer == "absent":
            without.append(led)
        else:
            further.append(inner)
            doubts += [led.reason] if led.reason else []
    if not further:
        fields = tuple(dict.fromkeys(name for led in without for name in led.fields))
        kinds = dict.fromkeys(led.reason for led in without)
        return [], Led("absent", 0, " or ".join(kinds), fields)
    if without:
        kinds = dict.fromkeys(led.reason for led in without)
        doubts.append(f"it may be {' or '.join(kinds)}")
    return further, Led("maybe" if doubts else "there", 0, doubts[0] if doubts else "")


def _choices(node: Any, root: Mapping[str, Any], depth: int = 0) -> Iterator[list[dict[str, Any]]]:
    """Give what a schema comes down to: for each way to satisfy it, all that then holds."""
    if node is False:
        return
    if not isinstance(node, dict):
        yield []
        return
    if depth > 30:  # noqa: PLR2004 - deeper than anybody nests; a ref that leads to itself
        raise _TooMany
    parts: list[list[list[dict[str, Any]]]] = [[[node]]]
    target = _target(node, root)
    if target is not None:
        parts.append(list(_choices(target, root, depth + 1)))
    for one in ("anyOf", "oneOf"):
        if isinstance(node.get(one), list):
            ways = [c for each in node[one] for c in _choices(each, root, depth + 1)]
            parts.append(ways)
    parts += [list(_choices(each, root, depth + 1)) for each in node.get("allOf") or ()]
    count = 1
    for ways in parts:
        count *= len(ways)
    if count > _MOST_CHOICES:
        raise _TooMany
    for combined in product(*parts):
        yield [each for ways in combined for each in ways]


def _target(node: dict[str, Any], root: Mapping[str, Any]) -> Any:
    ref = node.get("$ref")
    if ref is None:
        return None
    if ref == "#":
        return root
    if isinstance(ref, str) and ref.startswith("#/$defs/"):
        name = ref[8:].replace("~1", "/").replace("~0", "~")
        return root.get("$defs", {}).get(name, True)
    return True


def _part_of(choice: list[dict[str, Any]], part: str | int | None) -> tuple[Any, Led]:
    kinds = _kinds(choice)
    wanted = "object" if isinstance(part, str) else "array"
    if wanted not in kinds:
        return None, Led("absent", 0, _told(kinds))
    if kinds == _ALL_TYPES:
        return None, Led("unknown")
    if len(kinds) > 1:
        others = _told(kinds - {wanted})
        inner, led = _field(choice, part) if isinstance(part, str) else _item(choice, part)
        return inner, led if led.reason else led._replace(reason=f"it may be {others}")
    return _field(choice, part) if isinstance(part, str) else _item(choice, part)


def _field(choice: list[dict[str, Any]], name: str) -> tuple[Any, Led]:
    found = [c["properties"][name] for c in choice if name in c.get("properties", ())]
    known = tuple(dict.fromkeys(n for c in choice for n in c.get("properties", ())))
    rest = [c["additionalProperties"] for c in choice if "additionalProperties" in c]
    patterns = any(c.get("patternProperties") for c in choice)
    if False in found or (not found and not patterns and False in rest):
        return None, Led("absent", 0, "an object", known)
    if found:
        sure = any(name in c.get("required", ()) for c in choice)
        return {"allOf": found}, Led("there", 0, "" if sure else f"'{name}' may be left out")
    typed = [each for each in rest if isinstance(each, dict)]
    if typed and not patterns:
        return {"allOf": typed}, Led("there", 0, f"nothing promises the key '{name}'")
    if patterns or not known:
        return None, Led("unknown")
    return {}, Led("there", 0, f"'{name}' is no field of it, though it allows further keys", known)


def _item(choice: list[dict[str, Any]], at: int | None) -> tuple[Any, Led]:
    least = max((_count(c, "minItems", 0) for c in choice), default=0)
    most = min((_count(c, "maxItems", 10**10) for c in choice), default=10**10)
    if at is not None and at >= most:
        return None, Led("absent", 0, f"a list of at most {most}")
    found: list[Any] = []
    for each in choice:
        prefix = each.get("prefixItems") or []
        if at is None:
            found.append({"anyOf": [*prefix, each.get("items", not prefix)]})
        elif at < len(prefix):
            found.append(prefix[at])
        elif "items" in each:
            found.append(each["items"])
    if False in found:
        return None, Led("absent", 0, "a shorter list")
    sure = at is None or at < least
    return {"allOf": found}, Led("there", 0, "" if sure else "the list may be shorter")


def _count(schema: dict[str, Any], keyword: str, otherwise: int) -> int:
    held = schema.get(keyword, otherwise)
    return int(held) if isinstance(held, int | float) else otherwise


def _kinds(choice: Iterable[dict[str, Any]]) -> frozenset[str]:
    kinds = _ALL_TYPES
    for each in choice:
        said = each.get("type")
        if said is not None:
            words = (said,) if isinstance(said, str) else said
            kinds &= {"number" if word == "integer" else word for word in words}
        if "const" in each:
            kinds &= {_kind_of(each["const"])}
        if isinstance(each.get("enum"), list):
            kinds &= {_kind_of(value) for value in each["enum"]}
    return kinds


def _kind_of(value: Any) -> str:
    return _KIND_OF.get(type(value), "object")


_KIND_OF = {
    bool: "boolean", dict: "object", float: "number", int: "number", list: "array",
    str: "string", type(None): "null",
}  # fmt: skip


_WORDS = {
    "array": "a list", "boolean": "a bool", "null": "None", "number": "a number",
    "object": "an object", "string": "a text",
}  # fmt: skip


def _told(kinds: Iterable[str]) -> str:
    return " or ".join(_WORDS[kind] for kind in sorted(kinds)) or "nothing"
