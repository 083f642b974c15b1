"""Random models field by field: their settings, names, defaults, validators and serialisers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from random_types import even, short

if TYPE_CHECKING:
    from random import Random

    from random_types import Made

__all__ = ["body", "tampered", "tried"]

_ABSENT = object()


def tried(made: Any, value: Any) -> Any:
    """Return an instance of a model, or the value where that cannot be."""
    try:
        return made.model_validate(value)
    except Exception:  # noqa: BLE001 - whatever the validators raise
        return value


def tampered(rng: Random, value: Any) -> Any:
    """Set a field of an instance to what its type does not allow, now and then."""
    if isinstance(value, BaseModel) and rng.random() < 0.3:
        names = list(type(value).model_fields)
        value.__dict__[rng.choice(names)] = rng.choice((1, True, "3", None, 1.0, [1], {"a": 1}))
    return value


def body(rng: Random, fields: dict[str, Made]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return the namespace of a model and the names that each field is read under."""
    config = _config(rng)
    space: dict[str, Any] = {"model_config": config, "__annotations__": {}}
    reads: dict[str, list[str]] = {}
    late: dict[str, Any] = {}
    for name, one in fields.items():
        given, reads[name] = _field(rng, name, one)
        by_name = config.get("populate_by_name")
        reads[name] += [name] if by_name else []
        if given is _ABSENT:
            space["__annotations__"][name] = one.kind
        elif isinstance(given, dict) and "default" not in given and "default_factory" not in given:
            space["__annotations__"][name], space[name] = one.kind, Field(**given)
        else:  # defaults come last, as in a signature
            late[name] = Field(**given)
    for name, given in late.items():
        space["__annotations__"][name], space[name] = fields[name].kind, given
    return space | _methods(rng, fields), reads


def _config(rng: Random) -> ConfigDict:
    config = ConfigDict(extra=rng.choice(["ignore", "ignore", "forbid", "allow"]))
    for name, values in _SETTINGS.items():
        if rng.random() < 0.06:
            config[name] = rng.choice(values)  # type: ignore[literal-required]
    return config


_SETTINGS: dict[str, list[Any]] = {
    "strict": [True], "frozen": [True], "populate_by_name": [True], "str_strip_whitespace": [True],
    "str_to_lower": [True], "str_max_length": [2, 5], "validate_default": [True],
    "use_enum_values": [True], "coerce_numbers_to_str": [True], "ser_json_timedelta": ["float"],
    "ser_json_bytes": ["base64"], "val_json_bytes": ["base64"], "allow_inf_nan": [False, True],
    "alias_generator": [str.upper], "revalidate_instances": ["always"],
    "serialize_by_alias": [True],
    "regex_engine": ["python-re"],
}  # fmt: skip


def _field(rng: Random, name: str, one: Made) -> tuple[Any, list[str]]:
    given, reads = _names(rng, name)
    if rng.random() < 0.2:
        given["default"] = rng.choice([None, 1, "a", one.draw(rng)])
    elif rng.random() < 0.08:
        given["default_factory"] = rng.choice([list, dict, int, lambda: 7])
    for option in ("exclude", "strict", "frozen"):
        if rng.random() < 0.04:
            given[option] = True
    if "exclude" in given and "default_factory" not in given:
        # what is not written can only be read where it need not be there
        given.setdefault("default", one.draw(rng))
    return (given or _ABSENT), reads


def _names(rng: Random, name: str) -> tuple[dict[str, Any], list[str]]:
    """Return other names for a field, and those it is read under."""
    chance = rng.random()
    if chance < 0.08:
        alias = rng.choice([f"x_{name}", f"x_{name}", "x"])
        return {"alias": alias}, [alias]
    if chance < 0.12:
        return {"validation_alias": f"y_{name}"}, [f"y_{name}", name]
    if chance < 0.15:
        return {"validation_alias": AliasChoices("y", AliasPath("z", 0), name)}, ["y", name]
    if chance < 0.17:
        return {"validation_alias": AliasPath("z", "k")}, [name]
    if chance < 0.22:
        known = [f"s_{name}", f"s_{name}", f"s_{name}", "a"]
        return {"serialization_alias": rng.choice(known)}, [name]
    return {}, [name]


def _methods(rng: Random, fields: dict[str, Made]) -> dict[str, Any]:
    first, space = next(iter(fields)), {}

    def checked(_cls: Any, value: Any) -> Any:
        return rng_check(value)

    rng_check = rng.choice([even, short])
    if rng.random() < 0.06:
        mode = rng.choice(["after", "before"])
        space["check_it"] = field_validator(first, mode=mode)(classmethod(checked))  # type: ignore[call-overload]
    if rng.random() < 0.04:
        space["check_all"] = model_validator(mode="before")(classmethod(lambda _cls, v: v))  # type: ignore[arg-type]
    if rng.random() < 0.04:
        space["check_done"] = model_validator(mode="after")(lambda self: self)
    if rng.random() < 0.04:
        space["write_it"] = field_serializer(first)(lambda _self, v: v)
    if rng.random() < 0.02:
        space["write_all"] = model_serializer(mode="wrap")(lambda self, handler: handler(self))
    if rng.random() < 0.08:
        value = rng.choice([1, 1.5, "a", None])
        kind = rng.choice([int, float, str, int | None])

        def area(self: Any) -> Any:
            return value

        area.__annotations__["return"] = kind
        space["area"] = computed_field(property(area))
    return space
