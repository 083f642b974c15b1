"""What a cached step is, as far as its outputs go: they are found again while it stays the same.

An identity is a digest of the step's name, its version, its output contract, and its action.  An
action that says what it is (an adapter's: model, prompt, options) is believed; of a function it is
the source and all that this names, of an object its class and what it holds.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from kairos.attempts.memory import StepMemory
from kairos.caching import Cache
from kairos.contracts.effects import identity_said
from kairos.contracts.labels import marks_of
from kairos.exceptions import ConfigError
from kairos.security import redactor_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kairos.attempt import Recipe
    from kairos.engine.options import RunOptions
    from kairos.ports import StepCache
    from kairos.step import Step

__all__ = ["identify", "memory_of"]


def memory_of(options: RunOptions) -> StepMemory | None:
    """Return what a run finds outputs in; None without a cache."""
    if options.cache is None:
        return None
    return StepMemory(options.cache, options.clock.time, redactor_with(options.sensitive_keys))


def identify(recipes: Iterable[Recipe], cache: StepCache, sensitive_keys: tuple[str, ...]) -> None:
    """Give the recipes of cached steps their identities.

    Raises ConfigError for a step of which nothing tells when its action changes, and for one whose
    secrets would be kept in a file.
    """
    for recipe in recipes:
        step = recipe.step
        if isinstance(step.config.cache, Cache):
            if cache.at_rest:
                _refuse_secrets(step, redactor_with(sensitive_keys).is_sensitive)
            recipe.identity = _identity(step, step.config.cache.version)


def _identity(step: Step, version: str) -> str:
    told = [step.name, version, _contract(step), _action(step, version)]
    written = json.dumps(told, sort_keys=True, default=repr).encode("utf-8", "surrogatepass")
    return hashlib.sha256(written).hexdigest()


def _action(step: Step, version: str) -> Any:
    said = identity_said(step.action)
    if said is not None:
        return said
    from kairos.verify.lock.fingerprints import fingerprint  # noqa: PLC0415 - few steps are cached

    found = fingerprint(step.action)
    if found is None and not version:
        raise ConfigError(
            f"step '{step.name}' is cached, and nothing tells when its action changes",
            where=step.place,
            found=f"{type(step.action).__name__}, which holds what cannot be compared",
            fix="give it a version, and change that with it: cache=Cache(version='1')",
        )
    return found


def _contract(step: Step) -> Any:
    contract = step.contracts.output
    if contract is None:
        return None
    try:
        return contract.json_schema("serialization")
    except Exception:  # noqa: BLE001 - somebody else's type; what is found is checked all the same
        return contract.name


def _refuse_secrets(step: Step, is_secret: Callable[[str], bool]) -> None:
    found = [*step.labels, *([step.name] if is_secret(step.name) else ())]
    if step.contracts.output is not None:
        marks = marks_of(step.contracts.output, is_secret)
        found += [mark.label or ".".join((step.name, *mark.path)) for mark in marks]
    if found:
        raise ConfigError(
            f"step '{step.name}' is cached in a file, and its output holds secrets",
            where=step.place,
            found=", ".join(found[:5]),
            fix="leave cache= out, or keep it in memory: Workflow(cache=MemoryCache())",
        )
