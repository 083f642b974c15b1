"""A prompt with its values in it, and what a model is told of the attempt before."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kairos.contracts.encoding import json_value
from kairos.exceptions import ExecutionError

if TYPE_CHECKING:
    from kairos.context import StepContext
    from kairos.contracts.placeholders import Placeholder, Template

__all__ = ["feedback", "of_context", "rendered"]


def rendered(template: Template, value_of: Callable[[str], Any]) -> str:
    """Return a prompt with the value of each placeholder in its place.

    Text goes in as it is, everything else as JSON.  Raises what `value_of` raises for a key that
    is not there, and ExecutionError for a path that its value does not have.
    """
    return "".join(
        piece if isinstance(piece, str) else _written(_found(piece, value_of(piece.name)))
        for piece in template.pieces
    )


def of_context(ctx: StepContext) -> Callable[[str], Any]:
    """Return what looks up a placeholder's key in a step's context; `item` is that of a foreach."""

    def value_of(name: str) -> Any:
        if name == "item" and ctx.item_index is not None:
            return ctx.item
        return ctx.inputs[name]

    return value_of


def _found(placeholder: Placeholder, value: Any) -> Any:
    for part in placeholder.path:
        try:
            if isinstance(part, int):
                value = value[part] if isinstance(value, Sequence) else value[str(part)]
            else:
                value = value[part] if isinstance(value, Mapping) else getattr(value, part)
        except (KeyError, IndexError, AttributeError, TypeError):
            raise ExecutionError(
                f"the value of '{placeholder.name}' has nothing at {placeholder}",
                found=type(value).__name__,
                retryable=False,
            ) from None
    return value


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(json_value(value), ensure_ascii=False)


_AGAIN = (
    "Your previous reply did not satisfy the contract of this step. What is known of it, as JSON:\n"
)


def feedback(told: Mapping[str, Any] | None) -> str:
    """Return what a model is told of the reply before: the sanitised context, and nothing else.

    A failure of another kind (a network, a limit) is none of the model's business.
    """
    if not told or told.get("error_type") != "validation":
        return ""
    return _AGAIN + json.dumps(told, ensure_ascii=True, default=str)
