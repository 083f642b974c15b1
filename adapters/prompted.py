"""A prompt as a step action: rendered, asked, paid for, read back as what the contract wants.

And one after the other, until one answers: `claude(…) | gemini(…)`.
"""

from __future__ import annotations

from contextlib import aclosing, closing
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from kairos.adapters.fallback import in_turn, in_turn_async, of_all
from kairos.adapters.shape import Shape
from kairos.contracts.accounts import reserved, reserved_async
from kairos.contracts.contract import Contract
from kairos.contracts.placeholders import parse_template
from kairos.contracts.rendering import feedback, of_context, rendered
from kairos.exceptions import ConfigError, ExecutionError, did_you_mean
from kairos.models.errors import ModelError
from kairos.models.parts import Message, Text
from kairos.models.stream import Finished, StreamEvent
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Mapping, Sequence

    from kairos.adapters.core import Adapter
    from kairos.context import StepContext
    from kairos.models.reply import ModelResponse
    from kairos.models.request import Request

__all__ = ["Chain", "Prompted"]


class Prompted:
    """A step action that asks a model; what its prompt names is all that it reads.

    Called with a step's context it returns the reply: as text, or where the step has an output
    contract as the value that the model gave for it.  The engine runs it on an event loop, so that
    many calls are under way at once.  `.stream(name=…)` asks directly, outside a workflow, and
    `this | that` asks that where this one fails.
    """

    __kairos_touches__ = ("model",)

    def __init__(self, prompt: str, adapter: Adapter) -> None:
        if not isinstance(prompt, str):
            raise ConfigError(
                f"the prompt of {adapter.vendor.title} is no text",
                where=declared_here(),
                found=type(prompt).__name__,
            )
        self.__kairos_prompt__ = prompt
        self.__name__ = adapter.provider
        self.adapter = adapter
        self.template = parse_template(prompt, where=declared_here())
        # what this model cannot be asked is refused where it is written
        adapter.vendor.refuses(adapter.request("x" if prompt.strip() else prompt), adapter.name)

    def __repr__(self) -> str:
        return f"{self.__name__}({self.adapter.name!r} as an action)"

    def __or__(self, other: Prompted | Chain) -> Chain:
        """Return an action that asks `other` where this one fails."""
        return Chain((self,)) | other

    # --- as an action

    def __kairos_contract__(self, contract: Contract) -> tuple[str, ...]:
        """Return what of a contract the provider is told in words, and the way taken round it.

        Raises ConfigError for a contract that the model cannot be held to, where
        `schema_fallback="error"` was said, and for options that do not go with the way round.
        """
        try:
            shape = _shape(contract)
        except Exception:  # noqa: BLE001 - a contract that cannot be built is a finding of its own
            return ()
        return _shortfall(self.adapter, shape)

    def __kairos_identity__(self) -> Any:
        """Return what decides an answer, besides the values that the prompt is filled with."""
        return [self.__kairos_prompt__, self.adapter.identity()]

    def __call__(self, ctx: StepContext) -> Any:
        """Ask, and return the reply.

        Raises ModelError for all that goes wrong at the provider or on the way, and
        BudgetExceededError, before any request, where the call would cost more than is left.
        """
        request, shape = self._asked(ctx)
        ready = self.adapter.stream(request)
        with reserved(ctx, self.adapter.most(request)) as account, closing(ready) as events:
            for event in events:
                if isinstance(event, Finished):
                    account.settle(event.response.usage)
                    return _value(event.response, shape, ctx)
                _go_on(ctx)
        raise _endless()

    async def __kairos_async__(self, ctx: StepContext) -> Any:
        """Do as a call, on an event loop."""
        request, shape = self._asked(ctx)
        ready = self.adapter.stream_async(request)
        with await reserved_async(ctx, self.adapter.most(request)) as account:
            async with aclosing(ready) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        account.settle(event.response.usage)
                        return _value(event.response, shape, ctx)
                    _go_on(ctx)
        raise _endless()

    def _asked(self, ctx: StepContext) -> tuple[Request, Shape | None]:
        prompt = rendered(self.template, of_context(ctx))
        contract = ctx.output_contract
        shape = _shape(contract) if isinstance(contract, Contract) else None
        if shape is not None:
            for said in _shortfall(self.adapter, shape):
                ctx.warn(said)
        again = feedback(ctx.retry_context)
        message = Message("user", (Text(prompt), *((Text(again),) if again else ())))
        return self.adapter.request(message, output=None if shape is None else shape.schema), shape

    # --- directly

    def stream(
        self, values: Mapping[str, Any] | None = None, /, **more: Any
    ) -> Generator[StreamEvent]:
        """Ask with these values for the placeholders, and give out the answer as it comes.

        Raises ConfigError for a placeholder without a value, and a value without a placeholder.
        """
        given = {**(values or {}), **more}
        _check_values(self.template.names, given)
        return self.adapter.stream(self._direct(given))

    def stream_async(
        self, values: Mapping[str, Any] | None = None, /, **more: Any
    ) -> AsyncGenerator[StreamEvent]:
        """Do as `stream`, on the running event loop."""
        given = {**(values or {}), **more}
        _check_values(self.template.names, given)
        return self.adapter.stream_async(self._direct(given))

    def _direct(self, values: Mapping[str, Any]) -> Request:
        return self.adapter.request(rendered(self.template, values.__getitem__))


