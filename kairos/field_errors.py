"""What is wrong with a value, field by field, in words that never hold the value itself.

pydantic reports in its own terms and quotes the input.  Here each of its error types is mapped,
in one table, to the words kairos uses: what was expected, and the type (never the value) that
was found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kairos.enums import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import ValidationError as PydanticError

__all__ = ["ROOT", "FieldValidationError", "ValidationResult", "field_errors"]

ROOT = "<root>"
"""The path of the value itself."""


@dataclass(frozen=True)
class FieldValidationError:
    """One thing wrong with a value.

    `field` is a path such as `items[1].name`; `actual` is the name of the type that was found
    there, or of the rule that it breaks: never the value, which may be secret.
    """

    field: str
    expected: str
    actual: str
    message: str
    severity: Severity = Severity.ERROR


@dataclass(frozen=True)
class ValidationResult:
    """The verdict on a value: `valid`, and every error that was found."""

    valid: bool
    errors: list[FieldValidationError] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)


def field_errors(error: PydanticError) -> tuple[FieldValidationError, ...]:
    """Return pydantic's findings in kairos's words, in its order."""
    found: dict[tuple[str, str, str], FieldValidationError] = {}
    for detail in error.errors(include_url=False, include_context=True):
        one = _field_error(detail["loc"], detail["type"], detail.get("ctx") or {}, detail["input"])
        found.setdefault((one.field, one.expected, one.actual), one)
    return tuple(found.values())


def _field_error(
    loc: Iterable[int | str], kind: str, context: Mapping[str, Any], found: object
) -> FieldValidationError:
    path = path_of(loc)
    expected = kind
    actual = "missing" if kind == "missing" else type(found).__name__
    return FieldValidationError(
        path, expected, actual, f"{path}: expected {expected}, got {actual}"
    )


def path_of(loc: Iterable[int | str]) -> str:
    """Render a pydantic location as `items[1].name`, or `<root>`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text or ROOT
