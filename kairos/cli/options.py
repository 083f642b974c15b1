"""What the commands have in common: options, and how they end."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Json", "NoColor", "WorkflowsDir", "leave"]

WorkflowsDir = Annotated[
    str | None,
    typer.Option(
        "--workflows-dir",
        metavar="DIR",
        help="Another folder to load from, besides the current one and $KAIROS_WORKFLOWS_DIR.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="Print without colour.")]


def leave(work: Callable[[], int], *, as_json: bool = False) -> None:
    """Do a command's work and leave with its exit code; a Stop is told, without a stack.

    With `as_json` on standard output too, as a document with an `error`.
    """
    from kairos.cli.output import Stop, Undelivered, clean, say_error, tell  # noqa: PLC0415 - as above

    try:
        code = work()
    except Stop as stop:
        with contextlib.suppress(OSError, AttributeError):  # full, or closed from the start
            sys.stdout.flush()
        if as_json and not isinstance(stop, Undelivered):
            say_error(stop)
        tell(clean(str(stop)))
        code = stop.code
    raise typer.Exit(code)
