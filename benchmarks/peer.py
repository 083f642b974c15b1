"""The jsonsubschema package, asked in a process of its own: it may exit, and it may not end.

    python benchmarks/peer.py

reads pairs of schemas as lines of JSON, and answers each with a line: the answer, and the CPU it
took in milliseconds.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from known_pairs import Pair

__all__ = ["answers", "is_here"]

_PATIENCE = 5.0  # seconds for one pair


def is_here() -> bool:
    """Say whether the package is installed."""
    return find_spec("jsonsubschema") is not None


def answers(pairs: Iterable[Pair]) -> Iterator[tuple[str, float]]:
    """Yield for each pair "inside", "outside", "silent" or "crashed", and the milliseconds."""
    peer = _Peer()
    try:
        for pair in pairs:
            yield peer.ask(pair)
    finally:
        peer.stop()


class _Peer:
    """A process that is started anew whenever it is gone or was given up."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def ask(self, pair: Pair) -> tuple[str, float]:
        """Return the answer for one pair."""
        process = self._process or self._start()
        begun = time.perf_counter()
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps([pair.producer, pair.consumer]) + "\n")
            process.stdin.flush()
            line = self._lines.get(timeout=_PATIENCE)
        except (OSError, queue.Empty):
            line = ""
        if not line:
            self.stop()
            return "crashed", (time.perf_counter() - begun) * 1e3
        answer, taken = json.loads(line)
        return answer, taken

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process = None

    def _start(self) -> subprocess.Popen[str]:
        process = self._process = subprocess.Popen(  # noqa: S603 - this very file
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        lines = self._lines = queue.Queue()

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.put(line)
            lines.put("")

        threading.Thread(target=read, daemon=True).start()
        lines.get(timeout=60)  # it says when it is ready
        return process


def _answer(ask: Any, producer: Any, consumer: Any) -> str:
    try:
        return {True: "inside", False: "outside"}.get(ask(producer, consumer), "silent")
    except SystemExit:
        return "crashed"
    except RecursionError:
        return "crashed"
    except Exception as error:  # noqa: BLE001 - whatever it raises
        named = type(error).__name__
        return "silent" if "Unsupported" in named or "NotImplemented" in named else "crashed"


def _serve() -> None:
    from jsonsubschema import isSubschema  # noqa: PLC0415 - in this process only

    out, sys.stdout = sys.stdout, sys.stderr  # it prints
    out.write("ready\n")
    out.flush()
    for line in sys.stdin:
        begun = time.process_time()
        answer = _answer(isSubschema, *json.loads(line))
        out.write(json.dumps([answer, (time.process_time() - begun) * 1e3]) + "\n")
        out.flush()


if __name__ == "__main__":
    _serve()
