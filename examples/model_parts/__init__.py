"""Whom the examples with models ask: the providers themselves, or with `--fake` this machine."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from kairos.testing import FakeProviders

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["providers"]


@contextlib.contextmanager
def providers(*keys: str) -> Iterator[FakeProviders | None]:
    """Have models to ask, and with `--fake` return the fake that answers for them.

    Ends the program with a word where a key is missing from the environment.
    """
    if "--fake" not in sys.argv:
        missing = [key for key in keys if not os.environ.get(key)]
        if missing:
            sys.exit(f"set {' and '.join(missing)}, or add --fake to ask this machine")
        yield None
        return
    before = dict(os.environ)
    with FakeProviders() as fake:
        os.environ.update(fake.environ(), KAIROS_ALLOW_LOCALHOST="1")
        try:
            yield fake
        finally:
            os.environ.clear()
            os.environ.update(before)
