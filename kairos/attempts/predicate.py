"""The parameters of a typed function, parsed; and a `when=`, which is one more such function."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from kairos.contracts.contract import Contract, ContractBroken, compile_contract
from kairos.contracts.encoding import decode
from kairos.contracts.field_errors import one_error
from kairos.exceptions import ConfigError, KairosError
from kairos.signature import read_signature
from kairos.source import defined_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kairos.context import StepContext
    from kairos.step import Step

__all__ = ["Predicate", "parsed"]


def parsed(name: str, raw: bytes, contract: Contract | None) -> Any:
    """Parse what a parameter names into the type that it is annotated with.

    Raises ContractBroken, with the parameter's name before each path, where that cannot be.
    """
    if contract is None:
        return decode(raw)
    try:
        return contract.check_json(raw)
    except ContractBroken as broken:
        errors = tuple(one_error(_path(name, e.field), e.expected, e.actual) for e in broken.errors)
        raise ContractBroken(errors, contract.name) from None


def _path(name: str, field: str) -> str:
    """Put a field's path below the parameter it was found in."""
    if field == "<root>":
        return name
    return f"{name}{field}" if field.startswith("[") else f"{name}.{field}"


class Predicate:
    """A `when=`, written in either style of a step."""

    def __init__(self, function: Callable[..., Any], step: Step) -> None:
        self._function = function
        self._signature = read_signature(function, step.place)
        allowed = step.read_keys
        for name in self._signature.reads:
            if allowed is not None and name not in allowed:
                raise ConfigError(
                    f"when= of step '{step.name}' reads '{name}', which the step may not read",
                    where=defined_at(function) or step.place,
                    expected=", ".join(allowed) or "no key at all",
                )
        self._contracts = {
            name: compile_contract(note, where=step.place, label=f"when= of step '{step.name}'")
            for name, note in self._signature.annotations.items()
        }

    def __call__(self, inputs: Mapping[str, bytes], context: StepContext) -> bool:
        """Ask it, with what the step may read."""
        if not self._signature.typed:
            return self._verdict(self._function(context))
        values = {
            name: parsed(name, inputs[name], self._contracts.get(name))
            for name in self._signature.reads
            if name in inputs
        }
        if self._signature.context is not None:
            values[self._signature.context] = context
        args, kwargs = self._signature.bind(values)
        return self._verdict(self._function(*args, **kwargs))

    @staticmethod
    def _verdict(value: Any) -> bool:
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            raise KairosError("a when= predicate is a plain function, not an async one")
        return bool(value)
