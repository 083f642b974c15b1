"""With what an agent's model is asked: what `agent` says, and else what the model itself was told.

A model that was made with options of its own has a `request` that puts them together, and refuses
what cannot be said (`kairos.models.Model`); any other is asked as `Request` says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kairos.agents.checks import seconds, text, whole
from kairos.agents.conversation import Conversation
from kairos.exceptions import ConfigError
from kairos.models import Request, as_messages
from kairos.security import redact_sensitive
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kairos.agents.plan import Plan
    from kairos.models import Model

__all__ = ["asked_with", "shortfall"]

_PLAIN = as_messages("x")
_ELSEWHERE = {
    "system": "instructions=",
    "messages": "the task, or a session",
    "images": "a task of messages",
    "documents": "a task of messages",
    "tools": "tools=",
}


def asked_with(
    model: Model,
    instructions: str,
    *,
    max_tokens: int | None,
    timeout: float | None,
    temperature: float | None,
    options: Mapping[str, Any] | None,
) -> Request:
    """Return what every request of an agent has, but for its messages and tools.

    None is what the model was made with.  Its own system prompt comes before the instructions.
    Raises ConfigError for what no model, or not this one, can be asked with.
    """
    said = {
        "max_tokens": whole("max_tokens", max_tokens, least=1, unsaid=True),
        "timeout": seconds("timeout", timeout, unsaid=True),
        "temperature": _temperature(temperature),
    }
    given = {name: value for name, value in said.items() if value is not None}
    more = _options(options, given)
    own: Callable[..., Request] | None = getattr(model, "request", None)
    if own is None:
        _no_key(more)
        plain = Request(_PLAIN, text("instructions", instructions), options=more)
        return replace(plain, **given)
    asked = own("x", **more, **given)
    if asked.messages != _PLAIN or asked.tools or asked.output is not None:
        raise ConfigError(
            "the model of an agent was made with messages or tools of its own",
            where=declared_here(),
            fix="give the agent tools=, and its task the messages",
        )
    both = (asked.system, text("instructions", instructions))
    return replace(asked, system="\n\n".join(filter(None, both)))


def shortfall(model: Model, plan: Plan) -> tuple[str, ...]:
    """Return what of a plan's answer the model can only be told in words.

    Raises ConfigError for what of the plan it cannot be asked, before it is asked anything.
    """
    checked: Callable[[Request], tuple[str, ...]] | None = getattr(model, "checked", None)
    if checked is None:
        return ()
    asked = replace(Conversation(plan).request(), messages=_PLAIN)
    return checked(asked)


def _options(given: Any, said: Mapping[str, Any]) -> dict[str, Any]:
    options = {} if given is None else given
    try:
        found: dict[str, Any] = dict(options)
    except (TypeError, ValueError):
        found = {"": None}
    if not all(isinstance(name, str) and name for name in found):
        raise ConfigError(
            "options= of agent() are none",
            where=declared_here(),
            expected="the provider's own options by their names, such as {'top_p': 0.9}",
            found=type(given).__name__,
        )
    for name in found:
        if name in _ELSEWHERE or name in said:
            raise ConfigError(
                f"'{name}' is no option of the provider's own",
                where=declared_here(),
                fix=f"say it once: {_ELSEWHERE.get(name, f'{name}= of agent()')}",
            )
    return found


def _no_key(options: Mapping[str, Any]) -> None:
    for name in options:
        if redact_sensitive({name: "x"})[name] != "x":
            raise ConfigError(
                f"an agent takes no key in the program ('{name[:60]}')",
                where=declared_here(),
                expected="the key in the environment, where the model reads it",
                fix=f"leave '{name[:60]}' out",
            )


def _temperature(given: Any) -> float | None:
    if given is None or (type(given) in (int, float) and 0 <= given < float("inf")):
        return given  # type: ignore[no-any-return]
    raise ConfigError(
        "temperature= of agent() is none",
        where=declared_here(),
        expected="a number from 0 up, or None for the model's own",
        found=str(given) if type(given) in (int, float) else type(given).__name__,
    )
