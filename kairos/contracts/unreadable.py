"""The error for a contract that says what nobody can hold a value to."""

from __future__ import annotations

from kairos.exceptions import ConfigError

__all__ = ["UnreadableContractError"]


class UnreadableContractError(ConfigError):
    """A JSON Schema refers to what is not there, or has a keyword or a pattern that is none."""
