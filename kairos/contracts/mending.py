"""How a core schema is mended, part by part, and what of it needs no second look.

The walk follows the documented shapes of `pydantic_core.core_schema`; a part that it does not
know is kept as it is and marked as one whose bytes must be read back.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError, SchemaError, SchemaValidator, to_json
from pydantic_core import ValidationError as PydanticError

from kairos.contracts.field_errors import RULE
from kairos.contracts.readable import Node, drop_unreadable, return_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic_core import CoreConfig

__all__ = ["Mender", "strict"]

# Their JSON reads back as an equal value whatever their constraints.
_PLAIN = frozenset(
    {
        "none", "bool", "int", "float", "str", "decimal", "uuid", "date", "nullable", "list",
        "tuple", "set", "frozenset", "typed-dict", "model-fields", "dataclass-args",
        "definitions", "definition-ref", "typed-dict-field", "model-field", "dataclass-field",
    }
)  # fmt: skip
_ONE_INSIDE = (
    "schema", "items_schema", "keys_schema", "values_schema", "extras_schema", "extras_keys_schema",
    "python_schema", "json_schema", "lax_schema", "strict_schema", "arguments_schema",
    "var_args_schema", "var_kwargs_schema",
)  # fmt: skip
_MANY_INSIDE = ("steps", "definitions", "items_schema")
_STRICTABLE = frozenset(
    {
        "bool", "int", "float", "decimal", "fraction", "complex", "str", "bytes", "date", "time",
        "datetime", "timedelta", "enum", "uuid", "url", "multi-host-url", "list", "deque",
        "tuple", "set", "frozenset", "dict", "union", "tagged-union", "lax-or-strict",
    }
)  # fmt: skip
_STRICT = "kairos_strict"
_SCALARS = frozenset({"none", "bool", "int", "float", "str"})
_BUILT_IN_FACTORIES = frozenset({list, dict, set, frozenset, tuple, str, int, bool, float})
_TEMPORAL = frozenset({"ser_json_temporal", "ser_json_timedelta", "val_temporal_unit"})


class Mender:
    """One walk over a schema; `exact`, `deep`, `aliased` and `confusing` tell what it met.

    exact: the JSON of every part reads back as an equal value.
    deep: values may nest without bound.
    aliased: some field is read under another name than its own.
    confusing: some choice has 1 or True in it, which Python finds equal and JSON does not.
    """

    def __init__(self, settings: Mapping[str, Any], json_value: Callable[[Any], Any]) -> None:
        self.settings = dict(settings)
        self.exact = True
        self.deep = False
        self.aliased = False
        self.confusing = False
        self._json_value = json_value
        self._sealing = {
            name: self.settings[name]
            for name in (
                "allow_inf_nan", "ser_json_inf_nan", "revalidate_instances",
                "hide_input_in_errors",
            )
            if name in self.settings
        }  # fmt: skip
        self._special: dict[str, Callable[[Node, Node], Node]] = {
            "any": self._any,
            "float": self._number,
            "decimal": self._number,
            "bytes": self._bytes,
            "datetime": self._temporal,
            "time": self._temporal,
            "timedelta": self._temporal,
            "date": self._temporal,
            "dict": self._dict,
            "literal": self._literal,
            "enum": self._enum,
            "default": self._default,
            "union": self._union,
            "tagged-union": self._tagged_union,
            "model": self._model,
            "dataclass": self._dataclass,
            "typed-dict": self._typed_dict,
            "definition-ref": self._reference,
            "json": self._json_text,
        }

    def mend(self, schema: Node) -> Node:
        """Return a mended copy of `schema`."""
        return self._node(drop_unreadable(schema, self.settings), self.settings)

    def _node(self, node: Node, config: Node) -> Node:
        kind = node["type"]
        if "serialization" in node and kind != "any":
            self.exact = False
        special = self._special.get(kind)
        if special is not None:
            return special(node, config)
        if kind not in _PLAIN:
            self.exact = False
        return self._inside(node, config)

    def _inside(self, node: Node, config: Node) -> Node:
        """Return a copy of `node` with everything in it mended."""
        out = dict(node)
        for key in _ONE_INSIDE:
            if isinstance(node.get(key), dict):
                out[key] = self._node(node[key], config)
        for key in _MANY_INSIDE:
            if isinstance(node.get(key), list):
                out[key] = [self._node(part, config) for part in node[key]]
        fields = node.get("fields")
        if isinstance(fields, dict):
            out["fields"] = {name: self._field(part, config) for name, part in fields.items()}
        elif fields and isinstance(fields[0], dict):  # those of a dataclass are names alone
            out["fields"] = [self._field(part, config) for part in fields]
        if node.get("computed_fields"):
            self.exact = False
            computed = node["computed_fields"]
            out["computed_fields"] = [self._computed(one, config) for one in computed]
        if fields is not None:
            self._whole(out, config)
        return out

    def _whole(self, out: Node, config: Node) -> None:
        """Mend what holds fields, as a whole."""
        named = out["fields"] if isinstance(out["fields"], dict) else {}
        written = [field.get("serialization_alias", name) for name, field in named.items()]
        if len(set(written)) < len(written):
            self.exact = False
        if (out.get("extra_behavior") or config.get("extra_fields_behavior")) != "allow":
            return
        if "extras_schema" not in out:
            out["extras_schema"] = self._any({"type": "any"}, config)
        if written != list(named):
            self.exact = False  # an extra key may be the name that a field is written under

    def _field(self, field: Node, config: Node) -> Node:
        self.aliased = self.aliased or "validation_alias" in field
        if field.get("serialization_exclude") or "serialization_exclude_if" in field:
            self.exact = False
        if field.get("init_only") or not field.get("init", True):
            self.exact = False
        return self._inside(field, config)

    def _computed(self, field: Node, config: Node) -> Node:
        """Have what a computed field returns be of the type that it declares."""
        declared = return_type(field)
        if declared is None:
            return field
        inner = self._node(declared, config)
        schema: Any = inner
        settings: Any = {**self.settings, **config}
        validator = SchemaValidator(schema, settings, _use_prebuilt=False)

        def check(value: Any, handler: Callable[[Any], Any]) -> Any:
            return handler(validator.validate_python(value))

        written = {"type": "function-wrap", "function": check, "schema": inner}
        return {**field, "return_schema": {"type": "any", "serialization": written}}

    def _any(self, node: Node, config: Node) -> Node:  # noqa: ARG002 - one shape for the table
        """Let `Any` mean any JSON value: one that says something else is an error."""
        if "serialization" in node:
            self.exact = False
            return node
        self.deep = True
        kept = {key: node[key] for key in ("ref", "metadata") if key in node}
        return kept | {
            "type": "json-or-python",
            "json_schema": {"type": "any"},
            "python_schema": {
                "type": "function-plain",
                "function": {"type": "no-info", "function": self._json_value},
            },
            "serialization": {"type": "any"},
        }

    def _number(self, node: Node, config: Node) -> Node:  # noqa: ARG002 - as above
        return {**node, "allow_inf_nan": False}

    def _bytes(self, node: Node, config: Node) -> Node:
        written = config.get("ser_json_bytes", "utf8")
        if written != config.get("val_json_bytes", "utf8"):
            self.exact = False
        return node

    def _temporal(self, node: Node, config: Node) -> Node:
        # a zone of the caller's own may have an offset that ISO 8601 cannot say
        if node["type"] in {"datetime", "time"} or any(name in config for name in _TEMPORAL):
            self.exact = False
        return node

    def _dict(self, node: Node, config: Node) -> Node:
        keys = node.get("keys_schema", {"type": "any"})
        if keys["type"] == "any" and "serialization" not in keys:
            # a JSON key is a string, whatever it was before
            node = {**node, "keys_schema": {"type": "str", "strict": True}}
        elif keys["type"] not in {"str", "int"}:
            self.exact = False
        return self._inside(node, config)

    def _literal(self, node: Node, config: Node) -> Node:
        kinds = {type(value) for value in node["expected"]}
        if len(kinds) > 1 or not kinds <= {str, int, bool}:
            self.exact = False
        return self._kept_apart(node, config)

    def _enum(self, node: Node, config: Node) -> Node:
        kinds = {type(member.value) for member in node["members"]}
        if len(kinds) > 1 or not kinds <= {str, int} or node.get("missing"):
            self.exact = False
        return self._kept_apart(node, config)

    def _kept_apart(self, node: Node, config: Node) -> Node:
        """Have a strict choice refuse True for 1: pydantic finds it by Python's ==."""
        self.confusing = self.confusing or _may_confuse(node)
        is_strict = node.get("strict", config.get("strict"))
        if not (is_strict or node.get("metadata", {}).get(_STRICT)) or not _may_confuse(node):
            return node
        apart = {"type": "no-info", "function": _keep_bool_apart}
        bare = {key: part for key, part in node.items() if key != "ref"}
        named = {"ref": node["ref"]} if "ref" in node else {}
        return {"type": "function-wrap", "function": apart, "schema": bare, **named}

    def _json_text(self, node: Node, config: Node) -> Node:
        """Have a text of JSON written as one, and not as what was read from it."""
        self.exact = False
        out = self._inside(node, config)
        if "serialization" in node:
            return out
        inner = out.get("schema", {"type": "any"})
        written = {
            "type": "function-wrap", "function": _json_text, "schema": inner, "when_used": "json"
        }  # fmt: skip
        return {**out, "serialization": written}

    def _default(self, node: Node, config: Node) -> Node:
        out = self._inside(node, config)
        if node.get("on_error", "raise") != "raise" or not self._satisfied(out):
            self.exact = False
        return out

    def _satisfied(self, node: Node) -> bool:
        """Say whether a default is itself a value of its field: pydantic does not look."""
        if "default" in node:
            value = node["default"]
        elif node.get("default_factory") in _BUILT_IN_FACTORIES:
            value = node["default_factory"]()
        else:
            return False
        if value is None and node["schema"]["type"] in {"nullable", "none"}:
            return True
        if value in ([], {}) and "min_length" not in node["schema"]:
            return bool(type(value).__name__ == node["schema"]["type"])
        try:
            settings: CoreConfig = self.settings  # type: ignore[assignment]
            inner = SchemaValidator(node["schema"], settings, _use_prebuilt=False)
            checked = inner.validate_python(value)
        except (SchemaError, PydanticError):  # one that refers to a definition cannot be built
            return False
        return type(checked) is type(value) and bool(checked == value)

    def _union(self, node: Node, config: Node) -> Node:
        choices = [choice if isinstance(choice, tuple) else (choice,) for choice in node["choices"]]
        if not {choice[0]["type"] for choice in choices} <= _SCALARS:
            # two choices may share a JSON form: a date and a str, or two models
            self.exact = False
        mended = [(self._node(first, config), *label) for first, *label in choices]
        return {**node, "choices": [one if len(one) > 1 else one[0] for one in mended]}

    def _tagged_union(self, node: Node, config: Node) -> Node:
        if not isinstance(node["discriminator"], str):
            self.exact = False
        mended = {tag: self._node(choice, config) for tag, choice in node["choices"].items()}
        return {**node, "choices": mended}

    def _model(self, node: Node, config: Node) -> Node:  # noqa: ARG002 - a model has its own
        own = {**(node.get("config") or {}), **self._sealing}
        if node.get("custom_init") or node.get("post_init"):
            self.exact = False
        return {**self._inside(node, own), "config": own}

    def _dataclass(self, node: Node, config: Node) -> Node:
        own = {**(node.get("config") or config), **self._sealing}
        if node.get("post_init"):
            self.exact = False
        return {**self._inside(node, own), "config": own}

    def _typed_dict(self, node: Node, config: Node) -> Node:
        own = {**(node.get("config") or config), **self._sealing}
        return {**self._inside(node, own), "config": own}

    def _reference(self, node: Node, config: Node) -> Node:  # noqa: ARG002 - as above
        self.deep = True
        return node


