"""A lock as text: canonical when it is written, and believed in nothing when it is read."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic import ValidationError as PydanticError
from typing_extensions import TypedDict

from kairos.contracts.json_documents import Document
from kairos.contracts.json_keywords import mapped
from kairos.exceptions import ConfigError
from kairos.verify.lock.entry import LockedWorkflow  # noqa: TC001 - pydantic reads it
from kairos.verify.proof.reading import OPAQUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kairos.verify.lock.contracts import LockedContract

__all__ = ["LONGEST", "VERSION", "Lock", "LockError", "lock_text", "read_lock"]

VERSION = 1
"""The format that is written, and the only one that is read."""

LONGEST = 32 * 1024 * 1024
"""How long a lock may be, in characters; a thousand steps take a few megabytes."""

_OURS = frozenset({OPAQUE, "format"})  # the proof has names of formats that nobody else has
_WIDTH = 96
_SHOWN = 60
_MERGING = ("<<<<<<<", "=======", ">>>>>>>")


class LockError(ConfigError):
    """A lock that cannot be read: the message says what is wrong with it, and where."""


class Lock(TypedDict):
    """What a file of contracts holds: the workflows by their names."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)  # type: ignore[misc]

    kairos_lock: Literal[1]
    workflows: dict[str, LockedWorkflow]


def lock_text(workflows: Mapping[str, LockedWorkflow]) -> str:
    """Return the file for these workflows: the same bytes for the same contracts.

    Keys are sorted, and what fits a line stands on one, so that a change shows as the lines that
    it concerns.
    """
    lock = {"kairos_lock": VERSION, "workflows": dict(workflows)}
    return _laid(lock, 0) + "\n"


def _laid(value: Any, depth: int, before: int = 0) -> str:
    """Return a value as text: on one line where it fits, else a part a line."""
    if not value or not isinstance(value, dict | list):
        return json.dumps(value)
    is_dict = isinstance(value, dict)
    opened, closed = "{}" if is_dict else "[]"
    names = [f"{json.dumps(key)}: " for key in sorted(value)] if is_dict else [""] * len(value)
    inside = [value[key] for key in sorted(value)] if is_dict else value
    parts = [
        name + _laid(part, depth + 1, len(name)) for name, part in zip(names, inside, strict=True)
    ]
    flat = opened + ", ".join(parts) + closed
    if depth > 0 and "\n" not in flat and len(flat) + before + depth <= _WIDTH:
        return flat
    pad = "\n" + " " * (depth + 1)
    return opened + pad + f",{pad}".join(parts) + "\n" + " " * depth + closed


def read_lock(text: str) -> dict[str, LockedWorkflow]:
    """Return the workflows that a lock holds, by name.

    Raises LockError, saying what and where, for what is no lock of this version, and for a
    document in it that is no JSON Schema.
    """
    found = _parsed(text)
    version = found.get("kairos_lock") if isinstance(found, dict) else None
    if version is None:
        raise LockError(
            "this is no lock of contracts",
            expected='an object with "kairos_lock" and "workflows"',
            found=_keys(found),
            fix="write a new one: kairos validate MODULE --lock FILE --update",
        )
    if version != VERSION or isinstance(version, bool):
        raise LockError(
            "a lock of another version",
            expected=f'"kairos_lock": {VERSION}',
            found=json.dumps(version)[:_SHOWN],
            fix="use the kairos that it was written with, or write it anew with --update",
        )
    try:
        lock: Lock = _adapter().validate_python(found)
    except PydanticError as error:
        raise _misshapen(error) from None
    checked: set[str] = set()
    try:
        for name, workflow in lock["workflows"].items():
            for where, contract in _contracts_in(workflow):
                _check(contract, f"{name}: {where}", checked)
    except RecursionError:
        raise LockError("a document in the lock nests too deep") from None
    return lock["workflows"]


def _parsed(text: str) -> Any:
    if len(text) > LONGEST:
        raise LockError(
            "a lock that is too long",
            expected=f"at most {LONGEST:,} characters",
            found=f"{len(text):,}",
        )
    try:
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        lines = text.splitlines()
        line = lines[error.lineno - 1] if error.lineno <= len(lines) else ""
        merging = line.startswith(_MERGING)
        raise LockError(
            f"the lock is no JSON: line {error.lineno}, column {error.colno}",
            expected="the file as it was written",
            found="a merge that was not finished" if merging else error.msg,
            fix="write it anew with --update, and review what changed",
        ) from None
    except RecursionError:
        raise LockError("the lock nests too deep") from None
    except ValueError as error:  # a key twice, a number of more digits than Python reads
        raise LockError("the lock is no JSON that can be read", found=str(error)[:200]) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:_SHOWN]!r} stands twice in one object")
    return found


def _keys(found: Any) -> str:
    if not isinstance(found, dict):
        return type(found).__name__
    return ", ".join(str(key)[:_SHOWN] for key in [*found][:5]) or "an empty object"


@cache
def _adapter() -> TypeAdapter[Lock]:
    return TypeAdapter(Lock)


def _misshapen(error: PydanticError) -> LockError:
    (first, *others) = error.errors(include_url=False, include_input=False, include_context=False)
    where = ".".join(str(part)[:_SHOWN] for part in first["loc"]) or "$"
    more = f", and {len(others)} more" if others else ""
    return LockError(f"the lock is not as it was written: {where}", found=first["msg"] + more)


def _contracts_in(workflow: LockedWorkflow) -> Iterator[tuple[str, LockedContract | None]]:
    yield "inputs", workflow["inputs"]["contract"]
    for name, step in workflow["steps"].items():
        yield f"output of {name}", step["output"]
        for told, reader in step["asks"].items():
            yield f"{told} of {name}", reader["contract"]


def _check(contract: LockedContract | None, where: str, checked: set[str]) -> None:
    for side, document in () if contract is None else contract.items():
        text = json.dumps(document, sort_keys=True)
        if text in checked:
            continue
        checked.add(text)
        try:
            Document(_judged(document))
        except ConfigError as error:
            raise LockError(
                f"the lock holds what is no contract: {where}, {side}",
                expected=error.expected,
                found=f"{error.message}" + (f": {error.found}" if error.found else ""),
            ) from None


def _judged(schema: Any) -> Any:
    """Return a schema without what the proof alone understands, once that is looked at."""
    if not isinstance(schema, dict):
        return schema
    names = schema.get(OPAQUE, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{OPAQUE!r} is no list of names")
    if not isinstance(schema.get("format", ""), str):
        raise ConfigError("a format is no name")
    kept = {key: part for key, part in schema.items() if key not in _OURS}
    try:
        return mapped(kept, _judged)
    except (AttributeError, TypeError):  # a keyword that holds no schemas: told when it is checked
        return kept
