"""The way to a model: through its provider's gate, and through its own.

Slots and rates are the provider's: all its models share them.  What a refusal or a row of failures
means holds for the model that it came from, so that another one, as a fallback, is asked at once.
"""

from __future__ import annotations

from typing import NamedTuple

from kairos.models.limits import Entry, Gate, ProviderLimits, gate_of

__all__ = ["Passed", "Way", "way_of"]


class Passed(NamedTuple):
    """One call that is on its way."""

    provider: Entry
    model: Entry

    def used(self, tokens: int) -> None:
        """Count what was really used, where tokens were estimated."""
        self.provider.used(tokens)

    def leave(self, error: BaseException | None = None) -> None:
        """Give the slot back; `error` is how the call failed, or what broke it off."""
        self.model.leave(error)
        self.provider.leave()


class Way(NamedTuple):
    """How a model is reached."""

    provider: Gate
    model: Gate

    @property
    def counts_tokens(self) -> bool:
        """Whether it matters how many tokens a call takes."""
        return self.provider.limits.tokens_per_minute is not None

    def enter(self, *, tokens: int, patience: float) -> Passed:
        """Wait for one's turn; raises as `Gate.enter`."""
        own = self.model.enter(patience=patience)
        try:
            return Passed(self.provider.enter(tokens=tokens, patience=patience), own)
        except BaseException as error:
            own.leave(_broken_off(error))
            raise

    async def enter_async(self, *, tokens: int, patience: float) -> Passed:
        """Do as `enter`, without blocking the event loop."""
        own = await self.model.enter_async(patience=patience)
        try:
            return Passed(await self.provider.enter_async(tokens=tokens, patience=patience), own)
        except BaseException as error:
            own.leave(_broken_off(error))
            raise


def _broken_off(error: BaseException) -> BaseException:
    """Return an error that says nothing of the model: it was not asked."""
    return error if not isinstance(error, Exception) else InterruptedError()


def way_of(
    provider: str,
    model: str,
    *,
    base_url: str = "",
    key: str = "",
    limits: ProviderLimits | None = None,
) -> Way:
    """Return this process's way to a model; see `gate_of`."""
    asked = limits or ProviderLimits()
    own = ProviderLimits(failures=asked.failures, cooldown=asked.cooldown)
    return Way(
        gate_of(provider, base_url=base_url, key=key, limits=limits),
        gate_of(
            provider,
            model=model,
            base_url=base_url,
            key=key,
            limits=None if limits is None else own,
        ),
    )
