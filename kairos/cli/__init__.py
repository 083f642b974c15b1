"""The command line: `kairos run`, `validate`, `inspect`, `agent`, `extensions` and `version`.

Importing this costs next to nothing: typer comes with the first command that needs it, so that
`kairos version` answers at once, and without the `cli` extra as well.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from kairos.cli.version import print_version

if TYPE_CHECKING:
    from kairos.cli.commands import app as app

__all__ = ["app", "main"]

_VERSION = {
    ("version",): False,
    ("--version",): False,
    ("-V",): False,
    ("version", "--json"): True,
}
_EXTRA = frozenset({"click", "rich", "typer"})
_INTERRUPTED = 130


def main() -> int:
    """Run the command in `sys.argv` and return its exit code.

    0: complete, 1: failed, 2: wrong usage, 130: interrupted.
    """
    as_json = _VERSION.get(tuple(sys.argv[1:]))
    if as_json is not None:
        return print_version(as_json=as_json)
    try:
        return _commanded()
    except KeyboardInterrupt:  # before there was a command that could be interrupted
        return _INTERRUPTED


def _commanded() -> int:
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


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module 'kairos.cli' has no attribute '{name}'")
    from kairos.cli.commands import app  # noqa: PLC0415 - see above

    return app
