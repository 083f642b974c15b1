"""What a run has stored, and the scoped views through which steps see it.

State holds JSON bytes, not objects: a value is written as JSON once, when a step commits, and is
parsed afresh for every reader.  No step can therefore change what another has or will read.

A step is never handed the store.  Its view is built from the keys it may read and from nothing
else, and what it writes stays in the view until the step commits: a step that fails, or comes back
after it was given up, has written nothing.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from kairos.contracts.encoding import decode, encode
from kairos.exceptions import ConfigError, StateError, did_you_mean
from kairos.security import redactor_with
from kairos.source import declared_here

__all__ = [
    "DEFAULT_MAX_TOTAL_SIZE",
    "DEFAULT_MAX_VALUE_SIZE",
    "Inputs",
    "MissingKeyError",
    "Refusal",
    "ScopedStateProxy",
    "StateSnapshot",
    "StateStore",
    "layered",
    "unauthorized",
]

DEFAULT_MAX_VALUE_SIZE = 10_485_760
DEFAULT_MAX_TOTAL_SIZE = 104_857_600
_MISSING: Any = object()
_log = logging.getLogger("kairos.state")


@dataclass(frozen=True, slots=True)
class StateSnapshot:
    """A copy of the whole state at one moment.  `timestamp` is in seconds since the epoch."""

    data: dict[str, Any]
    step_id: str = ""
    timestamp: float = field(default_factory=time.time)


class StateStore:
    """A thread-safe store of JSON values.

    A value over `max_value_size` is stored with a logged warning; a total over `max_total_size`
    is refused with StateError.  Both count bytes of UTF-8 JSON, the total over values.
    `sensitive_keys` adds patterns to what `to_safe_dict` hides.  With `allow_non_serializable` a
    value that is no JSON is kept as a private copy; it counts for no size and leaves the process
    in no form.
    """

    def __init__(
        self,
        max_value_size: int = DEFAULT_MAX_VALUE_SIZE,
        max_total_size: int = DEFAULT_MAX_TOTAL_SIZE,
        sensitive_keys: Iterable[str] | None = None,
        *,
        allow_non_serializable: bool = False,
    ) -> None:
        for name, limit in (("max_value_size", max_value_size), ("max_total_size", max_total_size)):
            if not isinstance(limit, int) or isinstance(limit, bool) or limit <= 0:
                raise ConfigError(f"{name} must be a number of bytes above 0")
        if isinstance(sensitive_keys, str) or not isinstance(sensitive_keys, Iterable | None):
            raise ConfigError(
                "sensitive_keys is a list of patterns such as '*_token'",
                where=declared_here(),
                found=type(sensitive_keys).__name__,
            )
        self._max_value_size = max_value_size
        self._max_total_size = max_total_size
        self._sensitive = tuple(sensitive_keys or ())
        self._allow_objects = allow_non_serializable
        self._values: dict[str, bytes] = {}
        self._objects: dict[str, Any] = {}
        self._total = 0
        self._lock = threading.RLock()

    @property
    def total_size(self) -> int:
        """The bytes of JSON held, over all values."""
        return self._total

    def get(self, key: str, default: Any = _MISSING) -> Any:
        """Return a fresh copy of a value; without a default a missing key is a StateError."""
        with self._lock:
            raw = self._values.get(key)
            if raw is None and key in self._objects:
                return copy.deepcopy(self._objects[key])
        if raw is not None:
            return decode(raw)
        if default is not _MISSING:
            return default
        raise _no_such_key(key, self.keys())

    def set(self, key: str, value: Any) -> None:
        """Store a value.  Raises StateError where it is not JSON or does not fit."""
        self.merge({key: value})

    def merge(self, values: Mapping[str, Any]) -> None:
        """Store all the values, or none of them when one is refused.

        Raises StateError where they are no dict, or one of them cannot be stored.
        """
        if not isinstance(values, Mapping):
            raise StateError("merge takes a dict of values", found=type(values).__name__)
        encoded, objects = self._written(values)
        with self._lock:
            self.commit(encoded)
            self._keep(objects)

    def _written(self, values: Mapping[str, Any]) -> tuple[dict[str, bytes], dict[str, Any]]:
        """Write values as JSON, and copy those that are none, where that is allowed."""
        encoded: dict[str, bytes] = {}
        objects: dict[str, Any] = {}
        for key, value in values.items():
            _check_key(key)
            try:
                encoded[key] = encode(value, key=key)
            except StateError:
                if not self._allow_objects:
                    raise
                objects[key] = _copied(key, value)
        return encoded, objects

    def _keep(self, objects: Mapping[str, Any]) -> None:
        for key, value in objects.items():
            self._total -= len(self._values.pop(key, b""))
            self._objects[key] = value

    def put(self, key: str, raw: bytes) -> str | None:
        """Store one value that is JSON already; return a warning where it is large."""
        held = self._values
        with self._lock:
            total = self._total + len(raw) - len(held.get(key, b""))
            if (
                total <= self._max_total_size
                and len(raw) <= self._max_value_size
                and not self._objects
            ):
                self._total = total
                held[key] = raw
                return None
            return next(iter(self.commit({key: raw})), None)

    def commit(self, encoded: Mapping[str, bytes]) -> list[str]:
        """Store values that are JSON already, all or none; return a warning for each large one."""
        with self._lock:
            held = self._values
            total = self._total
            for key, raw in encoded.items():
                total += len(raw) - len(held.get(key, b""))
            if total > self._max_total_size:
                largest = max(encoded, key=lambda key: len(encoded[key]))
                raise StateError(
                    f"the state would grow to {total:,} bytes with '{largest}'"
                    f" ({len(encoded[largest]):,} bytes)",
                    key=largest,
                    expected=f"at most {self._max_total_size:,} bytes in all (max_total_size)",
                    fix="store large data outside and pass a path or an id",
                )
            self._total = total
            held.update(encoded)
            for key in encoded if self._objects else ():
                self._objects.pop(key, None)
        return [
            self._too_large(k, raw) for k, raw in encoded.items() if len(raw) > self._max_value_size
        ]

    def _too_large(self, key: str, raw: bytes) -> str:
        message = (
            f"'{key}' is {len(raw):,} bytes of JSON,"
            f" over max_value_size of {self._max_value_size:,}"
        )
        _log.warning(message)
        return message

    def has(self, key: str) -> bool:
        """Tell whether a key holds a value."""
        with self._lock:
            return key in self._values or key in self._objects

    def keys(self) -> list[str]:
        """Return the keys, in the order of their first writing."""
        with self._lock:
            return [*self._values, *self._objects]

    def delete(self, key: str) -> None:
        """Remove a key; a missing one is a StateError."""
        with self._lock:
            raw = self._values.pop(key, None)
            if raw is not None:
                self._total -= len(raw)
            elif self._objects.pop(key, _MISSING) is _MISSING:
                raise _no_such_key(key, self.keys())

    def raw(self, key: str) -> bytes | None:
        """Return a value as the JSON it is stored as, None where there is none."""
        return self._values.get(key)

    @property
    def values(self) -> Mapping[str, bytes]:
        """A live, read-only view of everything that is held as JSON."""
        return MappingProxyType(self._values)

    def snapshot(self, step_id: str = "") -> StateSnapshot:
        """Copy the whole state."""
        return StateSnapshot(self.to_dict(), step_id)

    def restore(self, snapshot: StateSnapshot) -> None:
        """Put the state back as it was when the snapshot was taken, or leave it as it is.

        Raises StateError where the snapshot does not fit into this store.
        """
        if not isinstance(snapshot, StateSnapshot):
            raise StateError(
                "restore takes a snapshot", found=type(snapshot).__name__, fix="store.snapshot()"
            )
        encoded, objects = self._written(snapshot.data)
        with self._lock:
            kept = dict(self._values), dict(self._objects), self._total
            # in place: `values` is a live view, also for those who hold it already
            self._values.clear()
            self._objects.clear()
            self._total = 0
            try:
                self.commit(encoded)
            except StateError:
                self._values.update(kept[0])
                self._objects.update(kept[1])
                self._total = kept[2]
                raise
            self._keep(objects)

    def to_dict(self) -> dict[str, Any]:
        """Return a copy of everything, secrets and all."""
        with self._lock:
            values = {key: decode(raw) for key, raw in self._values.items()}
            return {**values, **copy.deepcopy(self._objects)}

    def to_safe_dict(self) -> dict[str, Any]:
        """Return a copy with sensitive values masked."""
        with self._lock:
            values: dict[str, Any] = {key: decode(raw) for key, raw in self._values.items()}
            kept = {key: f"<{type(value).__name__}>" for key, value in self._objects.items()}
        masked: dict[str, Any] = redactor_with(self._sensitive).redact({**values, **kept})
        return masked

    def scoped(
        self, read_keys: Collection[str] | None, write_keys: Collection[str] | None
    ) -> ScopedStateProxy:
        """Return a view that reads only `read_keys` and writes only `write_keys` (None: any)."""
        visible = (
            self.values
            if read_keys is None
            else {key: self._values[key] for key in read_keys if key in self._values}
        )
        return ScopedStateProxy(visible, read_keys, write_keys, commit=self._write_through)

    def _write_through(self, key: str, raw: bytes) -> None:
        self.commit({key: raw})


class Refusal(NamedTuple):
    """A key that was asked for and not given."""

    access: Literal["read", "write"]
    key: str


class ScopedStateProxy:
    """What one step may see of the state, and where it leaves what it writes.

    `visible` holds the JSON of the keys that may be read.  Writes are kept here, seen by the
    step's own reads, and stored when the step commits.
    """

    __slots__ = ("_commit", "_read_keys", "_refusals", "_visible", "_write_keys", "_writes")

    def __init__(
        self,
        visible: Mapping[str, bytes],
        read_keys: Collection[str] | None,
        write_keys: Collection[str] | None,
        refusals: list[Refusal] | None = None,
        writes: dict[str, bytes] | None = None,
        *,
        commit: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self._visible = visible
        self._read_keys = read_keys
        self._write_keys = write_keys
        self._commit = commit
        self._writes: dict[str, bytes] = {} if writes is None else writes
        self._refusals: list[Refusal] = [] if refusals is None else refusals

    @property
    def writes(self) -> dict[str, bytes]:
        """What was written, as JSON; a copy."""
        return dict(self._writes)

    @property
    def refusals(self) -> list[Refusal]:
        """What was asked for and not given; a copy."""
        return list(self._refusals)

    def get(self, key: str, default: Any = _MISSING) -> Any:
        """Return a fresh copy of a value.

        Raises StateError for a key that may not be read, and for a missing one without a default.
        """
        if self._read_keys is not None and key not in self._read_keys and key not in self._writes:
            self._refusals.append(Refusal("read", _named(key)))
            raise unauthorized("read", key, self._read_keys)
        raw = self._writes.get(key)
        if raw is None:
            raw = self._visible.get(key)
        if raw is not None:
            return decode(raw)
        if default is not _MISSING:
            return default
        raise _no_such_key(key, self.keys)

    def set(self, key: str, value: Any) -> None:
        """Write a key.  Raises StateError where that is not allowed, or the value is not JSON."""
        _check_key(key)
        if self._write_keys is not None and key not in self._write_keys:
            self._refusals.append(Refusal("write", key))
            raise unauthorized("write", key, self._write_keys)
        raw = encode(value, key=key)
        if self._commit is not None:
            self._commit(key, raw)
        self._writes[key] = raw

    def has(self, key: str) -> bool:
        """Tell whether a key may be read and holds a value."""
        if key in self._writes:
            return True
        return (self._read_keys is None or key in self._read_keys) and key in self._visible

    @property
    def keys(self) -> list[str]:
        """The keys that may be read and hold a value."""
        seen = dict.fromkeys((*self._visible, *self._writes))
        return [key for key in seen if self.has(key)]


class Inputs(Mapping[str, Any]):
    """The values a step is given, parsed for it when it first looks.

    Each value is the reader's own.  Asking for a key that exists nowhere is a KeyError (and a
    StateError); asking for one that the step may not read is a StateError.
    """

    __slots__ = ("_parsed", "_raw", "_read_keys", "_refusals")

    def __init__(
        self,
        raw: Mapping[str, bytes],
        read_keys: Collection[str] | None = None,
        refusals: list[Refusal] | None = None,
    ) -> None:
        self._raw = raw
        self._read_keys = read_keys
        self._refusals = [] if refusals is None else refusals
        self._parsed: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        parsed = self._parsed
        if key in parsed:
            return parsed[key]
        raw = self._raw.get(key)
        if raw is None:
            if self._read_keys is not None and key not in self._read_keys:
                self._refusals.append(Refusal("read", _named(key)))
                raise unauthorized("read", key, self._read_keys)
            raise MissingKeyError(key, self._raw)
        value = parsed[key] = self._read(key, raw)
        return value

    def _read(self, key: str, raw: bytes) -> Any:  # noqa: ARG002 - its subclass asks for the key
        return decode(raw)

    def __contains__(self, key: object) -> bool:
        return key in self._raw

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def __repr__(self) -> str:
        return f"Inputs({', '.join(self._raw)})"  # keys only: a value may be secret


def layered(own: dict[str, bytes], shared: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Lay a step's own values over those that all steps share, without copying the latter."""
    if not shared:
        return own
    return ChainMap(own, shared)  # type: ignore[arg-type]  # only ever read


