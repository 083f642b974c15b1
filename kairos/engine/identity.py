"""What a cached step is, as far as its outputs go: they are found again while it stays the same.

An identity is a digest of the step's name, its version, its contracts, and its action.  An action
that says what it is (an adapter's: model, prompt, options) is believed; of a function it is the
source and all that this names, of an object its class and what it holds.
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
    from kairos.contracts.contract import Contract
    from kairos.engine.options import RunOptions
    from kairos.ports import StepCache
    from kairos.step import Step
    from kairos.verify.lock.fingerprints import Watched

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
            recipe.identity = _StepIdentity(step, step.config.cache.version)


class _StepIdentity:
    """What a cached step is; looked at anew whenever a name of it stands for something else.

    Raises ConfigError where nothing tells when its action changes, and no version is given.
    """

    __slots__ = ("_digest", "_fixed", "_step", "_version", "_watched")

    def __init__(self, step: Step, version: str) -> None:
        self._step, self._version = step, version
        self._fixed = [step.name, version, [_contract(each) for each in _contracts(step)]]
        self._watched: Watched | None = None
        self._digest = self._told()
        if self._digest is None:
            raise ConfigError(
                f"step '{step.name}' is cached, and nothing tells when its action changes",
                where=step.place,
                found=f"{type(step.action).__name__}, which holds what cannot be compared",
                fix="give it a version, and change that with it: cache=Cache(version='1')",
            )

    def now(self) -> str | None:
        """Return the digest of what it is now; None where nothing tells that any more."""
        if self._watched is None or self._watched.changed():
            self._digest = self._told()
        return self._digest

    def _told(self) -> str | None:
        action = self._step.action
        said = identity_said(action)
        if said is None:
            from kairos.verify.lock.fingerprints import watched  # noqa: PLC0415 - few are cached

            self._watched = watched(action, ordered=True)
            said = self._watched.digest
            if said is None:
                if not self._version:
                    return None
                said = [type(action).__module__, type(action).__qualname__]
        told = [*self._fixed, said]
        written = json.dumps(told, sort_keys=True, default=repr).encode("utf-8", "surrogatepass")
        return hashlib.sha256(written).hexdigest()


def _contracts(step: Step) -> list[Contract | None]:
    """Return what makes of values what an action is handed, and of what it returns its output."""
    contracts = step.contracts
    handed = [contracts.parameters[key] for key in sorted(contracts.parameters)]
    return [contracts.output, contracts.input, *handed]


def _contract(contract: Contract | None) -> Any:
    if contract is None:
        return None
    from kairos.verify.lock.fingerprints import fingerprint  # noqa: PLC0415 - few are cached

    try:
        found = [contract.json_schema("serialization"), fingerprint(contract.adapter.core_schema)]
    except Exception:  # noqa: BLE001 - somebody else's type; what is found is checked all the same
        return contract.name
    return found


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
