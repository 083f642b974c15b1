"""Where the bare JSON of a value is, to the last type and the last key, what a contract reads.

A reader of a value that is known to satisfy its contract may then decode it and be done.  That is
so for text, truth and None, and for lists and dicts of them.  It is not so wherever reading makes
something else of JSON: an object, a set, a date; a float of `3`; the value of a default; keys that
are dropped, renamed, or put into the order of their declaration.  Some of this cannot come up, as
the producer's contract has already written it: `3.0`, and the fields in that order.

Both core schemas are walked side by side; what the walk does not know is no bare JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from kairos.exceptions import KairosError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kairos.contracts.contract import Contract

__all__ = ["fields_of", "is_its_own", "reads_bare"]

_NOTHING: Any = {}
_AS_IT_IS = frozenset({"none", "bool", "any"})
_HARMLESS = frozenset(
    {"title", "strict", "extra_fields_behavior", "allow_inf_nan", "hide_input_in_errors"}
)
_SCALARS = frozenset({"none", "bool", "int", "float", "str"})
_CHANGES = ("strip_whitespace", "to_lower", "to_upper", "coerce_numbers_to_str")
_RENAMES = ("validation_alias", "serialization_alias")
_ALSO_RUNS = frozenset({"post_init", "custom_init"})
_DEEPEST = 60


def reads_bare(producer: Contract, consumer: Contract, *, element: bool = False) -> bool:
    """Say whether what `producer` wrote, and `consumer` takes as it is, reads bare the same.

    With `element` it is an element of the list that the producer wrote.  Raises nothing.
    """
    try:
        wrote, reads = producer.adapter.core_schema, consumer.adapter.core_schema
        settings = {**producer.settings, **consumer.settings}
        walk = _Walk(_definitions(wrote), _definitions(reads), kept=producer.keeps)
        made = walk.written(wrote)
        if element:
            made = walk.written(made.get("items_schema")) if made.get("type") == "list" else {}
        return settings.keys() <= _HARMLESS and walk.same(made, reads)
    except KairosError:  # it cannot be built, which whoever checks with it will say
        return False


def is_its_own(producer: Contract, reads: Any, *, element: bool = False) -> bool:
    """Say whether the core schema `reads` is what `producer` itself says, or says of elements.

    It then accepts what the producer let through, which is no more than what reads back.
    """
    wrote: Any = producer.adapter.core_schema
    if element:
        wrote = wrote.get("items_schema") if wrote["type"] == "list" else None
    return wrote is not None and (wrote is reads or wrote == reads) and not _looks_at_now(wrote)


def fields_of(contract: Contract) -> dict[str, Any] | None:
    """Return the core schemas of a contract's fields, where nothing else is asked of a value.

    Each stands there as it would stand alone: nothing around it changes how it is read.
    """
    try:
        schema: Any = contract.adapter.core_schema
    except KairosError:
        return None
    around = schema.get("config", _NOTHING)
    if schema["type"] == "model" and not any(map(schema.get, _ALSO_RUNS)):
        schema = schema["schema"]
    if schema["type"] not in {"typed-dict", "model-fields"} or contract.settings.keys() - {"title"}:
        return None
    settled = around.keys() <= {"title"} and schema.get("extra_behavior") != "forbid"
    if not settled or "extras_schema" in schema or schema.get("config", around) is not around:
        return None
    if any("validation_alias" in field for field in schema["fields"].values()):
        return None
    return {name: field["schema"] for name, field in schema["fields"].items()}


def _looks_at_now(schema: Any) -> bool:
    """Say whether a part accepts today what it refuses tomorrow."""
    if isinstance(schema, dict):
        return "now_op" in schema or any(map(_looks_at_now, schema.values()))
    return isinstance(schema, list | tuple) and any(map(_looks_at_now, schema))


def _definitions(schema: Any) -> dict[str, Any]:
    if schema["type"] != "definitions":
        return {}
    return {each["ref"]: each for each in schema["definitions"]}


class _Walk:
    """One walk; `kept` says that the producer keeps a value as it is instead of writing it anew."""

    def __init__(self, wrote: Mapping[str, Any], reads: Mapping[str, Any], *, kept: bool) -> None:
        self._wrote = wrote
        self._reads = reads
        self._kept = kept

    def written(self, schema: Any) -> Any:
        """Return what is written for a part, without what is around it; empty where unknown."""
        for _ in range(_DEEPEST):
            kind = (schema or _NOTHING).get("type")
            if kind is None or "serialization" in schema:
                return _NOTHING
            if kind == "definition-ref":
                schema = self._wrote.get(schema["schema_ref"])
            elif kind in {"definitions", "nullable"}:
                schema = schema["schema"]
            else:
                return schema
        return _NOTHING

    def same(self, wrote: Any, reads: Any, depth: int = 0) -> bool:
        """Say whether a part reads bare the same, given what is known of how it was written."""
        kind = reads["type"]
        if depth > _DEEPEST or not reads.get("config", _NOTHING).keys() <= _HARMLESS:
            return False
        if kind == "definition-ref":  # a recursive contract ends at the limit: not told apart
            return self.same(wrote, self._reads[reads["schema_ref"]], depth + 1)
        if kind in {"definitions", "nullable"}:
            return self.same(wrote, reads["schema"], depth + 1)
        if kind in _AS_IT_IS:
            return True
        ask: _Question = _KINDS.get(kind, _Walk._not_known)
        return ask(self, wrote, reads, depth + 1)

    def _not_known(self, _wrote: Any, _reads: Any, _depth: int) -> bool:
        return False

    def _text(self, _wrote: Any, reads: Any, _depth: int) -> bool:
        return not any(reads.get(change) for change in _CHANGES)

    def _whole(self, wrote: Any, _reads: Any, _depth: int) -> bool:
        return bool(wrote.get("type") == "int")  # 3.0 is read as 3

    def _number(self, wrote: Any, _reads: Any, _depth: int) -> bool:
        return wrote.get("type") == "float" and not self._kept  # 3 is read as 3.0

    def _literal(self, wrote: Any, reads: Any, _depth: int) -> bool:
        if all(type(each) in {str, type(None)} for each in reads["expected"]):
            return True
        return wrote.get("type") == "literal" and all(
            type(each) in {str, int, bool, type(None)}
            for each in (*wrote["expected"], *reads["expected"])
        )

    def _union(self, _wrote: Any, reads: Any, depth: int) -> bool:
        each = [one[0] if isinstance(one, tuple) else one for one in reads["choices"]]
        kinds = {one["type"] for one in each}
        if reads.get("mode", "smart") != "smart" or not kinds <= _SCALARS:
            return False
        # of several scalars the one that a value is already is taken, before any other
        both = {"int", "float"} <= kinds
        return both or all(self.same(_NOTHING, one, depth) for one in each)

    def _list(self, wrote: Any, reads: Any, depth: int) -> bool:
        items = reads.get("items_schema", {"type": "any"})
        inner = wrote.get("items_schema") if wrote.get("type") == "list" else None
        return self.same(self.written(inner), items, depth)

    def _dict(self, wrote: Any, reads: Any, depth: int) -> bool:
        keys = reads.get("keys_schema", {"type": "any"})
        values = reads.get("values_schema", {"type": "any"})
        if not (keys["type"] in {"any", "str"} and self.same(_NOTHING, keys, depth)):
            return False
        inner = wrote.get("values_schema") if wrote.get("type") == "dict" else None
        return self.same(self.written(inner), values, depth)

    def _typed_dict(self, wrote: Any, reads: Any, depth: int) -> bool:
        if wrote.get("type") != "typed-dict" or self._kept or wrote.get("computed_fields"):
            return False
        if _extras(wrote) == "allow":
            return False  # those it does not know would be dropped, or stand last
        fields = reads["fields"]
        order = iter(fields)
        if not all(name in order for name in wrote["fields"]):  # each after the one before
            return False
        return all(
            not any(rename in field for rename in _RENAMES for field in (fields[name], written))
            and self.same(self.written(written["schema"]), fields[name]["schema"], depth)
            for name, written in wrote["fields"].items()
        ) and all(field["schema"]["type"] != "default" for field in fields.values())


def _extras(schema: Any) -> str:
    said = schema.get("extra_behavior", schema.get("config", _NOTHING).get("extra_fields_behavior"))
    return str(said or "ignore")


_Question: TypeAlias = "Callable[[_Walk, Any, Any, int], bool]"
_KINDS: dict[str, _Question] = {
    "str": _Walk._text,  # noqa: SLF001 - its own table
    "int": _Walk._whole,  # noqa: SLF001
    "float": _Walk._number,  # noqa: SLF001
    "literal": _Walk._literal,  # noqa: SLF001
    "union": _Walk._union,  # noqa: SLF001
    "list": _Walk._list,  # noqa: SLF001
    "dict": _Walk._dict,  # noqa: SLF001
    "typed-dict": _Walk._typed_dict,  # noqa: SLF001
}
