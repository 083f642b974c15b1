"""What the code of a whole step asks for: its action and its `when=` together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.verify.code import Usage, usage_of
from kairos.verify.scene import signature_of_when

if TYPE_CHECKING:
    from collections.abc import Callable

    from kairos.signature import Signature
    from kairos.step import Step

__all__ = ["usage_in"]


def usage_in(step: Step) -> Usage | None:
    """Return what a step asks for, or None where that cannot be told."""
    if step.prompt is not None or step.contracts.input is not None:
        return None  # who renders it reads for it; its contract looks at all that it sees
    parts = [_called(step.action, step.signature)]
    if step.when is not None:
        asked = signature_of_when(step)
        parts.append(None if asked is None else _called(step.when, asked))
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        return None
    return Usage(
        {key: line for part in found for key, line in part.needs.items()},
        {key: line for part in found for key, line in part.asks.items()},
        {key: line for part in found for key, line in part.looks.items()},
        frozenset(key for part in found for key in part.sets),
        any(part.guarded for part in found),
    )


def _called(function: Callable[..., Any], signature: Signature) -> Usage | None:
    if not signature.typed:
        return usage_of(function)
    named = dict.fromkeys(key for key in signature.reads if key in signature.parameters)
    if signature.context is None:
        return Usage(needs=named)
    own = usage_of(function, signature.context)
    if own is None:
        return None
    return Usage({**named, **own.needs}, own.asks, own.looks, own.sets, own.guarded)
