"""The parameters of a typed function, parsed; and a `when=`, which is one more such function."""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

from kairos.contracts.contract import Contract, ContractBroken, compile_contract
from kairos.contracts.encoding import decode
from kairos.contracts.field_errors import one_error
from kairos.exceptions import ConfigError, KairosError
from kairos.signature import read_signature
from kairos.source import defined_at
from kairos.state import Inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from kairos.context import StepContext
    from kairos.step import Step

__all__ = ["Predicate", "TypedInputs", "parsed"]


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


class TypedInputs(Inputs):
    """Inputs that arrive as a `Context[In]` says: each parsed into its annotation when looked at.

    Looking raises ContractBroken where a value is not what its key is annotated with.
    """

    __slots__ = ("_contracts",)

    def __init__(self, inputs: Any, contracts: Mapping[str, Contract]) -> None:
        super().__init__(inputs._raw, inputs._read_keys, inputs._refusals)  # noqa: SLF001 - its kind
        self._contracts = contracts

    def _read(self, key: str, raw: bytes) -> Any:
        return parsed(key, raw, self._contracts.get(key))


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
        self.contracts = {
            name: compile_contract(note, where=step.place, label=f"when= of step '{step.name}'")
            for name, note in self._signature.annotations.items()
        }
        self._view = {
            key: compile_contract(note, where=step.place, label=f"when= of step '{step.name}'")
            for key, note in self._signature.viewed.items()
        }

    def __call__(self, inputs: Mapping[str, bytes], context: StepContext) -> bool:
        """Ask it, with what the step may read."""
        if not self._signature.typed:
            return self._verdict(self._function(context))
        signature = self._signature
        values = {
            name: parsed(signature.path(key), inputs[key], self.contracts.get(key))
            for key, name in signature.parameters.items()
            if key in inputs
        }
        if signature.context is not None:
            values[signature.context] = context
        args, kwargs = signature.bind(values)
        seen = context.inputs
        if self._view:
            context.inputs = TypedInputs(seen, self._view)
        try:
            return self._verdict(self._function(*args, **kwargs))
        finally:
            context.inputs = seen  # the action has a type of its own for it

    def without(self, keys: Collection[str]) -> Predicate:
        """Return the same predicate, whose parameters of these keys are not checked."""
        lean = copy.copy(self)
        lean.contracts = {key: one for key, one in self.contracts.items() if key not in keys}
        return lean

    @staticmethod
    def _verdict(value: Any) -> bool:
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            raise KairosError("a when= predicate is a plain function, not an async one")
        return bool(value)
