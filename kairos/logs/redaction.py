"""What stands in front of every sink: a structlog processor that takes secrets out of an entry.

Names and shapes are judged by `kairos.security`.  Added here is what only the log of a whole
run can know: a value once seen under a sensitive key is masked wherever else it turns up, in an
error message above all.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kairos.events import ItemCompleted, RunStarted, StepCompleted
from kairos.logs.entries import value_of
from kairos.security import MASK

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from kairos.events import Event
    from kairos.security import Redactor

__all__ = ["Redaction"]

_SHORTEST = 6  # characters: anything shorter also stands in innocent words
_MOST = 256  # values remembered in one run: each is looked for in every text that is logged
_VALUES = frozenset({"inputs", "output", "writes"})


class Redaction:
    """Redacts the entries of one run; called as structlog calls a processor."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._known: list[str] = []  # longest first: one may stand inside another

    def learn(self, event: Event) -> None:
        """Remember the values that an event carries under sensitive names."""
        if isinstance(event, RunStarted):
            inputs = {key: value_of(raw) for key, raw in event.inputs.items()}
            self._remember(inputs, self._redactor.redact(inputs))
        elif isinstance(event, StepCompleted | ItemCompleted):
            # Only what is sensitive by its own name: parsing every output would cost more
            # than the rest of the log.
            for key, raw in ((event.step, event.output), *(event.writes or {}).items()):
                if self._redactor.is_sensitive(key):
                    self._remember({key: value_of(raw)}, {key: MASK})

    def __call__(
        self, _logger: Any, _method: str, event_dict: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Return the entry with its `data` redacted."""
        data, step = event_dict["data"], event_dict["step_id"]
        if step is not None and "output" in data:
            # An output is stored under its step's name, so that name may say that it is secret.
            data = {**data, "output": {step: data["output"]}}
        masked = self._redactor.redact(data)
        if masked != data:
            # Values only: a hint that `api_key` must be a "string" makes no secret of the word.
            for part in _VALUES & data.keys():
                self._remember(data[part], masked[part])
        if self._known:
            masked = self._hide(masked)
        if step is not None and isinstance(masked.get("output"), dict):
            (masked["output"],) = masked["output"].values()
        return {**event_dict, "data": masked}

    def hide(self, text: str) -> str:
        """Return `text` without credentials and without the values remembered so far."""
        hidden: str = self._hide(self._redactor.scrub(text))
        return hidden

    def _remember(self, clear: Any, masked: Any) -> None:
        for text in _masked_texts(clear, masked):
            # An error message may quote the value as Python or JSON writes it.
            for form in (text, repr(text)[1:-1], json.dumps(text)[1:-1]):
                if len(form) < _SHORTEST or form in self._known or len(self._known) >= _MOST:
                    continue
                self._known.append(form)
                self._known.sort(key=len, reverse=True)

    def _hide(self, value: Any) -> Any:
        if isinstance(value, str):
            for text in self._known:
                if text in value:
                    value = value.replace(text, MASK)
            return value
        if isinstance(value, dict):
            return {self._hide(key): self._hide(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._hide(item) for item in value]
        return value


def _masked_texts(clear: Any, masked: Any) -> Iterator[str]:
    """Yield the texts that stand in `clear` where `masked` has the mask."""
    if masked == MASK:
        yield from _texts(clear)
    elif isinstance(clear, dict) and isinstance(masked, dict):
        for key, item in clear.items():
            yield from _masked_texts(item, masked.get(key))
    elif isinstance(clear, list | tuple) and isinstance(masked, list | tuple):
        for item, shown in zip(clear, masked, strict=False):
            yield from _masked_texts(item, shown)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
