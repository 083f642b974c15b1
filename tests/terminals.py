"""A program on a pseudo-terminal of its own, and somebody who types."""

from __future__ import annotations

import os
import select
import subprocess
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Terminal"]

_PATIENCE = 60.0
_AGAIN = 2.0


class Terminal:
    """A program whose standard streams are a terminal; `streams` names those that are not.

    `text` is all that has been written, and `expect` waits for more of it.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        *,
        columns: int = 80,
        **streams: Any,
    ) -> None:
        import fcntl
        import pty
        import termios

        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, columns))
        settled = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "CI"):
            settled.pop(name, None)
        given: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs} | streams
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=settled | dict(environment or {}),
            start_new_session=True,
            # its own terminal, so that what is typed can interrupt it
            preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one call
            pass_fds=(theirs,),
            **given,
        )
        os.close(theirs)
        self.text = ""
        self._raw = b""
        self._seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        os.close(self._ours)

    def expect(self, wanted: str, *, insisting: str = "") -> str:
        """Wait until `wanted` is written after what was expected before; return what led to it.

        What is `insisting` is typed until then, again and again: Ctrl-C that comes while Python is
        on its way into a system call is not heard before that call returns.
        """
        deadline = time.monotonic() + _PATIENCE
        again = time.monotonic() if insisting else deadline
        while wanted not in self.text[self._seen :]:
            now = time.monotonic()
            if now >= deadline:
                raise AssertionError(f"{wanted!r} never came; there is {self.text!r}")
            if now >= again:
                self.type(insisting)
                again = now + _AGAIN
            if not self._more(again) and not insisting:
                raise AssertionError(f"{wanted!r} never came; there is {self.text!r}")
        begun, self._seen = self._seen, self.text.index(wanted, self._seen) + len(wanted)
        return self.text[begun : self._seen]

    def type(self, keys: str) -> None:
        """Type something; a line ends with a newline, and Ctrl-C is "\\x03"."""
        os.write(self._ours, keys.encode())

    def end(self) -> int:
        """Wait for the program to end, and return its exit code."""
        deadline = time.monotonic() + _PATIENCE
        while self._more(deadline):
            pass
        return self.process.wait(_PATIENCE)

    def _more(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return False
        try:
            read = os.read(self._ours, 65536)
        except OSError:  # the other end is closed
            return False
        self._raw += read
        self.text = self._raw.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(read)
