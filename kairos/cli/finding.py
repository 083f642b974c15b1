"""Finding the module that a command names, and telling whether it may be loaded.

All of it is settled from the files, links resolved, before the first line of any of them runs:
for the module itself and for every package above it, whose `__init__` runs too.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kairos.cli.output import Stop, clean
from kairos.exceptions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from types import ModuleType

__all__ = ["ENVIRONMENT", "Found", "allow", "allowed_roots", "find", "listed"]

ENVIRONMENT = "KAIROS_WORKFLOWS_DIR"
_LISTED = 20


def listed(names: Collection[str]) -> str:
    """Render names, not too many of them."""
    shown = list(names)
    more = f" and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
    return ", ".join(shown[:_LISTED]) + more


def find(place: str, roots: Sequence[Path], *, ours: Collection[str] = ()) -> Found:
    """Return where the module is that `place` names: a path, or a dotted name.

    `ours` are loaded modules that may be replaced.  Raises Stop when there is none, and when it
    may not be loaded.
    """
    importlib.invalidate_caches()
    is_path = place.endswith(".py") or "/" in place or os.sep in place or place.startswith(".")
    found = _by_path(place, roots) if is_path else _by_name(place, roots)
    for spec in found.specs:
        _check(spec, roots, ours)
    return found


def allowed_roots(workflows_dir: str | None) -> list[Path]:
    """Return the folders below which modules may be loaded.

    Raises Stop when `workflows_dir` is none, and when the current folder was removed.
    """
    if workflows_dir is not None and not Path(workflows_dir).is_dir():
        raise Stop(f"--workflows-dir is no folder: {clean(workflows_dir)}")
    more = os.environ.get(ENVIRONMENT, "").split(os.pathsep)
    given = [".", *([] if workflows_dir is None else [workflows_dir]), *filter(None, more)]
    try:
        return list(dict.fromkeys(Path(each).resolve() for each in given))
    except OSError:
        raise Stop("the current folder is gone", fix="change to one that is there") from None


# --- finding it, from the files alone


class Found(NamedTuple):
    """The packages from the outermost in, and the module last; `base` is where they begin."""

    base: Path
    specs: list[ModuleSpec]


def _by_path(place: str, roots: Sequence[Path]) -> Found:
    try:
        candidates = [(root / place).resolve() for root in roots]
        file = next((each for each in candidates if each.exists()), candidates[0])
        kind = "folder" if file.is_dir() else "file" if file.exists() else "nothing"
    except (OSError, RuntimeError, ValueError) as error:  # a link that leads to itself, say
        raise Stop(f"{clean(place)} cannot be looked up: {type(error).__name__}") from None
    allow(file, roots, shown=place)
    if kind != "file" or file.suffix != ".py":
        raise Stop(_not_a_workflow_file(place, kind), fix=_near_file(file))
    root = next(root for root in roots if file.is_relative_to(root))
    # A root is never taken for a package: what makes it one may lie outside.
    base, names = file.parent, [file.stem.replace(".", "_")]
    while base != root and (base / "__init__.py").is_file() and base.name.isidentifier():
        names.insert(0, base.name)
        base = base.parent
    if names[-1] == "__init__" and len(names) > 1:
        del names[-1]
    return Found(base, list(_specs_along(base, names, file)))


def _not_a_workflow_file(place: str, kind: str) -> str:
    if kind == "nothing":
        return f"no such file: {clean(place)}"
    return (
        f"{clean(place)} is a folder" if kind == "folder" else f"{clean(place)} is no Python file"
    )


def _near_file(file: Path) -> str | None:
    folder = file if file.is_dir() else file.parent
    try:
        names = [each.name for each in folder.glob("*.py")]
    except OSError:
        return None
    if file.is_dir():
        return f"name a file in it: {clean(listed(sorted(names)))}" if names else None
    near = did_you_mean(file.name, names)
    return clean(near) if near else None


def _specs_along(base: Path, names: Sequence[str], file: Path) -> Iterator[ModuleSpec]:
    folder = base
    for depth in range(1, len(names)):
        folder /= names[depth - 1]
        yield _spec(".".join(names[:depth]), folder / "__init__.py")
    yield _spec(".".join(names), file)


def _spec(name: str, file: Path) -> ModuleSpec:
    package = [str(file.parent)] if file.name == "__init__.py" else None
    spec = spec_from_file_location(name, file, submodule_search_locations=package)
    if spec is None:
        raise Stop(f"{clean(str(file))} cannot be loaded as a module")
    return spec


def _by_name(place: str, roots: Sequence[Path]) -> Found:
    names = place.split(".")
    if not all(name.isidentifier() for name in names):
        raise Stop(
            f"no such file or module: {clean(place)}",
            expected="a file, such as my_workflow.py, or a module, such as package.module",
            fix=did_you_mean(place + ".py", [each.name for each in roots[0].glob("*.py")]),
        )
    for root in roots:
        specs = list(_specs_by_name(names, str(root)))
        if len(specs) == len(names):
            return Found(root, specs)
        if specs:
            raise Stop(
                f"package '{specs[-1].name}' has no module '{names[len(specs)]}'",
                fix=did_you_mean(names[len(specs)], _inside(specs[-1])),
            )
    if names[0] in sys.stdlib_module_names:
        raise Stop(f"module '{place}' is Python's own", expected="a module below " + _shown(roots))
    elsewhere = names[0] in sys.modules or find_spec(names[0]) is not None
    raise Stop(
        f"module '{place}' is installed elsewhere, and is not run from there"
        if elsewhere
        else f"no module '{place}'",
        expected="a module below " + _shown(roots),
        fix="name the folder that holds it: --workflows-dir DIR"
        if elsewhere
        else did_you_mean(names[0], [each.stem for each in roots[0].glob("*.py")]),
    )


def _specs_by_name(names: Sequence[str], root: str) -> Iterator[ModuleSpec]:
    within: Sequence[str] | None = [root]
    for depth in range(1, len(names) + 1):
        # Asked directly, since importlib.util.find_spec would import the packages on the way.
        spec = PathFinder.find_spec(".".join(names[:depth]), list(within)) if within else None
        if spec is None:
            return
        yield spec
        within = spec.submodule_search_locations


def _inside(package: ModuleSpec) -> list[str]:
    folders = map(Path, package.submodule_search_locations or ())
    return [each.stem for folder in folders for each in folder.glob("*.py")]


# --- whether it may be loaded


def allow(file: Path, roots: Sequence[Path], *, shown: str) -> None:
    """Raise Stop for what lies outside the folders that may be loaded from; links are resolved."""
    if not any(file.is_relative_to(root) for root in roots):
        raise Stop(
            f"{clean(shown)} lies outside the folders that workflows are loaded from",
            expected="a file below " + _shown(roots),
            found=clean(str(file)),
            fix="name its folder, if you trust all that is in it: --workflows-dir DIR",
        )


def _shown(roots: Sequence[Path]) -> str:
    return " or ".join(clean(str(root)) for root in roots)


def _check(spec: ModuleSpec, roots: Sequence[Path], ours: Collection[str]) -> None:
    """Refuse a module whose file lies outside, or whose name means another one."""
    places = [spec.origin] if spec.has_location else [*(spec.submodule_search_locations or ())]
    for place in filter(None, places):
        allow(Path(place).resolve(), roots, shown=spec.name)
    if not all(places):
        raise Stop(f"module '{spec.name}' has no file")
    top = spec.name.partition(".")[0]
    if top in sys.stdlib_module_names:
        raise Stop(
            f"'{clean(top)}' is the name of a module of Python's own, which this one would hide",
            found=clean(str(spec.origin)),
            fix="rename the file",
        )
    loaded = sys.modules.get(spec.name)
    if loaded is not None and spec.name not in ours and not _is_from(loaded, spec):
        raise Stop(
            f"'{clean(spec.name)}' is the name of another module, which is in use",
            found=clean(str(spec.origin)),
            fix="rename the file",
        )


def _is_from(module: ModuleType, spec: ModuleSpec) -> bool:
    file = getattr(module, "__file__", None)
    if file is None or spec.origin is None:
        return file is None and spec.origin is None
    return Path(file).resolve() == Path(spec.origin).resolve()
