"""The prompt of a conversation: what is said next, or one of a few commands."""

from __future__ import annotations

import contextlib
import sys
from typing import TextIO

from kairos.cli.output import say

__all__ = ["Prompt"]

_HELP = "/exit or /quit leaves, as Ctrl-D does; Ctrl-C stops an answer; // begins a line with /"


class Prompt:
    """Reads what somebody says, a line at a time."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout
        self.is_terminal = sys.stdin is not None and sys.stdin.isatty()
        if self.is_terminal:
            with contextlib.suppress(ImportError):  # a system may have none
                import readline  # noqa: F401, PLC0415 - it serves input() once it is loaded

    def read(self) -> str | None:
        """Return what is said next; None says that it is over."""
        while True:
            try:
                line = self._line()
            except EOFError:
                if self.is_terminal:
                    say(sys.stderr, "")
                return None
            except KeyboardInterrupt:
                say(sys.stderr, "\n/exit or Ctrl-D leaves")
                continue
            said = line.strip()
            if said in ("/exit", "/quit"):
                return None
            if said.startswith("/") and not said.startswith("//"):
                say(sys.stderr, _HELP)
            elif said:
                return said.removeprefix("/")

    def _line(self) -> str:
        if not self.is_terminal:
            line = sys.stdin.readline() if sys.stdin is not None else ""
            if not line:
                raise EOFError
            return line
        # The real stream: only there does input() let a line be edited.
        with contextlib.redirect_stdout(sys.__stdout__ or self._stdout):
            return input("> ")
