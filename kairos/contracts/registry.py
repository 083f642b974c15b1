"""The contracts of many steps, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kairos.contracts.contract import compile_contract
from kairos.source import declared_here

__all__ = ["ContractPair", "SchemaRegistry"]


@dataclass(frozen=True)
class ContractPair:
    """What a step takes and what it gives: either may be None, for no contract."""

    input_schema: Any = None
    output_schema: Any = None


class SchemaRegistry:
    """The contracts of steps, by the steps' names."""

    def __init__(self) -> None:
        self._pairs: dict[str, ContractPair] = {}

    def register(self, step_id: str, input_schema: Any = None, output_schema: Any = None) -> None:
        """Note a step's contracts, in place of any it had.

        Raises ConfigError for what is not a contract.
        """
        for side, declared in (("input", input_schema), ("output", output_schema)):
            if declared is not None:
                compile_contract(
                    declared, where=declared_here(), label=f"{side} contract of step '{step_id}'"
                )
        self._pairs[step_id] = ContractPair(input_schema, output_schema)

    def get_input_contract(self, step_id: str) -> Any:
        """Return what the step's input must satisfy, or None."""
        return self._pairs.get(step_id, ContractPair()).input_schema

    def get_output_contract(self, step_id: str) -> Any:
        """Return what the step's output must satisfy, or None."""
        return self._pairs.get(step_id, ContractPair()).output_schema

    def has_contract(self, step_id: str) -> bool:
        """Say whether the step has a contract on either side."""
        pair = self._pairs.get(step_id, ContractPair())
        return pair.input_schema is not None or pair.output_schema is not None

    def all_contracts(self) -> dict[str, ContractPair]:
        """Return every step's contracts, by its name."""
        return dict(self._pairs)

    def export_json_schema(self) -> dict[str, dict[str, Any]]:
        """Return `{step: {"input": ..., "output": ...}}` as JSON Schema, without what is None."""
        return {step_id: _exported(pair) for step_id, pair in self._pairs.items()}


def _exported(pair: ContractPair) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if pair.input_schema is not None:
        found["input"] = compile_contract(pair.input_schema).json_schema("validation")
    if pair.output_schema is not None:
        found["output"] = compile_contract(pair.output_schema).json_schema("serialization")
    return found
