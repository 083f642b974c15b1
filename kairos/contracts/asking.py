"""Asking a validator of a whole value, and making sense of what it answers.

A validator is an object with `validate(data, schema)`, which returns a ValidationResult, or a plain
function of the value.  True passes, and a text says what is wrong.  Anything else is no verdict,
and neither is an exception: a value that was not judged has not passed.
"""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from kairos.contracts.field_errors import ROOT, FieldValidationError, ValidationResult, one_error
from kairos.exceptions import BudgetExceededError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BOOK_CALL", "ask", "is_validator"]

BOOK_CALL: ContextVar[Callable[[], None] | None] = ContextVar("kairos_book_call", default=None)
"""Books a call to a model, in a run; whoever asks a validator that makes one calls it before."""


def is_validator(thing: object) -> bool:
    """Say whether something can be asked; a class cannot, only what is made of it."""
    asked = callable(getattr(thing, "validate", None)) or callable(thing)
    return asked and not isinstance(thing, type)


def ask(validator: Any, data: object, schema: object = None) -> ValidationResult:
    """Return the verdict of a validator.

    Raises nothing of the validator's own but ConfigError and BudgetExceededError: a call to a
    model (its `semantic` is true) is booked before it is made.
    """
    own = getattr(validator, "validate", None)
    name = getattr(validator, "__name__", type(validator).__name__)
    book = BOOK_CALL.get()
    if book is not None and getattr(validator, "semantic", False) is True:
        book()
    try:
        answer = validator(data) if own is None else own(data, schema)
        return _verdict(answer, name, data)
    except (ConfigError, BudgetExceededError):
        raise
    except Exception as error:  # noqa: BLE001 - a validator is someone else's code
        return _failed("a verdict", f"{type(error).__name__} from {name}")


def _verdict(answer: Any, name: str, data: object) -> ValidationResult:
    if answer is True:
        return ValidationResult(valid=True)
    if isinstance(answer, str):
        wrong = FieldValidationError(ROOT, f"what {name} accepts", type(data).__name__, answer)
        return ValidationResult(valid=False, errors=[wrong])
    if answer is False:
        return _failed(f"what {name} accepts", type(data).__name__)
    valid = getattr(answer, "valid", None)
    if not isinstance(valid, bool):
        if inspect.iscoroutine(answer):
            answer.close()
        return _failed("a verdict: a ValidationResult, True or a text", type(answer).__name__)
    if valid:
        return ValidationResult(valid=True, metadata=dict(answer.metadata))
    errors = [_one(each, name, data) for each in answer.errors]
    errors = errors or [one_error(ROOT, f"what {name} accepts", type(data).__name__)]
    return ValidationResult(valid=False, errors=errors, metadata=dict(answer.metadata))


def _one(error: Any, name: str, data: object) -> FieldValidationError:
    if isinstance(error, FieldValidationError):
        return error
    expected, found = f"what {name} accepts", type(data).__name__
    if isinstance(error, str):
        return FieldValidationError(ROOT, expected, found, error)
    return one_error(ROOT, expected, found)


def _failed(expected: str, found: str) -> ValidationResult:
    return ValidationResult(valid=False, errors=[one_error(ROOT, expected, found)])
