"""The command line: `kairos run`, `validate`, `inspect` and `version`.

Importing this costs next to nothing: typer comes with the first command that needs it, so that
`kairos version` answers at once, and without the `cli` extra as well.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from kairos._version import __version__

if TYPE_CHECKING:
    from kairos.cli.commands import app as app

__all__ = ["app", "main", "put"]

_VERSION = {
    ("version",): f"kairos {__version__}",
    ("--version",): f"kairos {__version__}",
    ("-V",): f"kairos {__version__}",
    ("version", "--json"): f'{{"version": "{__version__}"}}',
}
_EXTRA = frozenset({"click", "rich", "typer"})


def main() -> int:
    """Run the command in `sys.argv` and return its exit code.

    0: complete, 1: failed, 2: wrong usage, 130: interrupted.
    """
    version = _VERSION.get(tuple(sys.argv[1:]))
    if version is not None:
        return put(version)
    try:
        from kairos.cli.commands import app  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(
            f"kairos: the command line needs '{error.name}', which is not installed\n"
            "  fix: pip install 'kairos-ai[cli]'",
            file=sys.stderr,
        )
        return 2
    try:
        app(prog_name="kairos")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    return 0


def put(line: str) -> int:
    """Print a line and return the exit code; a stream that is full, or closed, gets no stack."""
    try:
        print(line, flush=True)
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


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module 'kairos.cli' has no attribute '{name}'")
    from kairos.cli.commands import app  # noqa: PLC0415 - see above

    return app
