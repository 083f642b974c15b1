"""What may be shown, and to whom: redaction, sanitised errors and retries, untrusted text.

Three readers are told different things.  A person who reads a log gets everything but the
secrets (`redact_sensitive`, `scrub_credentials`, `sanitize_exception`).  A model that tries
again gets tokens out of which no sentence can be made (`sanitize_retry_context`).  A model
that must read foreign text gets it with whatever imitates its own controls defused
(`sanitize_untrusted_text`, in `kairos.redaction.untrusted`).
"""

from __future__ import annotations

import re
import sys
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kairos.enums import FailureType
from kairos.exceptions import SecurityError, StepTimeoutError, ValidationError
from kairos.redaction.redactor import (
    DEFAULT_SENSITIVE_PATTERNS,
    MASK,
    Redactor,
    redact_sensitive,
    redactor_with,
    scrub_credentials,
)
from kairos.redaction.untrusted import SanitizedText, gives_orders, sanitize_untrusted_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike

__all__ = [
    "DEFAULT_SENSITIVE_PATTERNS",
    "MASK",
    "Redactor",
    "SanitizedText",
    "redact_sensitive",
    "redactor_with",
    "sanitize_exception",
    "sanitize_path",
    "sanitize_retry_context",
    "sanitize_untrusted_text",
    "scrub_credentials",
]

_NAME_LIMIT = 100
_MESSAGE_LIMIT = 500
# A mask may be shorter than what it hides, so more is read than is kept.
_READ_LIMIT = 20_000
_TRACEBACK = "Traceback (most recent call last)"

# A path in quotes may hold blanks.
_QUOTED_PATH = r"""(["'])((?:file:/|/|~|\\\\|[A-Za-z]:[\\/])[^"'\r\n]*+)\1"""
# Outside quotes a blank ends a path, unless a backslash follows within a few words (Windows),
# or a slash does behind a home folder (macOS names it after its owner).
_BARE_PATH = r"""(?x)
    file:/++ [^\s"'<>|]++
  | (?:\\\\[?.]\\)?+ (?<![A-Za-z]) [A-Za-z]:[\\/] [^\s"'<>|*?]*+
    (?: (?:\x20[^\s\\"'<>|*?:]{1,40}){1,3} \\ [^\s"'<>|*?]*+ )*+
  | (?<![\w\\]) \\\\ [^\s"'<>|:]++
  | (?<![\w./~<-]) /(?:Users|home)/ [^\s/"'<>|:,;]++ (?:\x20[^\s/"'<>|:,;]++){1,2} /
    [^\s"'<>|:,;)\]}]*+
  | (?<![\w./~<-]) (?:~(?:[A-Za-z_][\w.-]*+)?)?+ / (?![/\s]) [^\s"'<>|:,;)\]}]++
"""

_TOKEN_LIMIT = 100
_TYPE_LIMIT = 40
_SEGMENT_LIMIT = 64
_WORDS_IN_SEGMENT = 6
_WORDS_IN_PATH = 12
_FIELDS_LIMIT = 50
_MUTED = "_"
_NOT_IN_TOKENS = r"[^A-Za-z0-9_.\[\]-]+"
_SEGMENT = r"(?:[A-Za-z_][A-Za-z0-9_-]*|[0-9]+)(?:\[[0-9]*\])*|(?:\[[0-9]*\])+"
_CLASS_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,63}"

_GUIDANCE_EXECUTION = "The previous attempt raised an error. Try a different approach."
_GUIDANCE_TIMEOUT = "The previous attempt did not finish in time. Do less work, or do it faster."
_GUIDANCE_VALIDATION = (
    "The previous output did not match its contract. "
    "Return every failed field with its expected type."
)

_FILE_NAME_LIMIT = 200
_RESERVED = frozenset(
    ["CON", "PRN", "AUX", "NUL"] + [f"{port}{n}" for port in ("COM", "LPT") for n in range(10)]
)


@cache
def _compiled(expression: str) -> re.Pattern[str]:
    # On first use: most runs never fail.
    return re.compile(expression)


