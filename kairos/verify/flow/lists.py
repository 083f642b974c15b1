"""Foreach over what is no list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.verify.findings import Finding, found_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.contracts.contract import Contract
    from kairos.verify.scene import Scene

__all__ = ["find_no_lists"]

_DEEPEST_REF = 20


def find_no_lists(scene: Scene) -> Iterator[Finding]:
    """Find foreach over the output of a step whose contract allows no list."""
    verdicts: dict[int, bool] = {}
    for step in scene.graph.steps:
        position = scene.graph.index.get(step.config.foreach or "")
        if position is None:
            continue
        producer = scene.graph.steps[position]
        contract = producer.contracts.output
        if contract is None or producer.config.foreach is not None:  # a foreach returns a list
            continue
        if id(contract) not in verdicts:
            verdicts[id(contract)] = _may_be_a_list(contract)
        if not verdicts[id(contract)]:
            yield found_in(
                step,
                "KRS207",
                f"runs over '{producer.name}', whose contract allows no list",
                expected="a contract such as list[...]",
                found=contract.name,
                fix=f"have {producer.name} return a list, or run over another key",
            )


def _may_be_a_list(contract: Contract) -> bool:
    try:
        schema = contract.json_schema("serialization")
    except Exception:  # noqa: BLE001 - what has no schema, or cannot be built, may be anything
        return True
    return _allows_array(schema, schema, 0)


def _allows_array(schema: Any, root: dict[str, Any], depth: int) -> bool:
    """Tell whether a JSON Schema may allow an array: False is certain."""
    if not isinstance(schema, dict) or depth > _DEEPEST_REF:
        return True
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref.startswith("#/$defs/"):
        return _allows_array(root.get("$defs", {}).get(ref[8:]), root, depth + 1)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return any(_allows_array(each, root, depth + 1) for each in schema[choice])
    if "const" in schema or "enum" in schema:
        return any(isinstance(v, list) for v in schema.get("enum", (schema.get("const"),)))
    kind = schema.get("type", "array")
    return "array" in ((kind,) if isinstance(kind, str) else kind)
