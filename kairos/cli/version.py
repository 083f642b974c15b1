"""`kairos version`: it answers at once, so this imports next to nothing."""

from __future__ import annotations

import os
import sys

from kairos._version import __version__

__all__ = ["print_version"]


def print_version(*, as_json: bool = False) -> int:
    """Print the version and return the exit code; a stream that is full gets no stack."""
    try:
        print(f'{{"version": "{__version__}"}}' if as_json else f"kairos {__version__}", flush=True)
    except BrokenPipeError:
        code = 0  # the reader has gone
    except OSError as error:
        print(f"kairos: the result cannot be written: {error.strerror}", file=sys.stderr)
        code = 1
    else:
        return 0
    # what is still to be written would be tried again at the end, and complained about
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - pathlib is slow
    return code
