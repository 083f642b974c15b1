"""What a server says of its tools, read as what it is: a stranger's words.

Schemas become contracts, or are refused with the keyword.  Descriptions, those inside of schemas
too, are cut and defused: a model reads them, and whoever writes them wants it to do something.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kairos.contracts.contract import compile_contract
from kairos.contracts.json_keywords import NAMED, SCHEMA, SCHEMAS
from kairos.exceptions import ConfigError
from kairos.redaction.untrusted import gives_orders, sanitize_untrusted_text
from kairos.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from kairos.contracts.contract import Contract

__all__ = ["contract_of", "name_for", "readable", "shown_schema"]

_DESCRIBED = 2_000  # characters of a tool's description
_NOTED = 500  # characters of a description inside a schema
_LARGEST = 64 * 1024  # bytes of a schema
_DEEPEST = 60
_LONGEST_NAME = 64

_OTHER_SIGNS = re.compile(r"[^A-Za-z0-9_-]")
# Drafts whose meaning is that of 2020-12 wherever this one has the keyword; what they say in other
# words is refused by name.
_OLDER = re.compile(r"https?://json-schema\.org/(?:draft-0[4-7]|draft/2019-09)/schema#?")
_TEXTS = ("title", "description")
_DROPPED = frozenset({"$schema", "$comment", "examples"})


def readable(description: str) -> str:
    """Return a description that a model may be given."""
    return sanitize_untrusted_text(description, max_len=_DESCRIBED).text


def name_for(prefix: str, name: str) -> str:
    """Return a name for a tool that every provider takes.  Raises ConfigError for an order."""
    if gives_orders(name):
        raise ConfigError("its name gives a model orders")
    return (prefix + _OTHER_SIGNS.sub("_", name))[:_LONGEST_NAME]


def shown_schema(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema as a model is given it: an object's, its texts defused.

    Raises ConfigError for one that is too large or too deep, or that is no object's.
    """
    try:
        size = len(json.dumps(document))
    except (TypeError, ValueError, RecursionError):
        size = _LARGEST + 1
    if size > _LARGEST:
        raise ConfigError("its schema is too large", expected=f"{_LARGEST:,} bytes at most")
    found = _cleaned(dict(document), 0)
    if found.setdefault("type", "object") != "object":
        raise ConfigError("its schema is not that of an object", found=repr(found["type"])[:80])
    found.setdefault("properties", {})
    return found  # type: ignore[no-any-return]


def _cleaned(node: Any, depth: int) -> Any:
    """Return a schema without what would speak to a model, apart from short texts, defused."""
    if depth > _DEEPEST:
        raise ConfigError("its schema is nested too deeply")
    if not isinstance(node, dict):
        return node
    found: dict[str, Any] = {}
    for keyword, value in node.items():
        if keyword in _DROPPED:
            continue
        if keyword in _TEXTS and isinstance(value, str):
            found[keyword] = sanitize_untrusted_text(value, max_len=_NOTED).text
        elif keyword in SCHEMA:
            found[keyword] = _cleaned(value, depth + 1)
        elif keyword in SCHEMAS and isinstance(value, list):
            found[keyword] = [_cleaned(part, depth + 1) for part in value]
        elif keyword in NAMED and isinstance(value, dict):
            found[keyword] = {
                _harmless(name): _cleaned(part, depth + 1) for name, part in value.items()
            }
        else:
            found[keyword] = _harmless(value, depth)
    return found


def _harmless(value: Any, depth: int = 0) -> Any:
    """Return what must stay as it is, such as a name or one of an enum's values.

    Raises ConfigError where it imitates the controls of a conversation: it cannot be defused.
    """
    if depth > _DEEPEST:
        raise ConfigError("its schema is nested too deeply")
    if isinstance(value, str):
        if sanitize_untrusted_text(value, max_len=len(value)).flags or gives_orders(value):
            raise ConfigError("its schema holds a name or a value that gives a model orders")
    elif isinstance(value, Mapping):
        for name, part in value.items():
            _harmless(name)
            _harmless(part, depth + 1)
    elif isinstance(value, list):
        for part in value:
            _harmless(part, depth + 1)
    return value


def contract_of(document: Mapping[str, Any], say: Callable[[str], None]) -> Contract | None:
    """Return the contract of a schema; where there is none, say why, with the keyword."""
    read = dict(document)
    if _OLDER.fullmatch(str(read.get("$schema", ""))):
        del read["$schema"]
    try:
        contract = compile_contract(Schema.from_json_schema({"type": "object", **read}))
        _ = contract.adapter
    except ConfigError as error:
        found = f", found {error.found}" if error.found else ""
        say(f"{error.message}{found}")
        return None
    except RecursionError:
        say("the JSON Schema is nested too deeply")
        return None
    return contract
