"""What every store refuses, and how it says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kairos.exceptions import ConfigError, SessionConflictError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["as_json", "begun_already", "longer_than", "moved_on"]


def as_json(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return events as JSON, pure ASCII.  Raises ConfigError for what is no plain JSON data."""
    try:
        return [json.dumps(event, allow_nan=False, separators=(",", ":")) for event in events]
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            "an event that is to be kept is no plain JSON data", found=type(error).__name__
        ) from None


def moved_on(session: str, at: int, length: int) -> SessionConflictError:
    """Return the error of an append that is not at the end."""
    return SessionConflictError(
        f"somebody else goes on with the session '{session[:80]}'",
        expected=f"{at} events in the store",
        found=f"{length}",
        fix="open the session again: agent.session(id, store=store)",
    )


def begun_already(session: str) -> SessionConflictError:
    """Return the error of a fork to a name that is taken."""
    return SessionConflictError(
        f"there is a session '{session[:80]}' already", fix="fork to another id, or to none"
    )


def longer_than(session: str, upto: int, length: int) -> StoreError:
    """Return the error of a fork that takes more than there is."""
    return StoreError(
        f"the session '{session[:80]}' has no such beginning",
        expected=f"{upto} events or more",
        found=f"{length}",
    )
