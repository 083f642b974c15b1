"""How long Python takes to have kairos: the CPU of whole processes, over a bare interpreter."""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Row, Target, interleaved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from figures import Scale

__all__ = ["rows"]


_PROGRAM = """
from kairos import Step, Workflow
assert Workflow("one", [Step("one", lambda ctx: 1)]).run().output == 1
"""


def _cpu(command: list[str], environment: dict[str, str]) -> float:
    """Return the CPU a process took, in milliseconds, by the kernel's account of that process."""
    with Path(os.devnull).open("w", encoding="utf-8") as null:
        quiet = [(os.POSIX_SPAWN_DUP2, null.fileno(), 1)]
        child = os.posix_spawn(command[0], command, environment, file_actions=quiet)
        _, status, used = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, command
    return (used.ru_utime + used.ru_stime) * 1e3


def rows(scale: Scale) -> Iterator[Row]:
    """Measure the import that every workflow starts with, and the shortest command.

    What was installed has its bytecode, and a checkout after its first run; so it is here,
    whatever PYTHONDONTWRITEBYTECODE says.
    """
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        yield from _rows(scale, {**kept, "PYTHONPYCACHEPREFIX": folder})


def _rows(scale: Scale, environment: dict[str, str]) -> Iterator[Row]:
    python = sys.executable
    console = "import sys; sys.argv[1:] = ['version']; import kairos.cli as c; sys.exit(c.main())"
    script = Path(python).with_name("kairos")
    version = [str(script), "version"] if script.exists() else [python, "-c", console]
    commands = {
        "bare": [python, "-c", "pass"],
        "import": [python, "-c", "from kairos import Workflow, Step"],
        "version": version,
        "program": [python, "-c", _PROGRAM],
    }
    for command in commands.values():  # the first of each leaves the bytecode
        _cpu(command, environment)
    measured = {key: partial(_cpu, command, environment) for key, command in commands.items()}
    found = interleaved(measured, scale.rounds(9))
    bare, unit = found["bare"], "ms CPU"
    what = "from kairos import Workflow, Step"
    yield Row("import", what, unit, found["import"], bare, Target(200.0, "excess"))
    yield Row("version", "kairos version", unit, found["version"], bare, Target(150.0, "excess"))
    yield Row("program", "a program that runs one step", unit, found["program"], bare)
