"""An outcome on its way from a worker process to the driver.

The worker ran someone's code in its own memory, so what it says is read with suspicion: every
part is checked, words are made fit to show once more, and nothing is imported or called to
rebuild an exception but the constructors of classes that are loaded already.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Literal

from kairos.attempt import Failure, Outcome, Work
from kairos.backends.wire import GarbledError
from kairos.contracts.contract import ContractBroken
from kairos.contracts.encoding import decode
from kairos.contracts.field_errors import FieldValidationError
from kairos.enums import FailureType
from kairos.events import Fault
from kairos.exceptions import KairosError
from kairos.security import sanitize_exception
from kairos.state import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["read_outcome", "write_outcome"]

_DETAILS = ("expected", "found", "fix")
_SUBJECTS = ("key", "field", "scope", "budget")
_ANCESTORS = 40


def write_outcome(outcome: Outcome) -> tuple[dict[str, Any], list[bytes]]:
    """Return an outcome as a message (in the worker)."""
    blobs: list[bytes] = []

    def blob(raw: bytes | None) -> int | None:
        if raw is None:
            return None
        blobs.append(raw)
        return len(blobs) - 1

    failure = outcome.failure
    head = {
        "output": blob(outcome.output),
        "skipped": outcome.skipped,
        "writes": {key: blob(raw) for key, raw in (outcome.writes or {}).items()},
        "refusals": [list(refusal) for refusal in outcome.refusals],
        "warnings": list(outcome.warnings),
        "failure": None
        if failure is None
        else {
            "type": failure.type.value,
            "error": failure.error,
            "message": failure.message,
            "faults": [list(fault) for fault in failure.faults],
            "output": blob(failure.output),
            "classes": _ancestry(failure.exception),
            "details": _details(failure.exception),
        },
    }
    return head, blobs


def _ancestry(error: BaseException) -> list[list[str]]:
    """Name the classes of an exception, so that the nearest one known elsewhere can be found."""
    return [[kind.__module__, kind.__qualname__] for kind in type(error).__mro__[:_ANCESTORS]]


def _details(error: BaseException) -> dict[str, str]:
    if not isinstance(error, KairosError):
        return {}
    told = {name: getattr(error, name, None) for name in ("message", *_DETAILS, *_SUBJECTS)}
    return {name: _clean(text) for name, text in told.items() if isinstance(text, str)}


def _clean(text: str) -> str:
    return sanitize_exception(Exception(text))[1]


def read_outcome(
    work: Work, head: dict[str, Any], blobs: Sequence[bytes], aliases: dict[str, str]
) -> Outcome:
    """Return what a worker answered about a work.

    `aliases` maps the names of modules in the worker to their names here.  Raises GarbledError
    for an answer that is none.
    """
    try:
        return _outcome(work, head, blobs, aliases)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, KairosError) as error:
        if isinstance(error, GarbledError):
            raise
        raise GarbledError("answered what is no outcome") from None


def _outcome(
    work: Work, head: dict[str, Any], blobs: Sequence[bytes], aliases: dict[str, str]
) -> Outcome:
    skipped: Literal["", "returned"] = "returned" if head["skipped"] == "returned" else ""
    outcome = Outcome(work, _value(blobs, head["output"]), skipped)
    if head["failure"] is not None:
        outcome.failure = _failure(work, head["failure"], blobs, aliases)
    if (outcome.output is None) is (outcome.failure is None):
        raise GarbledError("answered with neither an output nor a failure, or with both")
    allowed = work.recipe.write_keys
    for key, index in head["writes"].items():
        if key not in allowed:
            raise GarbledError("answered with a write to a key that is not its to write")
        outcome.writes = outcome.writes or {}
        outcome.writes[key] = _required(_value(blobs, index))
    outcome.refusals = [_refusal(*each) for each in head["refusals"]]
    outcome.warnings = [_clean(_text(each)) for each in head["warnings"]]
    return outcome


def _value(blobs: Sequence[bytes], index: Any) -> bytes | None:
    if index is None:
        return None
    if type(index) is not int or index < 0:
        raise GarbledError("answered with a value that is not there")
    decode(blobs[index])  # what goes on from here is JSON, or goes nowhere
    return blobs[index]


def _required(raw: bytes | None) -> bytes:
    if raw is None:
        raise GarbledError("answered with a value that is not there")
    return raw


def _refusal(access: Any, key: Any) -> Refusal:
    if access not in ("read", "write"):
        raise GarbledError("answered with an unknown kind of access")
    return Refusal(access, _text(key))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise GarbledError("answered with something else where words belong")
    return value.encode("utf-8", "replace").decode()


def _failure(
    work: Work, told: dict[str, Any], blobs: Sequence[bytes], aliases: dict[str, str]
) -> Failure:
    kind = FailureType(told["type"])
    faults = tuple(Fault(*map(_text, fault)) for fault in told["faults"])
    name = re.sub(r"[^A-Za-z0-9_.]", "", _text(told["error"]))[:100] or "Exception"
    message = _clean(_text(told["message"]))
    error: BaseException
    if kind is FailureType.VALIDATION:
        output = work.recipe.output
        contract = work.recipe.name if output is None else output.name
        error = ContractBroken(tuple(FieldValidationError(*fault) for fault in faults), contract)
    else:
        error = _rebuilt(told["classes"], message, told["details"], aliases)
    return Failure(kind, error, name, message, faults, _value(blobs, told["output"]))


def _rebuilt(classes: Any, message: str, details: Any, aliases: dict[str, str]) -> BaseException:
    """Build an exception of the nearest class that this process knows.

    It is for the router: `retry_on=OSError` must hold whether or not the library that raises a
    kind of OSError is loaded here.
    """
    for module, qualname in classes[:_ANCESTORS]:
        known = _known(aliases.get(module, module), qualname)
        if known is None:
            continue
        try:
            # The class's own __init__ may ask for anything at all: it is not called.
            error = known.__new__(known)
            error.args = (message,)
            if isinstance(error, KairosError):
                _furnish(error, message, details)
            str(error)
        except Exception:  # noqa: BLE001, S112 - a class that cannot be had bare: its base can
            continue
        return error
    return Exception(message)


def _known(module: Any, qualname: Any) -> type[BaseException] | None:
    """Return an exception class that is loaded.  Looks only: nothing is imported for it."""
    found: Any = sys.modules.get(_text(module))
    for part in _text(qualname).split("."):
        if found is None:
            return None
        found = vars(found).get(part)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _furnish(error: KairosError, message: str, details: Any) -> None:
    told = {name: _clean(_text(text)) for name, text in details.items()}
    own = next(kind for kind in type(error).__mro__ if kind.__module__ == KairosError.__module__)
    own.__init__(  # type: ignore[misc]  # what the class adds below our own tree stays out
        error, told.get("message", message), **{n: told[n] for n in _DETAILS if n in told}
    )
    for name in _SUBJECTS:
        if name in told and hasattr(error, name):
            setattr(error, name, told[name])
