"""Random contracts of every kind that pydantic knows, each with a way to draw values for it.

A `Maker` decides what stands at a path by a seed of that path, so that a second Maker of the
same seed makes an equal contract, and one with another seed for one path makes a contract that
differs there and nowhere else.
"""

from __future__ import annotations

import dataclasses
from dataclasses import InitVar
from random import Random
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypeVar,
    Union,
)

import pydantic
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Json,
    RootModel,
    Tag,
    create_model,
)
from typing_extensions import ReadOnly, TypeAliasType, TypedDict

from kairos.schema import Schema
from random_fields import body, tampered, tried
from random_types import SCALARS, Made, decorated

__all__ = ["Maker"]

T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    """A generic model."""

    item: T
    label: str = "box"


# to be put together at run time, where no checker can follow
_LIST: Any = list
_TUPLE: Any = tuple
_DICT: Any = dict
_SETS: Any = [set, frozenset]
_OPTIONAL: Any = Optional
_UNION: Any = Union
_LITERAL: Any = Literal
_BOX: Any = Box
_ROOT: Any = RootModel
_JSON: Any = Json
_TYPED: Any = TypedDict
_NAMED: Any = NamedTuple
_ALIAS: Any = TypeAliasType
_NEW: Any = NewType
_ANNOTATED: Any = Annotated


