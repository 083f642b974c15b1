"""SKIP, what an action returns to say that it has nothing to say."""

from __future__ import annotations

from typing import Literal, Self

__all__ = ["SKIP", "Skip"]


class Skip:
    """The type of SKIP, for annotations: `-> Score | Skip`.  There is one instance."""

    __slots__ = ()

    def __new__(cls) -> Self:
        """Return SKIP: it is compared by identity, so there is no other."""
        held: Self | None = globals().get("SKIP")
        return object.__new__(cls) if held is None else held

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "SKIP"

    def __copy__(self) -> Skip:
        return self

    def __deepcopy__(self, memo: object) -> Skip:
        return self

    def __reduce__(self) -> str:
        return "SKIP"


SKIP = Skip()
"""Return it from an action to skip: nothing is checked, None is stored, dependents see None."""
