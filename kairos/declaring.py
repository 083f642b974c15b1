"""What a step's keywords are held to when it is declared.

Each function returns what a keyword stands for, or raises ConfigError that names the step, the
keyword and the place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kairos.config import DEFAULT_CONFIG, OPTIONS, StepConfig
from kairos.contracts.asking import is_validator
from kairos.exceptions import ConfigError, did_you_mean
from kairos.failure import FailurePolicy

if TYPE_CHECKING:
    from kairos.source import Place

__all__ = ["bad_name", "config_of", "names_of", "policy_of", "sources_of", "validators_of"]


def bad_name(name: object, place: Place | None) -> ConfigError:
    """Return the refusal of a step's name."""
    return ConfigError(
        "a step's name is not one" if not isinstance(name, str) else f"bad step name {name[:60]!r}",
        where=place,
        expected="letters, digits, '_' and '-'",
        found=type(name).__name__
        if not isinstance(name, str)
        else "an empty string"
        if not name
        else None,
        fix="name it: Step('name', lambda ctx: ...)" if name == "<lambda>" else None,
    )


def config_of(
    name: str, config: StepConfig | None, options: dict[str, Any], place: Place | None
) -> StepConfig:
    """Return the options of a step, from either way to give them.

    Raises ConfigError for both ways at once, and for an unknown keyword.
    """
    if not options:
        if config is None:
            return DEFAULT_CONFIG
        if not isinstance(config, StepConfig):
            raise ConfigError(
                f"config of step '{name}' is no StepConfig",
                where=place,
                found=type(config).__name__,
            )
        return config
    for option in options:
        if option not in OPTIONS:
            raise ConfigError(
                f"Step '{name}' takes no keyword '{option}'",
                where=place,
                expected="one of " + ", ".join((*_STEP_KEYWORDS, *OPTIONS)),
                fix=did_you_mean(option, (*_STEP_KEYWORDS, *OPTIONS)),
            )
    if config is not None:
        raise ConfigError(
            f"Step '{name}' is given config and also {', '.join(options)}",
            where=place,
            fix="put all of them into the StepConfig, or none",
        )
    return StepConfig(**options)


_STEP_KEYWORDS = (
    "depends_on",
    "config",
    "input_contract",
    "output_contract",
    "read_keys",
    "write_keys",
    "failure_policy",
    "when",
    "validators",
    "labels",
    "declassify",
    "touches",
    "sources",
)


def policy_of(name: str, policy: Any, place: Place | None) -> FailurePolicy | None:
    """Return the policy of a step, if it is one."""
    if policy is None or isinstance(policy, FailurePolicy):
        return policy
    raise ConfigError(
        f"failure_policy of step '{name}' is no FailurePolicy",
        where=place,
        found=type(policy).__name__,
    )


def validators_of(name: str, validators: Any, place: Place | None) -> tuple[Any, ...]:
    """Return the semantic validators of a step, if they are a list of such."""
    if isinstance(validators, str) or not isinstance(validators, Iterable):
        raise ConfigError(
            f"validators of step '{name}' is not a list",
            where=place,
            expected="a list of objects with validate(data, schema)",
            found=type(validators).__name__,
        )
    kept = tuple(validators)
    for each in kept:
        if not is_validator(each):
            raise ConfigError(
                f"step '{name}' has a validator that is none",
                where=place,
                expected="an object with validate(data, schema), or a function of the value",
                found=getattr(each, "__name__", type(each).__name__),
                fix="give an object that is made of the class" if isinstance(each, type) else None,
            )
    return kept


def sources_of(name: str, sources: Any, place: Place | None) -> dict[str, str | None]:
    """Return where the parameters of a step get their values from, if it is a mapping."""
    if isinstance(sources, Mapping):
        return dict(sources)
    raise ConfigError(
        f"sources of step '{name}' is no mapping",
        where=place,
        expected="the key that each parameter reads: {'parameter': 'key'}",
        found=type(sources).__name__,
    )


def names_of(
    step: str, what: str, names: Iterable[str] | str, place: Place | None
) -> tuple[str, ...]:
    """Return a list of names, each once; refuse what is none."""
    if isinstance(names, str):
        raise ConfigError(
            f"{what} of step '{step}' is a string, not a list of names",
            where=place,
            fix=f"write {what}=['{names}']",
        )
    kept: tuple[Any, ...] = tuple(names) if isinstance(names, Iterable) else (names,)
    for each in kept:
        if not isinstance(each, str) or not each:
            raise ConfigError(
                f"{what} of step '{step}' is not a list of names",
                where=place,
                found="an empty name" if each == "" else type(each).__name__,
            )
    return kept if len(kept) < 2 else tuple(dict.fromkeys(kept))  # noqa: PLR2004 - nothing repeats
