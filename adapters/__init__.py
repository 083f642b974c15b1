"""Language models as step actions: one module a provider, its SDK imported on first use.

The files live in the folder `adapters/` at the top of the repository; the package is
`kairos.adapters` and never `adapters`, which would be a second copy of every class.
"""

from __future__ import annotations

from kairos.adapters.base import ModelAdapter, ModelResponse, TokenUsage

__all__ = ["ModelAdapter", "ModelResponse", "TokenUsage"]