class MissingKeyError(StateError, KeyError):
    """A key that holds no value; also a KeyError, since that is what a mapping promises."""

    def __init__(self, key: str, known: Iterable[str]) -> None:
        names = [str(each) for each in known]
        super().__init__(
            f"there is no value under '{key}'",
            key=key,
            found="the keys " + ", ".join(names[:20]) if names else "no keys at all",
            fix=did_you_mean(str(key), names),
        )


def unauthorized(access: str, key: str, allowed: Collection[str]) -> StateError:
    """Build the refusal of a read or a write."""
    return StateError(
        f"Unauthorized {access}: key '{key}' is not in the declared {access}_keys",
        key=key,
        expected=", ".join(sorted(allowed)) or "no key at all",
        fix=f"add '{key}' to the step's {access}_keys, if it should be able to {access} it",
    )


def _no_such_key(key: str, known: Iterable[str]) -> StateError:
    return MissingKeyError(key, known)


def _copied(key: str, value: object) -> object:
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - an object answers for itself, with anything at all
        raise StateError(
            f"the value of '{key}' is neither JSON nor can it be copied",
            key=key,
            found=type(value).__name__,
            fix="store what it is made from, and make it again where it is needed",
        ) from None


def _named(key: object) -> str:
    """Return a key for the record, which holds names and nothing else."""
    return key if type(key) is str else type(key).__name__


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not key:
        raise StateError(
            "a state key is a non-empty string",
            found="an empty string" if key == "" else type(key).__name__,
        )
