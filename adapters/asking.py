"""From what people write to a `Request`, and from a request to one that a provider takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.adapters.schemas import fitted
from kairos.exceptions import ConfigError
from kairos.models.parts import Message, Text, as_messages
from kairos.models.request import DEFAULT_MAX_TOKENS, DEFAULT_TIMEOUT, Request, ToolSpec
from kairos.source import declared_here

if TYPE_CHECKING:
    from kairos.adapters.vendor import Vendor

__all__ = ["Prepared", "prepared", "request_of"]

_FALLBACK = "schema_fallback"
_IN_WORDS = (
    "Reply with one JSON value and nothing else: no code fence, no words around it."
    " It has to satisfy this JSON Schema:\n"
)


def request_of(
    vendor: Vendor,
    prompt: str | Message | None,
    output: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> Request:
    """Return the request that a prompt and checked options make.

    Raises ConfigError for messages, images and tools that are none, and where nothing is asked.
    """
    if not isinstance(prompt, str | Message | None):
        raise ConfigError(
            f"the prompt of {vendor.title} is no text",
            where=declared_here(),
            expected="a text, or a Message",
            found=type(prompt).__name__,
        )
    if output is not None:
        _check_output(vendor, output)
    given = dict(options)
    messages = list(as_messages(given.pop("messages", ())))
    attached = (
        *given.pop("images", ()),
        *given.pop("documents", ()),
    )
    if isinstance(prompt, str):
        messages += as_messages(prompt)
    elif prompt is not None:
        messages.append(prompt)
    if attached:
        last = messages.pop() if messages and messages[-1].role == "user" else Message("user", ())
        messages.append(Message("user", (*attached, *last.parts)))
    if not messages or not any(_says(message) for message in messages):
        raise ConfigError(
            f"{vendor.title} is asked nothing", where=declared_here(), expected="a prompt"
        )
    stop = given.pop("stop", ())
    own = {name: given.pop(name) for name in (*vendor.options, _FALLBACK) if name in given}
    return Request(
        tuple(messages),
        system=given.pop("system", ""),
        tools=_tools(vendor, given.pop("tools", ())),
        output=output,
        max_tokens=given.pop("max_tokens", DEFAULT_MAX_TOKENS),
        temperature=given.pop("temperature", None),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        seed=given.pop("seed", None),
        timeout=float(given.pop("timeout", DEFAULT_TIMEOUT)),
        options=own,
    )


def _says(message: Message) -> bool:
    return any(not isinstance(part, Text) or part.text.strip() for part in message.parts)


def _check_output(vendor: Vendor, output: Any) -> None:
    """Refuse what is no schema of an object: providers take nothing else at the root."""
    root = output if isinstance(output, Mapping) else {}
    if root.get("type") == "object" or root.keys() & {"properties", "$ref"}:
        try:
            json.dumps(output)
        except (TypeError, ValueError, RecursionError):
            found = "what cannot be written as JSON"
        else:
            return
    else:
        found = "another schema" if root else type(output).__name__
    raise ConfigError(
        f"{vendor.title} is given no schema as output",
        where=declared_here(),
        expected='the JSON Schema of an object: {"type": "object", ...}',
        found=found,
    )


def _tools(vendor: Vendor, given: Any) -> tuple[ToolSpec, ...]:
    for one in given:
        if not isinstance(one, ToolSpec):
            raise ConfigError(
                f"{vendor.title} takes tools as ToolSpec",
                where=declared_here(),
                found=type(one).__name__,
            )
    names = [one.name for one in given]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"two tools are called '{twice[:60]}'", where=declared_here(), fix="rename one"
        )
    return tuple(given)


class Prepared(NamedTuple):
    """A request as it goes out.

    `forced` names the tool whose arguments stand for the structured answer, where the provider
    cannot take the schema itself; `warnings` say what of the schema it was not told.
    """

    request: Request
    forced: str = ""
    structured: bool = False
    warnings: tuple[str, ...] = ()


def prepared(vendor: Vendor, model: str, request: Request) -> Prepared:
    """Fit a request's output schema to the provider, or ask for it in another way.

    Raises ConfigError where something of it is lost and `schema_fallback='error'` was said.
    """
    options = dict(request.options)
    strict = options.pop(_FALLBACK, "warn") == "error"
    if options != request.options:
        request = replace(request, options=options)
    if request.output is None:
        return Prepared(request)
    made = fitted(request.output, vendor.schemas)
    native = vendor.native(request, model)
    if native and not made.impossible:
        lost = ", ".join(made.lost)
        warnings = (f"{vendor.title} takes no {lost}: it is told in words",) if lost else ()
        ready = Prepared(replace(request, output=made.schema), "", True, warnings)
    else:
        why = ", ".join(made.impossible) if native else "no schema at all"
        ready = _in_another_way(vendor, request, why)
    if strict and ready.warnings:
        raise ConfigError(
            f"{vendor.title} cannot be held to this contract",
            where=declared_here(),
            found="; ".join(ready.warnings),
            fix="leave schema_fallback='error' out: the contract is checked here in any case",
        )
    return ready


def _in_another_way(vendor: Vendor, request: Request, why: str) -> Prepared:
    schema, name = dict(request.output or {}), request.output_name
    taken = "takes no schema at all" if why == "no schema at all" else f"cannot take {why}"
    if vendor.forces_tools and not request.tools:
        said = f"{vendor.title} {taken}: the answer is asked for as the arguments of a tool"
        tool = ToolSpec(name, "Give the answer.", schema)
        asked = replace(request, output=None, tools=(tool,), forced=name)
        return Prepared(asked, name, True, (said,))
    said = f"{vendor.title} {taken}: the answer is asked for as JSON in words"
    words = _IN_WORDS + json.dumps(schema, ensure_ascii=False)
    system = f"{request.system}\n\n{words}" if request.system else words
    return Prepared(replace(request, output=None, system=system), "", True, (said,))