class Maker:
    """Makes one contract; `changed` gives other seeds to the paths that are to differ.

    What is made at an unchanged path is taken from `known`, or put there: two makers with one
    `known` share the classes that they have in common.
    """

    def __init__(
        self, seed: int, *, changed: dict[str, int] | None = None, known: Any = None
    ) -> None:
        self._seed = seed
        self._changed = changed or {}
        self._known: dict[str, Made] = {} if known is None else known
        self.paths: list[str] = []

    def make(self) -> Made:
        """Return the contract."""
        return self.at("$", 0)

    def at(self, path: str, depth: int) -> Made:
        """Return what stands at a path."""
        self.paths.append(path)
        touched = any(one.startswith(path) or path.startswith(one) for one in self._changed)
        if not touched and path in self._known:
            return self._known[path]
        rng = Random(f"{self._seed}{path}{self._changed.get(path, '')}")  # noqa: S311 - chance, not secrecy
        made = self._made(rng, path, depth)
        if not touched:
            self._known[path] = made
        return made

    def _made(self, rng: Random, path: str, depth: int) -> Made:
        if depth >= 3 or (depth and rng.random() < 0.5):
            made = rng.choice(SCALARS)(rng)
        else:
            makes = [
                self._list, self._set, self._tuple, self._dict, self._optional, self._union,
                self._tagged, self._recursive, self._generic, self._root, self._dataclass,
                self._typed_dict, self._named_tuple, self._named, self._json, self._schema,
                self._model, self._model, self._model, self._model, self._model, self._model,
            ]  # fmt: skip
            made = rng.choice(makes)(rng, path, depth)
        return decorated(rng, made) if depth and rng.random() < 0.07 else made

    def _inner(self, path: str, name: str, depth: int) -> Made:
        return self.at(f"{path}.{name}", depth + 1)

    def _list(self, rng: Random, path: str, depth: int) -> Made:
        one = self._inner(path, "items", depth)
        limits = _sizes(rng)
        kind: Any = _LIST[one.kind]
        return Made(_sized(kind, limits), lambda rng: _several(rng, one, rng.randint(0, 3)))

    def _set(self, rng: Random, path: str, depth: int) -> Made:
        one = self._inner(path, "items", depth)
        if not one.hashable:
            return self._list(rng, path, depth)
        kind: Any = rng.choice(_SETS)[one.kind]
        wrap = rng.choice([list, set])

        def draw(rng: Random) -> Any:
            items = _several(rng, one, rng.randint(0, 3))
            return items if wrap is list else set(items)

        return Made(_sized(kind, _sizes(rng)), draw)

    def _tuple(self, rng: Random, path: str, depth: int) -> Made:
        one, other = (self._inner(path, name, depth) for name in "ab")
        if rng.random() < 0.4:
            kind: Any = _TUPLE[one.kind, ...]
            return Made(
                _sized(kind, _sizes(rng)), lambda rng: _several(rng, one, rng.randint(0, 3))
            )
        kind = _TUPLE[one.kind, other.kind]
        return Made(kind, lambda rng: (one.draw(rng), other.draw(rng)))

    def _dict(self, rng: Random, path: str, depth: int) -> Made:
        name, value = self._inner(path, "keys", 3), self._inner(path, "values", depth)
        if not (name.key and name.hashable):
            name = Made(str, lambda rng: rng.choice("abc"))
        kind: Any = _DICT[name.kind, value.kind]

        def draw(rng: Random) -> Any:
            return {name.draw(rng): value.draw(rng) for _ in range(rng.randint(0, 3))}

        return Made(_sized(kind, _sizes(rng)), draw)

    def _optional(self, rng: Random, path: str, depth: int) -> Made:
        one = self._inner(path, "some", depth)
        kind = _OPTIONAL[one.kind]
        return Made(kind, lambda rng: None if rng.random() < 0.3 else one.draw(rng))

    def _union(self, rng: Random, path: str, depth: int) -> Made:
        parts = [self._inner(path, name, depth) for name in "abc"[: rng.randint(2, 3)]]
        kind: Any = _UNION[tuple(part.kind for part in parts)]
        if rng.random() < 0.3:
            kind = _ANNOTATED[kind, Field(union_mode="left_to_right")]
        return Made(kind, lambda rng: rng.choice(parts).draw(rng))

    def _tagged(self, rng: Random, path: str, depth: int) -> Made:
        variants, draws = [], []
        for tag in "abc"[: rng.randint(2, 3)]:
            one = self._inner(path, tag, depth)
            kind: Any = create_model(f"V{tag}", kind=(_LITERAL[tag], tag), value=(one.kind, ...))
            variants.append(kind)
            draws.append((tag, one))
        by_function = rng.random() < 0.25
        if by_function:
            parts: Any = [
                _ANNOTATED[v, Tag(tag)] for v, (tag, _) in zip(variants, draws, strict=True)
            ]
            told: Any = Discriminator(_kind_of)
        else:
            parts, told = variants, Field(discriminator="kind")
        whole = _ANNOTATED[_UNION[tuple(parts)], told]

        def draw(rng: Random) -> Any:
            tag, one = rng.choice(draws)
            return {"kind": tag, "value": one.draw(rng)}

        return Made(whole, draw)

    def _recursive(self, rng: Random, path: str, depth: int) -> Made:
        one = self._inner(path, "v", depth)
        shape = rng.choice(["list", "optional", "dict", "mutual"])
        made: Any = create_model
        if shape == "mutual":
            tree = made("Tree", v=(one.kind, ...), other=("Other | None", None))
            other = made("Other", w=(int, 0), tree=("Tree | None", None))
            for model in (tree, other):
                model.model_rebuild(_types_namespace={"Tree": tree, "Other": other})
        else:
            kinds = {"list": "list[Tree]", "optional": "Tree | None", "dict": "dict[str, Tree]"}
            empty: dict[str, Any] = {"list": [], "optional": None, "dict": {}}
            tree = made("Tree", v=(one.kind, ...), kids=(kinds[shape], empty[shape]))
            tree.model_rebuild(_types_namespace={"Tree": tree})

        def draw(rng: Random, left: int = 3) -> Any:
            found: dict[str, Any] = {"v": one.draw(rng)}
            if left and rng.random() < 0.6:
                inner = draw(rng, left - 1)
                if shape == "mutual":
                    found["other"] = {"w": 1, "tree": inner}
                else:
                    found["kids"] = {"list": [inner], "optional": inner, "dict": {"k": inner}}[
                        shape
                    ]
            return found

        return Made(tree, draw)

    def _generic(self, rng: Random, path: str, depth: int) -> Made:
        one = self._inner(path, "item", depth)
        return Made(_BOX[one.kind], lambda rng: {"item": one.draw(rng)})

    def _root(self, rng: Random, path: str, depth: int) -> Made:
        one = self._inner(path, "root", depth)
        made: Any = type("Root", (_ROOT[one.kind],), {"__module__": __name__})
        if rng.random() < 0.3:
            return Made(made, lambda rng: tried(made, one.draw(rng)))
        return Made(made, one.draw)

    def _named(self, rng: Random, path: str, depth: int) -> Made:
        one = self._inner(path, "named", depth)
        if rng.random() < 0.5:
            return Made(_ALIAS("Alias", one.kind), one.draw)
        return Made(_NEW("New", one.kind), one.draw)

    def _json(self, rng: Random, path: str, depth: int) -> Made:
        one = self._inner(path, "json", 2)
        return Made(_JSON[one.kind], lambda rng: rng.choice(["1", '"a"', "[1]", "null", "{}"]))

    def _schema(self, rng: Random, path: str, depth: int) -> Made:
        parts = {name: self._inner(path, name, depth) for name in "abc"[: rng.randint(1, 3)]}

        def draw(rng: Random) -> Any:
            more = {"more": 1} if rng.random() < 0.2 else {}
            return {name: part.draw(rng) for name, part in parts.items()} | more

        return Made(Schema({name: part.kind for name, part in parts.items()}), draw)

    def _fields(self, rng: Random, path: str, depth: int) -> dict[str, Made]:
        names = rng.sample(["a", "b", "c", "d"], rng.randint(1, 3))
        return {name: self._inner(path, name, depth) for name in sorted(names)}

    def _dataclass(self, rng: Random, path: str, depth: int) -> Made:
        fields = self._fields(rng, path, depth)
        parts: list[Any] = [(name, one.kind) for name, one in fields.items()]
        if rng.random() < 0.3:
            parts.append(("late", int, dataclasses.field(default=3, init=False)))
        if rng.random() < 0.3:
            parts.append(("seed", InitVar[int], dataclasses.field(default=1)))
        slots, namespace = rng.random() < 0.3, {"__module__": __name__}
        made: Any = dataclasses.make_dataclass("Data", parts, slots=slots, namespace=namespace)
        if rng.random() < 0.4:
            config = ConfigDict(extra=rng.choice(["ignore", "forbid", "allow"]))
            made = pydantic.dataclasses.dataclass(made, config=config)
        return Made(made, lambda rng: {name: one.draw(rng) for name, one in fields.items()})

    def _typed_dict(self, rng: Random, path: str, depth: int) -> Made:
        fields = self._fields(rng, path, depth)
        marks: list[Any] = [NotRequired, Required, ReadOnly, None, None]
        total = rng.random() < 0.6
        parts = {
            name: one.kind if (mark := rng.choice(marks)) is None else mark[one.kind]
            for name, one in fields.items()
        }
        made: Any = _TYPED("Typed", parts, total=total)
        if rng.random() < 0.5:
            made.__pydantic_config__ = ConfigDict(extra=rng.choice(["allow", "forbid", "ignore"]))

        def draw(rng: Random) -> Any:
            return {n: one.draw(rng) for n, one in fields.items() if rng.random() < 0.85}

        return Made(made, draw)

    def _named_tuple(self, rng: Random, path: str, depth: int) -> Made:
        fields = self._fields(rng, path, depth)
        made: Any = _NAMED("Named", [(name, one.kind) for name, one in fields.items()])
        if rng.random() < 0.3:
            made.__new__.__defaults__ = (1,)

        def draw(rng: Random) -> Any:
            values = [one.draw(rng) for one in fields.values()]
            return rng.choice((values, tuple(values), dict(zip(fields, values, strict=True))))

        return Made(made, draw)

    def _model(self, rng: Random, path: str, depth: int) -> Made:
        fields = self._fields(rng, path, depth)
        space, reads = body(rng, fields)
        made: Any = type("Model", (BaseModel,), {"__module__": __name__, **space})
        heir = type("Heir", (made,), {"__module__": __name__, "__annotations__": {"more": int}})
        whole = rng.random() < 0.2

        def draw(rng: Random) -> Any:
            found = {
                rng.choice(reads[name]): one.draw(rng)
                for name, one in fields.items()
                if rng.random() < 0.9
            }
            if rng.random() < 0.2:
                found["more"] = 1
            if not whole or rng.random() < 0.5:
                return found
            return tampered(rng, tried(rng.choice((made, heir)), found))

        return Made(made, draw)


def _sizes(rng: Random) -> dict[str, Any]:
    return {
        name: rng.choice(of)
        for name, of in (("min_length", (0, 1)), ("max_length", (1, 2, 5)))
        if rng.random() < 0.2
    }


def _sized(kind: Any, limits: dict[str, Any]) -> Any:
    return _ANNOTATED[kind, Field(**limits)] if limits else kind


def _several(rng: Random, one: Made, count: int) -> list[Any]:
    return [one.draw(rng) for _ in range(count)]


def _kind_of(value: Any) -> Any:
    return value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
