"""Ctrl-C that is heard at once.

A signal that comes just before the interpreter enters a call of the system is taken note of, and
acted on when that call returns: of a model that says nothing, a minute later.  Nothing in Python
closes that gap, so each such signal is followed by a few that mean nothing and end the call.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["insisted"]

_PAUSES = (0.02, 0.1, 0.5)
"""Seconds before each of them: by the first the call has nearly always begun."""


if sys.platform == "win32":

    @contextlib.contextmanager
    def insisted() -> Iterator[None]:
        """Do nothing: there a wait is ended by other means."""
        yield

else:

    @contextlib.contextmanager
    def insisted() -> Iterator[None]:
        """Have what asks the program to end, end the wait of its main thread, which calls this."""
        free = signal.getsignal(signal.SIGURG) in {signal.SIG_DFL, signal.SIG_IGN}
        hears, tells = os.pipe()
        os.set_blocking(tells, False)
        before = signal.set_wakeup_fd(tells, warn_on_full_buffer=False)
        if before != -1 or not free:  # somebody else has a use for them
            signal.set_wakeup_fd(before)
            os.close(hears)
            os.close(tells)
            yield
            return
        over = threading.Event()
        insisting = threading.Thread(
            target=_insist,
            args=(hears, threading.get_ident(), over),
            name="kairos-interrupts",
            daemon=True,
        )
        meant = signal.signal(signal.SIGURG, lambda _number, _frame: None)
        insisting.start()
        try:
            yield
        finally:
            over.set()
            signal.set_wakeup_fd(-1)
            os.close(tells)
            insisting.join()
            signal.signal(signal.SIGURG, meant)
            os.close(hears)

    def _insist(hears: int, whom: int, over: threading.Event) -> None:
        while came := os.read(hears, 64):
            if not {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} & {*came}:
                continue
            for pause in _PAUSES:
                if over.wait(pause):
                    return
                signal.pthread_kill(whom, signal.SIGURG)
