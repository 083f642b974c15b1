"""A failed attempt in words: what may be stored and shown of an exception."""

from __future__ import annotations

from typing import NamedTuple

from pydantic_core import ValidationError as PydanticError

from kairos.contracts.contract import ContractBroken
from kairos.contracts.field_errors import path_of
from kairos.enums import FailureType
from kairos.events import Fault
from kairos.exceptions import ExecutionError, KairosError
from kairos.security import sanitize_exception

__all__ = ["Failure", "failure_of"]


class Failure(NamedTuple):
    """Why an attempt failed: the exception for the router, sanitised words for everybody else."""

    type: FailureType
    exception: BaseException
    error: str
    message: str
    faults: tuple[Fault, ...] = ()
    output: bytes | None = None


def failure_of(error: BaseException) -> Failure:
    """Put an exception into words that may be stored and shown.  Never raises."""
    try:
        return _failure(error)
    except BaseException:  # noqa: BLE001 - an exception's own code may do anything at all
        name, message = sanitize_exception(error)
        stand_in = ExecutionError(message)  # nobody else has to ask the other one what it is
        return Failure(FailureType.EXECUTION, stand_in, name, message)


def _failure(error: BaseException) -> Failure:
    name, message = sanitize_exception(error)
    if isinstance(error, PydanticError):  # its own words quote the value
        details = error.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(f"{path_of(f['loc'])}: {f['type']}" for f in details[:5])
        message = sanitize_exception(KairosError(told))[1]
    if isinstance(error, KairosError):
        said = (error.message, _told("expected", error.expected), _told("found", error.found))
        words = "; ".join(part for part in (*said, _told("fix", error.fix)) if part)
        message = sanitize_exception(KairosError(words))[1]
    if isinstance(error, ContractBroken):
        faults = tuple(Fault(e.field, e.expected, e.actual, e.message) for e in error.errors)
        return Failure(FailureType.VALIDATION, error, name, message, faults, error.raw)
    return Failure(FailureType.EXECUTION, error, name, message)


def _told(label: str, text: str | None) -> str:
    return f"{label}: {text}" if text else ""
