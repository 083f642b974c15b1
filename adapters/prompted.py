"""A prompt as a step action: rendered, asked, charged, read back as what the contract wants."""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

from kairos.adapters.rendering import Shape, feedback, of_context, rendered
from kairos.contracts.placeholders import parse_template
from kairos.exceptions import ConfigError, ExecutionError, did_you_mean
from kairos.models.errors import ModelError
from kairos.models.parts import Message, Text
from kairos.models.stream import Finished, StreamEvent
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Mapping

    from kairos.adapters.core import Adapter
    from kairos.context import StepContext
    from kairos.contracts.contract import Contract
    from kairos.models.reply import ModelResponse, TokenUsage
    from kairos.models.request import Request

__all__ = ["Prompted"]


class Prompted:
    """A step action that asks a model; what its prompt names is all that it reads.

    Called with a step's context it returns the reply: as text, or where the step has an output
    contract as the value that the model gave for it.  The engine runs it on an event loop, so that
    many calls are under way at once.  `.stream(name=…)` asks directly, outside a workflow.
    """

    __kairos_touches__ = ("model",)

    def __init__(self, prompt: str, adapter: Adapter, contract: Contract | None = None) -> None:
        if not isinstance(prompt, str):
            raise ConfigError(
                f"the prompt of {adapter.vendor.title} is no text",
                where=declared_here(),
                found=type(prompt).__name__,
            )
        self.__kairos_prompt__ = prompt
        self.__name__ = adapter.provider
        self.adapter = adapter
        self._template = parse_template(prompt, where=declared_here())
        self._shape = None if contract is None else Shape(contract)
        adapter.request("x")  # what cannot be asked is refused where it is written

    def __repr__(self) -> str:
        return f"{type(self.adapter).__name__}(model={self.adapter.name!r}) action"

    # --- as an action

    def __kairos_bound__(self, contract: Contract | None) -> Prompted:
        """Return this action for a step with that output contract."""
        if contract is None:
            return self
        return Prompted(self.__kairos_prompt__, self.adapter, contract)

    def __call__(self, ctx: StepContext) -> Any:
        """Ask, and return the reply."""
        request = self._request(ctx)
        ctx.increment_llm_calls()
        try:
            with closing(self.adapter.stream(request)) as events:
                for event in events:
                    if isinstance(event, Finished):
                        return self._value(ctx, event.response)
                    _go_on(ctx)
        except ModelError as error:
            _charge(ctx, error.usage)
            raise
        raise RuntimeError("a stream has ended without its end")

    async def __kairos_async__(self, ctx: StepContext) -> Any:
        """Do as a call, on an event loop."""
        request = self._request(ctx)
        ctx.increment_llm_calls()
        try:
            async with aclosing(self.adapter.stream_async(request)) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        return self._value(ctx, event.response)
                    _go_on(ctx)
        except ModelError as error:
            _charge(ctx, error.usage)
            raise
        raise RuntimeError("a stream has ended without its end")

    def _request(self, ctx: StepContext) -> Request:
        prompt = rendered(self._template, of_context(ctx))
        shape = self._shape
        again = feedback(ctx.retry_context)
        message = Message("user", (Text(prompt), *((Text(again),) if again else ())))
        return self.adapter.request(message, output=None if shape is None else shape.schema)

    def _value(self, ctx: StepContext, response: ModelResponse) -> Any:
        _charge(ctx, response.usage)
        return response.text if self._shape is None else self._shape.value(response.text)

    # --- directly

    def stream(
        self, values: Mapping[str, Any] | None = None, /, **more: Any
    ) -> Generator[StreamEvent]:
        """Ask with these values for the placeholders, and give out the answer as it comes.

        Raises ConfigError for a placeholder without a value, and a value without a placeholder.
        """
        return self.adapter.stream(self._direct({**(values or {}), **more}))

    def stream_async(
        self, values: Mapping[str, Any] | None = None, /, **more: Any
    ) -> AsyncGenerator[StreamEvent]:
        """Do as `stream`, on the running event loop."""
        return self.adapter.stream_async(self._direct({**(values or {}), **more}))

    def _direct(self, values: Mapping[str, Any]) -> Request:
        names = self._template.names
        for name in (
            *(n for n in names if n not in values),
            *(v for v in values if v not in names),
        ):
            missing = name in names
            raise ConfigError(
                f"the placeholder {{{name}}} has no value"
                if missing
                else f"the prompt has no placeholder {{{name}}}",
                where=declared_here(),
                expected=", ".join(names) or "no values",
                fix=did_you_mean(name, names) if not missing else f"stream({name}=...)",
            )
        return self.adapter.request(rendered(self._template, values.__getitem__))


def _go_on(ctx: StepContext) -> None:
    if ctx.cancelled:
        raise ExecutionError("the call was given up", retryable=False)


def _charge(ctx: StepContext, usage: TokenUsage | None) -> None:
    if usage is not None:
        ctx.charge(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            usd=usage.estimated_cost_usd,
        )
