"""Near misses: whether a name is another one, mistyped."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from kairos.exceptions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Names"]

_SHORTEST = 3  # of two letters any two names are near
_WIDE_SEARCHES = 5  # each compares a name with every other
_DIGITS = re.compile(r"\d+")


class Names:
    """Names that exist, to be searched for one that somebody may have meant."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)
        self._searches = _WIDE_SEARCHES

    def near(self, name: str) -> str | None:
        """Return a name one slip away: a letter too many, missing, wrong or misplaced.

        Names that differ in their digits only are a series, not a slip.  A look-up, however many
        names there are (the symmetric deletion of SymSpell).
        """
        if len(name) < _SHORTEST:
            return None
        for form in _forms(name):
            for found in self._by_form.get(form, ()):
                if found != name and not _in_series(found, name):
                    return found
        return None

    def suggestion(self, name: str) -> str | None:
        """Return `did you mean 'x'?` for the nearest name, or None."""
        near = self.near(name)
        if near is not None:
            return f"did you mean '{near}'?"
        if not self._searches:
            return None
        self._searches -= 1
        return did_you_mean(name, self._names)

    @cached_property
    def _by_form(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self._names:
            if len(name) >= _SHORTEST:
                for form in _forms(name):
                    found.setdefault(form, []).append(name)
        return found


def _forms(name: str) -> Iterator[str]:
    """Give a name as it is compared, and with each of its letters left out."""
    name = name.lower().replace("-", "_")
    yield name
    for i in range(len(name)):
        yield name[:i] + name[i + 1 :]


def _in_series(one: str, other: str) -> bool:
    return _DIGITS.sub("", one) == _DIGITS.sub("", other) and one.lower() != other.lower()
