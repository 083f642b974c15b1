"""A bare JSON Schema taken at its word: checked first, so that nothing in it is passed over."""

from __future__ import annotations

from typing import Any

from kairos.contracts.json_documents import mapped
from kairos.contracts.json_rules import JsonRules
from kairos.exceptions import ConfigError
from kairos.verify.proof.limits import UnsupportedError

__all__ = ["checked_document"]

_UNEVALUATED = ("unevaluatedProperties", "unevaluatedItems")


def checked_document(document: Any) -> JsonRules | None:
    """Return the judge of a document, or None for one that only the proof can judge.

    Raises UnsupportedError, naming what and where, for what is no JSON Schema 2020-12.
    """
    put_aside: list[Any] = []
    try:
        plain = _plain(document, put_aside)
        if put_aside:
            # checked as definitions, so that their references are followed from the same root
            more = {f"unevaluated {n}": part for n, part in enumerate(put_aside)}
            plain = {**plain, "$defs": {**plain.get("$defs", {}), **more}}
        rules = JsonRules(plain)
    except ConfigError as error:
        detail = f": {error.found}" if error.found else ""
        raise UnsupportedError(f"{error.message}{detail}") from None
    except (AttributeError, TypeError, RecursionError):
        raise UnsupportedError("a document that is no JSON Schema, or too deep a one") from None
    return None if put_aside else rules


def _plain(schema: Any, put_aside: list[Any]) -> Any:
    """Return `schema` without the keywords that the judge does not know."""
    if not isinstance(schema, dict):
        return schema
    kept = {key: part for key, part in schema.items() if key not in _UNEVALUATED}
    put_aside += [_plain(schema[key], put_aside) for key in _UNEVALUATED if key in schema]
    return mapped(kept, lambda part: _plain(part, put_aside))
