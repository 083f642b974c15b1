"""One foreach on its way: its elements, and the workers that pull them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from kairos.attempt import Recipe, Surroundings, Work
from kairos.contracts.encoding import decode
from kairos.engine.accounts import around_item

__all__ = ["FanOut", "elements_of"]


@dataclass(slots=True)
class FanOut:
    """The elements of one foreach, and which of them wait for a worker.

    Workers pull from `source`, which spares a hop between threads for every element.  `loops`
    counts those at work, up to `limit` and up to its `share` of all workers; `closing` says that no
    further element may start, `held` that one failed and what this means is not decided yet.
    """

    recipe: Recipe
    elements: list[Any]
    inputs: Mapping[str, bytes]
    visible: Mapping[str, bytes]
    surroundings: Surroundings
    limit: int
    source: deque[tuple[int, int, dict[str, Any] | None]] = field(default_factory=deque)
    share: int = 1
    loops: int = 0
    closing: bool = False
    held: bool = False
    around: dict[int, Surroundings] = field(default_factory=dict)

    def next_work(self) -> Work | None:
        """Take the next element that waits, as an attempt at it.  From any thread."""
        try:
            item, attempt, context = self.source.popleft()
        except IndexError:
            return None
        return Work(
            self.recipe,
            attempt,
            self.inputs,
            self.visible,
            self.surroundings if self.recipe.step.config.item_budget is None else self._of(item),
            item,
            to_json(self.elements[item]),  # parsed from JSON, so it is JSON
            context,
        )

    def _of(self, item: int) -> Surroundings:
        """Return what surrounds all attempts at an element: no two are made at a time."""
        around = self.around.get(item)
        if around is None:
            around = self.around[item] = around_item(self.recipe, self.surroundings)
        return around

    @property
    def wanted(self) -> int:
        """How many more workers it may have and has elements for."""
        return max(min(min(self.limit, self.share) - self.loops, len(self.source)), 0)

    @property
    def should_pause(self) -> bool:
        """Whether a worker should stop pulling: the driver must judge, or has others to serve."""
        return self.held or self.loops > self.share

    def close(self) -> None:
        """Let no further element start."""
        self.closing = True
        self.source.clear()


def elements_of(key: str, raw: bytes | None) -> list[Any] | str:
    """Return the list that a foreach runs over, or in words why there is none."""
    if raw is None:
        return f"foreach='{key}' needs a list under '{key}', and nothing is stored there"
    value = decode(raw)
    if isinstance(value, list):
        return value
    kinds = {dict: "an object", str: "a string", bool: "a boolean", type(None): "null"}
    kind = kinds.get(type(value), "a number")
    return f"foreach='{key}' needs a list under '{key}', and it holds {kind}"
