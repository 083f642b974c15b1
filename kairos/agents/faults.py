"""What a model is told of JSON of its own that broke a contract."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kairos.enums import FailureType
from kairos.exceptions import ValidationError
from kairos.security import sanitize_retry_context

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from kairos.contracts.field_errors import FieldValidationError

__all__ = ["told_of"]

_ROOT = re.compile(r"[.\[]")


def told_of(
    errors: Iterable[FieldValidationError], known: Collection[str], attempt: int
) -> dict[str, Any]:
    """Return the sanitised context of a retry: which fields, of what type, and nothing else.

    A key that the contract does not know is the model's own word, or that of whoever wrote what it
    read; it is told as `_`.
    """
    faults = [
        error
        if error.field[:1] in ("<", "[") or _ROOT.split(error.field, maxsplit=1)[0] in known
        else {"field": "_", "expected": error.expected, "actual": error.actual}
        for error in errors
    ]
    return sanitize_retry_context(None, ValidationError(), attempt, FailureType.VALIDATION, faults)
