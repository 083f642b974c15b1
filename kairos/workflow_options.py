"""What a workflow is declared with, each option held to what it may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kairos.budget import Budget
from kairos.contracts.contract import Contract, ContractBroken, compile_contract
from kairos.contracts.encoding import decode, encode
from kairos.exceptions import ConfigError, ValidationError, did_you_mean

if TYPE_CHECKING:
    from kairos.ports import StepCache
    from kairos.source import Place

__all__ = [
    "budget_of",
    "cache_of",
    "expected_kind",
    "held_to",
    "inputs_of",
    "kind_of",
    "patterns_of",
    "refuse_unknown",
    "renamed",
    "whole_number",
]

_KEYWORDS = (
    "failure_policy",
    "hooks",
    "max_llm_calls",
    "sensitive_keys",
    "strict",
    "metadata",
    "max_concurrency",
    "inputs",
    "budget",
    "replanner",
    "elide",
    "cache",
)


def kind_of(value: object) -> str:
    """Return what a value is, in a word."""
    return "an empty string" if isinstance(value, str) else type(value).__name__


def refuse_unknown(unknown: Mapping[str, Any], place: Place | None) -> None:
    """Raise ConfigError for a keyword that a workflow does not take."""
    for name in unknown:
        raise ConfigError(
            f"Workflow takes no keyword '{name}'",
            where=place,
            expected="one of " + ", ".join(_KEYWORDS),
            fix=did_you_mean(name, _KEYWORDS),
        )


def expected_kind(value: Any, kind: type[Any], name: str, place: Place | None) -> Any:
    """Return a value of a kind, or None.  Raises ConfigError for anything else."""
    if value is None or isinstance(value, kind):
        return value
    raise ConfigError(f"{name} is no {kind.__name__}", where=place, found=type(value).__name__)


def whole_number(value: int | None, name: str, least: int, place: Place | None) -> int | None:
    """Return a whole number from `least` up, or None.  Raises ConfigError for anything else."""
    good = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if value is None or good:
        return value
    raise ConfigError(
        f"{name} is not what it takes",
        where=place,
        expected=f"a whole number from {least} up",
        found=str(value) if isinstance(value, (int, float)) else type(value).__name__,
    )


def renamed(name: str, inputs: Mapping[str, bytes]) -> str | None:
    """Find the input that was meant: `did_you_mean`, the other way round."""
    return next((f"rename '{n}' to '{name}'" for n in inputs if did_you_mean(n, (name,))), None)


def budget_of(budget: Budget | None, calls: int | None, place: Place | None) -> Budget:
    """Return a run's budget.  Raises ConfigError where two limits of its calls disagree."""
    if budget is None:
        return Budget() if calls is None else Budget(llm_calls=calls)
    if calls is not None and calls != budget.llm_calls:
        raise ConfigError(
            "max_llm_calls and budget both limit the calls to models",
            where=place,
            fix="put it into the budget: Budget(llm_calls=...)",
        )
    return budget


def patterns_of(patterns: Sequence[str] | None, place: Place | None) -> tuple[str, ...]:
    """Return patterns of sensitive keys.  Raises ConfigError for what is no list of texts."""
    given: Any = () if patterns is None else patterns
    is_list = isinstance(given, Iterable) and not isinstance(given, str)
    given = tuple(given) if is_list else given
    if not is_list or not all(isinstance(each, str) for each in given):
        raise ConfigError(
            "sensitive_keys is a list of patterns such as '*_token'",
            where=place,
            found=type(patterns).__name__,
        )
    kept: tuple[str, ...] = given
    return kept


def inputs_of(declared: Any, place: Place | None) -> tuple[Contract | None, frozenset[str] | None]:
    """Take `inputs=` apart: a contract for all of them, or their bare names."""
    if declared is None:
        return None, None
    if isinstance(declared, (list, tuple, set, frozenset)):
        if not all(isinstance(each, str) and each for each in declared):
            raise ConfigError("inputs= lists something that is no name", where=place)
        return None, frozenset(declared)
    contract = compile_contract(declared, where=place, label="inputs= of the workflow")
    shape = contract.json_schema("validation")
    while "$ref" in shape:
        shape = shape["$defs"][shape["$ref"].rpartition("/")[2]]
    if shape.get("type") != "object":
        raise ConfigError(
            "inputs= is a contract of something other than named inputs",
            where=place,
            expected="a model, a TypedDict or a Schema with one field for each input",
            found=contract.name,
        )
    return contract, frozenset(shape.get("properties", ()))


def held_to(
    contract: Contract, inputs: Mapping[str, bytes], workflow: str, place: Place | None
) -> dict[str, bytes]:
    """Check the inputs against their contract, and fill in its defaults."""
    body = b",".join(encode(name, key=name) + b":" + raw for name, raw in inputs.items())
    try:
        checked = contract.check_output(contract.check_json(b"{" + body + b"}"))
    except ContractBroken as broken:
        told = "; ".join(f"{e.field}: needs {e.expected}, found {e.actual}" for e in broken.errors)
        raise ValidationError(
            f"the inputs of workflow '{workflow}' break their contract: {told}",
            field=broken.field,
            where=place,
            expected=contract.name,
        ) from None
    return {name: encode(value, key=name) for name, value in decode(checked).items()}


def cache_of(given: Any, place: Place | None) -> StepCache | None:
    """Return the cache that was given, if one was."""
    if given is None or (callable(getattr(given, "get", None)) and hasattr(given, "at_rest")):
        cache: StepCache | None = given
        return cache
    raise ConfigError(
        "cache is no cache",
        where=place,
        expected="MemoryCache(), SQLiteCache(path), or an object with get, put and at_rest",
        found=type(given).__name__,
    )
