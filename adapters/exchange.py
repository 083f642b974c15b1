"""One call of a model, without the wire: SDK events in, ours out, and every way to fail.

The drivers in `core` read the stream, one plainly and one on an event loop; whatever they read or
catch goes through here, so that both end in the same way.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kairos.adapters.vendor import Decoder, Malformed, Told, Vendor
from kairos.exceptions import KairosError
from kairos.models.errors import ErrorKind, ModelError, kind_of_status
from kairos.models.estimate import estimate, tokens_of
from kairos.models.parts import Message, Part, Text, ToolCall, joined
from kairos.models.reply import ModelResponse, TokenUsage
from kairos.models.stream import (
    Finished,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageSeen,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from kairos.adapters.asking import Prepared

__all__ = ["Exchange"]

_SAID: dict[ErrorKind, str] = {
    "rate_limited": "it was asked too often",
    "overloaded": "it is overloaded",
    "server": "it failed",
    "timeout": "it did not answer in time",
    "connection": "it could not be reached",
    "conflict": "it was busy with the same",
    "interrupted": "its answer ended before its end",
    "malformed": "its answer cannot be read",
    "empty": "its answer was empty",
    "bad_request": "it refused the request",
    "unauthorized": "it did not accept the key",
    "forbidden": "it does not allow this",
    "not_found": "it knows no such model or address",
    "too_large": "the request is too large",
    "too_long": "what it was asked is longer than its context window",
    "refused": "the model refused",
    "filtered": "its filter blocked the answer",
    "cut_off": "max_tokens ended the answer before it was whole",
    "unavailable": "it is kept away from after its failures",
}
_FIXES: dict[ErrorKind, str] = {
    "cut_off": "raise max_tokens",
    "not_found": "check model= and the base URL",
    "too_long": "say less, or ask a model with a larger context window",
}


class Exchange:
    """One call on its way."""

    def __init__(
        self,
        vendor: Vendor,
        model: str,
        given: Prepared,
        cost: Callable[[str, TokenUsage], float | None],
    ) -> None:
        self._vendor = vendor
        self._cost = cost
        self._model = model
        self._forced = given.forced
        self._structured = given.structured
        self._warnings = given.warnings
        self._request = given.request
        self._answers: set[int] = set()
        self.decoder: Decoder = vendor.decoder()
        self.decoder.provider = vendor.name
        self.opened = False
        self.emitted = False

    def feed(self, event: Any) -> Sequence[StreamEvent]:
        """Return what an event of the SDK means to whoever listens."""
        self.opened = True
        said: Sequence[StreamEvent] = self.decoder.feed(event)
        if self._forced:
            said = self._unforced(said)
        if not self.emitted and any(not isinstance(one, UsageSeen) for one in said):
            self.emitted = True
        return said

    def _unforced(self, said: Sequence[StreamEvent]) -> list[StreamEvent]:
        """Turn the arguments of the forced tool into the text that was asked for."""
        found: list[StreamEvent] = []
        for one in said:
            if isinstance(one, ToolCallStarted) and one.name == self._forced:
                self._answers.add(one.call)
            elif isinstance(one, ToolCallDelta) and one.call in self._answers:
                found.append(TextDelta(one.arguments))
            elif isinstance(one, TextDelta):
                continue  # what it says beside the tool is not the answer
            else:
                found.append(one)
        return found

    def finished(self, latency_ms: float) -> Finished:
        """Return the end of a stream that is over.  Raises ModelError where it is no end."""
        decoder = self.decoder
        if not self.opened:
            raise self.error(Told("empty", said="it answered with nothing that is a stream"))
        if not decoder.done:
            raise self.error(Told("interrupted"))
        stop = decoder.stop or "end"
        if stop in ("refused", "filtered"):
            raise self.error(Told(stop))
        parts = self._answer(decoder.parts())
        if stop == "length" and (
            self._structured or any(isinstance(one, ToolCall) for one in parts)
        ):
            raise self.error(Told("cut_off"))
        if not any(isinstance(one, Text | ToolCall) for one in parts) and stop in ("end", "tools"):
            raise self.error(Told("empty"))
        if stop == "tools" and not self._forced and not any(isinstance(p, ToolCall) for p in parts):
            raise self.error(Told("malformed", said="it asked for a tool, and did not say which"))
        metadata = dict(decoder.metadata)
        if self._warnings:
            metadata["warnings"] = self._warnings
        if self._forced:
            stop = "end" if stop == "tools" else stop
        text = "".join(one.text for one in parts if isinstance(one, Text))
        return Finished(
            ModelResponse(
                text,
                decoder.model or self._model,
                self._counted(decoder.parts()),
                latency_ms,
                decoder.raw,
                metadata,
                parts,
                stop,
            )
        )

    def _answer(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        if not self._forced:
            return parts
        kept = tuple(one for one in parts if not isinstance(one, Text))
        found = tuple(
            Text(one.arguments) if isinstance(one, ToolCall) and one.name == self._forced else one
            for one in kept
        )
        if not any(isinstance(one, Text) for one in found):
            raise self.error(Told("malformed", said="it did not call the tool that it had to"))
        return found

    # --- failing

    def failure(self, sdk: ModuleType, error: BaseException) -> BaseException:
        """Return what an exception is to be raised as: ModelError for all that a provider did."""
        if isinstance(error, ModelError):
            if error.usage is None:
                error.usage = self.spent()
            error.emitted = error.emitted or self.emitted
            return error
        if isinstance(error, KairosError | Warning) or not isinstance(error, Exception):
            return error  # a warning is raised where someone wants it to be
        if isinstance(error, Malformed):
            return self.error(Told("malformed", said=str(error)))
        told = self._vendor.told(sdk, error) or _of_others(error, opened=self.opened)
        if isinstance(told, ModelError):
            return self.failure(sdk, told)
        return self.error(told)

    def spent(self) -> TokenUsage | None:
        """Return what a call that failed has consumed; None where nobody knows.

        A stream that breaks off has told what was read, and not yet what was written: that is
        counted here, from what came.
        """
        decoder = self.decoder
        usage = decoder.usage
        if usage == TokenUsage():
            return None
        if not decoder.done and decoder.stop is None:
            output = max(usage.output_tokens, _tokens(decoder.parts()))
            usage = _of_both(usage, usage.input_tokens, output)
        return self._priced(usage)

    def _counted(self, parts: tuple[Part, ...]) -> TokenUsage:
        """Return what an answer has consumed; a count that is not there is guessed, and says so."""
        usage = self.decoder.usage
        read = usage.input_tokens or estimate(self._request).input_tokens
        written = usage.output_tokens or _tokens(parts)
        found = _of_both(usage, read, written)
        # what nobody counted has a cost that nobody knows
        return found if found.estimated else self._priced(found)

    def _priced(self, usage: TokenUsage) -> TokenUsage:
        if usage.estimated_cost_usd is not None:
            return usage
        cost = self._cost(self.decoder.model, usage)
        return usage if cost is None else replace(usage, estimated_cost_usd=cost)

    def error(self, told: Told) -> ModelError:
        """Put a failure into our words: none of the provider's."""
        said = told.said or _SAID[told.kind]
        status = "" if told.status is None else f" (HTTP {told.status})"
        return ModelError(
            told.kind,
            f"{self._vendor.title} failed: {said}{status}",
            provider=self._vendor.name,
            model=self._model,
            status=told.status,
            retry_after=told.retry_after,
            usage=self.spent(),
            emitted=self.emitted,
            fix=_FIXES.get(told.kind),
        )


