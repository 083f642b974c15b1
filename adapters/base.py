"""What a model adapter is, and what it answers, whichever provider stands behind it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

from kairos.exceptions import ConfigError
from kairos.models.reply import ModelResponse, TokenUsage

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["ModelAdapter", "ModelResponse", "TokenUsage", "sdk"]


class ModelAdapter(Protocol):
    """Sends one prompt to one model.

    A provider's failure is raised as ExecutionError without the provider's text, which may
    repeat the prompt or the key.  An adapter never retries: that is the workflow's to decide.
    """

    def call(self, prompt: str, **options: Any) -> ModelResponse:
        """Send `prompt` and wait for the whole answer; `options` hold for this call alone."""
        ...

    async def call_async(self, prompt: str, **options: Any) -> ModelResponse:
        """Do as `call`, without blocking the event loop."""
        ...


def sdk(module: str, extra: str) -> ModuleType:
    """Import a provider's SDK on first use.

    Raises ConfigError naming the extra to install when the SDK is not there.  An SDK that is
    there and fails to import something of its own raises its own error: installing it again
    would not help.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(
            f"the package {module} is not installed",
            fix=f"pip install 'kairos-ai[{extra}]'",
        ) from None