@lru_cache(maxsize=256)
def _shape(contract: Contract) -> Shape:
    return Shape(contract)


@lru_cache(maxsize=256)
def _shortfall(adapter: Adapter, shape: Shape) -> tuple[str, ...]:
    return () if shape.schema is None else adapter.shortfall(shape.schema)


def _value(response: ModelResponse, shape: Shape | None, ctx: StepContext) -> Any:
    if response.stop == "length":  # a text has no contract that would notice
        ctx.warn("the answer was cut off at max_tokens: raise it")
    return response.text if shape is None else shape.value(response.text)


def _go_on(ctx: StepContext) -> None:
    if ctx.cancelled is True:
        raise ExecutionError("the call was given up", retryable=False)


def _endless() -> RuntimeError:
    return RuntimeError("a stream has ended without its end")


def _check_values(names: Sequence[str], given: Mapping[str, Any]) -> None:
    missing = next((name for name in names if name not in given), None)
    if missing is not None:
        raise ConfigError(
            f"the placeholder {{{missing}}} has no value",
            where=declared_here(),
            expected=", ".join(names),
            fix=f"stream({missing}=...)",
        )
    extra = next((name for name in given if name not in names), None)
    if extra is not None:
        raise ConfigError(
            f"the prompt has no placeholder {{{extra[:60]}}}",
            where=declared_here(),
            expected=", ".join(names) or "no values",
            fix=did_you_mean(extra, names),
        )


class Chain:
    """A step action that asks one model after the other, until one answers.

    The next is asked when a call has failed with a ModelError, whatever its kind, within the same
    attempt; what each consumed is booked.  A missing key, a spent budget, a prompt that cannot be
    filled are no failures of a model, and end it.  Where all have failed the step fails with the
    error that is the most worth another attempt.
    """

    __kairos_touches__ = ("model",)

    def __init__(self, links: tuple[Prompted, ...]) -> None:
        self.links = links
        prompts = dict.fromkeys(link.__kairos_prompt__ for link in links)
        self.__kairos_prompt__ = "\n".join(prompts)
        self.__name__ = "_or_".join(link.__name__ for link in links)

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.links))

    def __or__(self, other: Prompted | Chain) -> Chain:
        """Return a chain that goes on with `other`."""
        if isinstance(other, Prompted | Chain):
            return Chain((*self.links, *(other.links if isinstance(other, Chain) else (other,))))
        raise ConfigError(
            "a chain of models goes on with what is none",
            where=declared_here(),
            expected="an action such as claude(...)",
            found=type(other).__name__,
        )

    def __kairos_contract__(self, contract: Contract) -> tuple[str, ...]:
        """Return what of a contract any of the models is told in words; raises as they do."""
        said = (one for link in self.links for one in link.__kairos_contract__(contract))
        return tuple(dict.fromkeys(said))

    def __kairos_identity__(self) -> Any:
        """Return what decides an answer: each of the models, in their order."""
        return [link.__kairos_identity__() for link in self.links]

    def __call__(self, ctx: StepContext) -> Any:
        """Ask, and return the first reply.  Raises as the links do."""
        failed: list[ModelError] = []
        for link in self.links:
            try:
                return link(ctx)
            except ModelError as error:
                failed.append(error)
        raise of_all(failed)

    async def __kairos_async__(self, ctx: StepContext) -> Any:
        """Do as a call, on an event loop."""
        failed: list[ModelError] = []
        for link in self.links:
            try:
                return await link.__kairos_async__(ctx)
            except ModelError as error:
                failed.append(error)
        raise of_all(failed)

    def stream(
        self, values: Mapping[str, Any] | None = None, /, **more: Any
    ) -> Generator[StreamEvent]:
        """Ask with these values for the placeholders, and give out the answer as it comes.

        Once something was given out the next is not asked any more: nothing comes twice.
        """
        given = self._given({**(values or {}), **more})
        return in_turn(partial(link.stream, one) for link, one in given)

    def stream_async(
        self, values: Mapping[str, Any] | None = None, /, **more: Any
    ) -> AsyncGenerator[StreamEvent]:
        """Do as `stream`, on the running event loop."""
        given = self._given({**(values or {}), **more})
        return in_turn_async(partial(link.stream_async, one) for link, one in given)

    def _given(self, values: Mapping[str, Any]) -> list[tuple[Prompted, dict[str, Any]]]:
        named = [(link, link.template.names) for link in self.links]
        _check_values(tuple(dict.fromkeys(name for _, names in named for name in names)), values)
        return [(link, {name: values[name] for name in names}) for link, names in named]