def sanitize_exception(exc: BaseException) -> tuple[str, str]:
    """Return the exception's class name and what it says, fit for a log.

    The message is one line of at most 500 characters: credentials are masked, absolute paths
    cut to their last part and stack traces to their last line.  Nothing is raised, even when
    the exception's own `__str__` fails: the message is then empty.
    """
    name = re.sub(r"[^A-Za-z0-9_.]", "", _own_name(type(exc)))[:_NAME_LIMIT]
    try:
        text = str.__str__(str(exc))
    except BaseException:  # noqa: BLE001 - a foreign __str__ may do anything, even leave
        text = ""
    return name or "Exception", _clean_message(text)


def _clean_message(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    if len(text) > _READ_LIMIT:
        # The cut may fall inside a secret, whose head alone no longer looks like one.
        text = re.sub(r"\S{1,500}\Z", "", text[:_READ_LIMIT])
    text = scrub_credentials(_without_traceback(text))
    text = _compiled(_QUOTED_PATH).sub(
        lambda path: f"{path[1]}{_last_part(path[2])}{path[1]}", text
    )
    text = _compiled(_BARE_PATH).sub(lambda path: _last_part(path[0]), text)
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text).split())[:_MESSAGE_LIMIT]


def _without_traceback(text: str) -> str:
    head, marker, trace = text.partition(_TRACEBACK)
    lines = trace.strip().splitlines()
    return f"{head}{lines[-1]}" if marker and len(lines) > 1 else head


def _last_part(path: str) -> str:
    return re.split(r"[\\/]+", path.rstrip("\\/"))[-1]


def sanitize_path(name: str, base_dir: str | PathLike[str] | None = None) -> str:
    """Return `name` as a safe name for one file or folder.

    Characters outside `[A-Za-z0-9_-]` become underscores.  With `base_dir` the result is the
    full path inside it, with links resolved.  A name that is empty, too long or reserved by
    an operating system, that is an absolute path, climbs with `..` or holds a control
    character, or whose path leaves `base_dir` through a link, raises SecurityError.
    """
    safe = _file_name(name)
    if base_dir is None:
        return safe
    base = Path(base_dir).resolve()
    path = (base / safe).resolve()
    if base not in path.parents:
        raise SecurityError("a path leaves the folder it belongs in through a link")
    return str(path)


def _file_name(name: str) -> str:
    if re.search(r"[\x00-\x1f\x7f-\x9f]", name):
        raise SecurityError("a file name holds a control character")
    if re.match(r"[\\/]|[A-Za-z]:", name):
        raise SecurityError("a file name is an absolute path", fix="give a plain name")
    if ".." in re.split(r"[\\/]", name.strip()):
        raise SecurityError("a file name climbs out of its folder", fix="give a plain name")
    if not name.strip(" ."):
        raise SecurityError("a file name is empty", fix="give a plain name")
    if len(name) > _FILE_NAME_LIMIT:
        raise SecurityError(
            "a file name is too long",
            expected=f"at most {_FILE_NAME_LIMIT} characters",
            found=f"{len(name)}",
        )
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    if safe.upper() in _RESERVED:
        raise SecurityError("a file name is reserved by Windows", fix="give another name")
    return safe


def sanitize_retry_context(
    step_output: object,  # noqa: ARG001 - published; never read, which is the promise
    exception: BaseException | None,
    attempt: int,
    failure_type: FailureType | str,
    validation_errors: Iterable[Any] | None = None,
) -> dict[str, object]:
    """Return what a step may know of its failed attempt, safe to put into a prompt.

    Execution: `attempt`, `error_type`, `error_class`, `guidance`.  Validation: `attempt`,
    `error_type`, `failed_fields`, `expected_types`, `actual_types`, `guidance`.  Each
    validation error has `field`, `expected` and `actual`, as attributes or as keys.

    Nothing in it can speak.  An output's keys may come from a model, and so may the name of
    a class made at run time, so an identifier of any length would be a sentence with
    underscores.  A path keeps only segments that look like one field's name: few words, no
    order among them; another segment reads `_`.  A class is named only if its module really
    holds it under that name; else its nearest base that is so held is.  `guidance` is one of
    three fixed sentences.
    """
    if failure_type != FailureType.VALIDATION:
        known = _nearest_known(type(exception)) if exception is not None else Exception
        late = issubclass(known, (TimeoutError, StepTimeoutError))
        return {
            "attempt": attempt,
            "error_type": FailureType.EXECUTION.value,
            "error_class": _own_name(known),
            "guidance": _GUIDANCE_TIMEOUT if late else _GUIDANCE_EXECUTION,
        }
    errors: dict[str, Any] = {}
    for error in _errors(exception, validation_errors):
        errors.setdefault(_field_token(_part(error, "field")), error)
        if len(errors) == _FIELDS_LIMIT:
            break
    return {
        "attempt": attempt,
        "error_type": FailureType.VALIDATION.value,
        "failed_fields": list(errors),
        "expected_types": _types(errors, "expected"),
        "actual_types": _types(errors, "actual"),
        "guidance": _GUIDANCE_VALIDATION,
    }


