"""What became of attempts, elements and steps, as records that go to plain data and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from kairos.enums import AttemptStatus, StepStatus
from kairos.exceptions import ConfigError
from kairos.spending import Spend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import TypeAdapter

__all__ = [
    "AttemptRecord",
    "ItemResult",
    "StepResult",
    "now",
    "read_record",
    "write_record",
]

T = TypeVar("T")


def now() -> datetime:
    """Return the present moment, in UTC."""
    return datetime.now(UTC)


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type) -> TypeAdapter[Any]:
    adapter = _ADAPTERS.get(kind)
    if adapter is None:
        from pydantic import TypeAdapter  # noqa: PLC0415 - 100 ms that only to_dict needs

        adapter = _ADAPTERS[kind] = TypeAdapter(kind)
    return adapter


def read_record(kind: type[T], data: Any, name: str = "") -> T:
    """Build a record from plain data; extra keys are ignored, bad data is a ConfigError.

    `name` is what it is called there, where that is not the name of `kind`.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - as above

    try:
        record: T = _adapter(kind).validate_python(data)
        return record
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        told = "; ".join(
            f"{'.'.join(map(str, f['loc'])) or '<root>'}: {f['msg']}" for f in faults[:5]
        )
        raise ConfigError(f"this is no {name or kind.__name__}: {told}") from None


def write_record(record: Any) -> dict[str, Any]:
    """Return a record as plain JSON values."""
    plain: dict[str, Any] = _adapter(type(record)).dump_python(record, mode="json")
    return plain


def _plain(spent: Spend | None) -> dict[str, Any] | None:
    return None if spent is None else spent._asdict()  # pydantic would write a bare list


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt: `duration_ms` in milliseconds, `error_message` sanitised."""

    attempt_number: int
    status: AttemptStatus
    output: Any = None
    error_type: str | None = None
    error_message: str | None = None
    duration_ms: float = 0.0
    timestamp: datetime = field(default_factory=now)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return write_record(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AttemptRecord:
        """Build the record from `to_dict`'s form; ConfigError for anything else."""
        return read_record(cls, data)


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one element of a foreach; `spent` is None where nothing was.

    `cached` says that its output was found in the cache.
    """

    index: int
    status: StepStatus
    output: Any = None
    attempts: list[AttemptRecord] = field(default_factory=list)
    reason: str = ""
    spent: Spend | None = None
    cached: bool = False


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of a step.

    `items` tells a foreach's elements apart, `reason` says why; `spent` is what all attempts spent,
    failed ones too, and None where nothing was.  `cached` says that its output, or that of every
    element, was found in the cache: its action did not run.
    """

    step_id: str
    status: StepStatus
    output: Any = None
    attempts: list[AttemptRecord] = field(default_factory=list)
    duration_ms: float = 0.0
    timestamp: datetime = field(default_factory=now)
    items: list[ItemResult] | None = None
    reason: str = ""
    spent: Spend | None = None
    cached: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        plain = write_record(self)
        plain["spent"] = _plain(self.spent)
        for told, each in zip(plain["items"] or (), self.items or (), strict=True):
            told["spent"] = _plain(each.spent)
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StepResult:
        """Build the result from `to_dict`'s form; ConfigError for anything else."""
        return read_record(cls, data)