def strict(node: Node) -> Node:
    """Return a copy of `node` that converts nothing, down to the models, which rule themselves."""
    if node["type"] in {"model", "dataclass", "typed-dict"}:
        return node
    out = dict(node)
    if node["type"] == "literal":  # it has no setting of its own; Mender reads this one
        out["metadata"] = {**node.get("metadata", {}), _STRICT: True}
    if node["type"] in _STRICTABLE:
        out.setdefault("strict", True)
    if node["type"] == "float":
        out["allow_inf_nan"] = False
    for key in _ONE_INSIDE:
        if isinstance(node.get(key), dict):
            out[key] = strict(node[key])
    for key in (*_MANY_INSIDE, "choices"):
        if isinstance(node.get(key), list):
            out[key] = [
                (strict(part[0]), *part[1:]) if isinstance(part, tuple) else strict(part)
                for part in node[key]
            ]
    if isinstance(node.get("choices"), dict):
        out["choices"] = {tag: strict(choice) for tag, choice in node["choices"].items()}
    return out


def _json_text(value: Any, handler: Callable[[Any], Any]) -> str:
    return to_json(handler(value), inf_nan_mode="constants").decode()


def _may_confuse(node: Node) -> bool:
    """Say whether pydantic would take True for 1 here, or 0 for False, as Python's == does."""
    choices = node["expected"] if "expected" in node else [m.value for m in node["members"]]
    return any(isinstance(value, int) and value in {0, 1} for value in choices)


def _keep_bool_apart(value: Any, handler: Callable[[Any], Any]) -> Any:
    found = handler(value)
    if isinstance(value, Enum):
        return found
    if isinstance(value, bool) != isinstance(getattr(found, "value", found), bool):
        raise PydanticCustomError(RULE, "{expected}", {"expected": type(found).__name__})
    return found