def _tokens(parts: tuple[Part, ...]) -> int:
    return tokens_of(joined((Message("assistant", parts),)))


def _of_both(usage: TokenUsage, read: int, written: int) -> TokenUsage:
    if (read, written) == (usage.input_tokens, usage.output_tokens):
        return usage
    return replace(
        usage,
        input_tokens=read,
        output_tokens=written,
        total_tokens=read + written,
        estimated=True,
    )


def _of_others(error: Any, *, opened: bool) -> Told:
    """Tell what an exception below the SDK means: the HTTP library's, JSON's, the system's."""
    told = _of_http(error, opened=opened) if _named(error, "httpx2") else None
    if told is not None:
        return told
    if isinstance(error, TimeoutError):
        return Told("timeout")
    if isinstance(error, OSError):
        return Told("interrupted" if opened else "connection")
    if isinstance(error, UnicodeEncodeError):
        return Told("bad_request", said="what it was to be asked is no text")
    if isinstance(error, json.JSONDecodeError | UnicodeError):
        return Told("malformed")
    # an SDK that trips over what it was sent raises whatever it trips over
    return Told("malformed", said=f"its answer cannot be read ({type(error).__name__})")


def _of_http(error: Any, *, opened: bool) -> Told | None:
    httpx = importlib.import_module("httpx2")
    if isinstance(error, httpx.TimeoutException):
        return Told("timeout")
    if isinstance(error, httpx.DecodingError | httpx.TooManyRedirects | httpx.InvalidURL):
        return Told("malformed")
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return Told(kind_of_status(status), status)
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        return Told("bad_request")
    if isinstance(error, httpx.TransportError | httpx.StreamError):
        return Told("interrupted" if opened else "connection")
    return None


def _named(error: BaseException, package: str) -> bool:
    return any(kind.__module__.partition(".")[0] == package for kind in type(error).__mro__)
