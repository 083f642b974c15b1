"""A step's output contract, as what a model is asked for and its reply is read by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kairos.adapters.schemas import WRAPPED, rooted
from kairos.contracts.contract import ContractBroken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kairos.contracts.contract import Contract

__all__ = ["Shape"]


class Shape:
    """A step's output contract, as what a model's reply is asked for and read by."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        schema = contract.json_schema("validation")
        self.schema: Mapping[str, Any] | None = None
        self._wrapped = False
        if schema.get("type") != "string":
            self.schema, self._wrapped = rooted(schema)

    def value(self, text: str) -> Any:
        """Return the value that a reply holds.

        What is no JSON is returned as the text that it is: the contract will say that it is not
        what it takes, and that is the one place where this is said.
        """
        if self.schema is None:
            return text
        try:
            found = json.loads(_bare(text))
        except ValueError:
            return text
        if self._wrapped and isinstance(found, dict) and found.keys() == {WRAPPED}:
            found = found[WRAPPED]
        try:
            # dates, enums and their like are read as JSON has them, which a strict contract
            # would not take from a plain value
            return self.contract.check_json(json.dumps(found).encode())
        except (ContractBroken, ValueError):
            return found


def _bare(text: str) -> str:
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):  # many models fence what is JSON
        text = text.removeprefix("```").removeprefix("json").removesuffix("```")
    return text
