"""The workflow modules below a folder; told from their text, before anything of them runs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from kairos.cli.finding import allow
from kairos.cli.output import Stop, clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["folder_of", "modules_below", "speaks_of_workflows"]

_LARGEST = 4 * 1024 * 1024  # bytes
_WORDS = (re.compile(rb"\bkairos\b"), re.compile(rb"\bWorkflow\b"))
_OTHERS = {"__pycache__", "node_modules", "site-packages", "build", "dist"}


def folder_of(target: str, roots: Sequence[Path]) -> Path | None:
    """Return the folder that a target names, or None where it names a module.

    A package by its bare name is the module; `package/` is all that is in it.
    """
    bare = not target.endswith(".") and not set(target) & {"/", os.sep}
    for root in roots:
        folder = root / target
        try:
            if folder.is_dir() and not (bare and (folder / "__init__.py").exists()):
                return folder
        except (OSError, ValueError):
            return None
    return None


def modules_below(folder: Path, target: str, roots: Sequence[Path]) -> list[str]:
    """Return the files below a folder that speak of kairos and of a Workflow, as targets.

    Hidden folders, environments and caches are passed over, and links to folders are not
    followed.  Raises Stop for a folder that may not be loaded from, and for one without any.
    """
    allow(folder.resolve(), roots, shown=target)
    found = [
        str(Path(target) / file.relative_to(folder))
        for file in _files(folder)
        if speaks_of_workflows(file)
    ]
    if not found:
        raise Stop(
            f"there is no workflow below {clean(target)}",
            expected="a file that imports kairos and makes a Workflow",
        )
    return found


def _files(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        within = Path(here)
        folders[:] = sorted(each for each in folders if _is_own(within / each))
        yield from (within / each for each in sorted(files) if each.endswith(".py"))


def _is_own(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name in _OTHERS
    return not hidden and not (folder / "pyvenv.cfg").exists()


def speaks_of_workflows(file: Path) -> bool:
    """Say whether a file's text mentions kairos and a Workflow; nothing of it runs."""
    try:
        if not file.is_file() or file.stat().st_size > _LARGEST:
            return False
        raw = file.read_bytes()
    except OSError:
        return False
    return all(word.search(raw) for word in _WORDS)