def _errors(exception: BaseException | None, errors: Iterable[Any] | None) -> Iterable[Any]:
    if errors is None and isinstance(exception, ValidationError) and exception.field:
        return [{"field": exception.field}]
    return errors or ()


def _types(errors: dict[str, Any], side: str) -> dict[str, str]:
    tokens = {field: _type_token(_part(error, side)) for field, error in errors.items()}
    return {field: token for field, token in tokens.items() if token}


def _part(error: Any, name: str) -> str:
    value = error.get(name) if isinstance(error, dict) else getattr(error, name, None)
    if isinstance(value, type):
        return _own_name(value)
    if isinstance(value, Enum):
        value = value.value
    return str.__str__(value) if isinstance(value, str) else ""


def _field_token(path: str) -> str:
    """Cut a path such as `items[1].name` to what cannot speak."""
    kept = re.sub(_NOT_IN_TOKENS, "", path[: 4 * _TOKEN_LIMIT])
    if gives_orders(kept) or gives_orders(path[: 4 * _TOKEN_LIMIT]):
        return _MUTED
    if _word_count(kept) > _WORDS_IN_PATH:
        return _MUTED
    parts = path[: 4 * _TOKEN_LIMIT].split(".")
    return ".".join(_segment(part) for part in parts)[:_TOKEN_LIMIT]


def _segment(part: str) -> str:
    if len(part.split()) > 1:  # words apart are a sentence; its letters together would still say it
        return _MUTED
    part = re.sub(_NOT_IN_TOKENS, "", part)[:_SEGMENT_LIMIT]
    named = _compiled(_SEGMENT).fullmatch(part) is not None
    return part if named and _word_count(part) <= _WORDS_IN_SEGMENT else _MUTED


def _word_count(name: str) -> int:
    return len(re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name))


def _type_token(name: str) -> str:
    readable = name[: 4 * _TYPE_LIMIT].replace(" | ", "-or-").replace(", ", "-")
    kept = re.sub(_NOT_IN_TOKENS, "", readable)[:_TYPE_LIMIT]
    return _MUTED if gives_orders(kept) else kept


def _own_name(cls: type) -> str:
    # The type's own slot: a metaclass may answer `cls.__name__` with anything, or raise.
    name: str = type.__dict__["__name__"].__get__(cls)
    return name


def _nearest_known(cls: type) -> type:
    bases: tuple[type, ...] = type.__dict__["__mro__"].__get__(cls)
    return next(
        (base for base in bases if base is not object and _is_error(base) and _is_held(base)),
        Exception,
    )


def _is_error(cls: type) -> bool:
    return BaseException in type.__dict__["__mro__"].__get__(cls)


def _is_held(cls: type) -> bool:
    """Tell whether the module that `cls` claims as its own holds it under its own name.

    True for the standard library's classes, kairos's and those an author wrote in a module;
    false for a class made inside a function or by a call to `type`, whatever it claims.
    """
    try:
        path = type.__dict__["__qualname__"].__get__(cls)
        name = _own_name(cls)
        if path.rpartition(".")[2] != name or not _compiled(_CLASS_NAME).fullmatch(name):
            return False
        # Dictionaries, not getattr: a module or a class may answer with code of its own.
        module = type.__dict__["__module__"].__get__(cls)
        held: Mapping[str, Any] = vars(sys.modules[module])
        for part in path.split(".")[:-1]:
            held = type.__dict__["__dict__"].__get__(held[part])
        return held.get(name) is cls and not gives_orders(name)
    except (AttributeError, KeyError, TypeError):
        return False
