"""Finding the workflow that a command names, and importing it.

Importing runs code, so only what lies below the current directory, `--workflows-dir` or
KAIROS_WORKFLOWS_DIR is imported.  That is settled from the files alone, links resolved, before
the first line runs: for the module itself and for every package above it, whose `__init__` runs
too.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from kairos.cli.output import Stop, clean
from kairos.exceptions import KairosError, did_you_mean
from kairos.security import scrub_credentials
from kairos.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ENVIRONMENT", "Loaded", "Unloadable", "load"]

ENVIRONMENT = "KAIROS_WORKFLOWS_DIR"
_LISTED = 20


class Unloadable(Stop):
    """The module was found and its import failed; `cause` is its own error."""

    def __init__(self, message: str, cause: BaseException) -> None:
        super().__init__(message)
        self.cause = cause


class Loaded(NamedTuple):
    """A module, and the workflows in it by the names of their variables.

    `chosen` is the name after the colon.
    """

    target: str
    module: ModuleType
    workflows: dict[str, Workflow]
    chosen: str | None

    def every(self) -> dict[str, Workflow]:
        """Return the workflow that was chosen, or all.  Raises Stop when there is none."""
        if self.chosen is not None:
            return {self.chosen: self._named(self.chosen)}
        if not self.workflows:
            found, fix = _how_to_make_one(self.module)
            raise Stop(f"there is no workflow in {self._shown}", found=found, fix=fix)
        return self.workflows

    def one(self) -> Workflow:
        """Return the workflow that was chosen, or the only one.  Raises Stop for none, or more."""
        found = self.every()
        if len(found) > 1:
            names = list(found)
            raise Stop(
                f"there are {len(names)} workflows in {self._shown}",
                found=_listed(names),
                fix=f"choose one: {self.target}:{names[0]}",
            )
        return next(iter(found.values()))

    def _named(self, name: str) -> Workflow:
        value = vars(self.module).get(name)
        if isinstance(value, Workflow):
            return value
        missing = name not in vars(self.module)
        near = did_you_mean(name, self.workflows)
        raise Stop(
            f"'{name}' in {self._shown} is no workflow",
            expected=_listed(self.workflows) or "a variable that holds a Workflow",
            found="no such name" if missing else type(value).__name__,
            fix=near or (None if self.workflows else _how_to_make_one(self.module)[1]),
        )

    @property
    def _shown(self) -> str:
        return clean(Path(self.module.__file__ or self.module.__name__).name)


def _how_to_make_one(module: ModuleType) -> tuple[str | None, str]:
    members = vars(module).items()
    steps = [n for n, value in members if "__kairos_step__" in getattr(value, "__dict__", ())]
    some = ", ".join(steps[:5]) if steps else "..."
    fix = f'put the steps together at the top of the module: wf = Workflow("name", steps=[{some}])'
    return f"the steps {_listed(steps)}" if steps else None, fix


def _listed(names: Sequence[str] | dict[str, Workflow]) -> str:
    names = list(names)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def load(target: str, *, workflows_dir: str | None = None) -> Loaded:
    """Import what `target` names: `file.py`, `file.py:name`, `package.module`, `….module:name`.

    Raises Stop when there is nothing by that name or it may not be loaded, before anything of it
    has run, and Unloadable when its own code fails.
    """
    place, chosen = _split(target)
    roots = _roots(workflows_dir)
    importlib.invalidate_caches()
    is_path = place.endswith(".py") or "/" in place or os.sep in place or place.startswith(".")
    found = _by_path(place, roots) if is_path else _by_name(place, roots)
    for spec in found.specs:
        _check(spec, roots)
    module = _import(found, roots)
    workflows: dict[str, Workflow] = {}
    for name, value in vars(module).items():
        if isinstance(value, Workflow) and not any(value is seen for seen in workflows.values()):
            workflows[name] = value
    return Loaded(place, module, workflows, chosen)


def _split(target: str) -> tuple[str, str | None]:
    place, colon, name = target.rpartition(":")
    if not colon or set(name) & {"/", "\\"}:
        place, name = target, ""
    if colon and place != target and not name.isidentifier():
        raise Stop(
            f"'{clean(name)}' cannot be the name of a workflow's variable",
            expected="MODULE, or MODULE:NAME",
        )
    if not place or "\0" in place:
        raise Stop("which workflow?", expected="a file, such as my_workflow.py, or a module")
    return place, name or None


def _roots(workflows_dir: str | None) -> list[Path]:
    if workflows_dir is not None and not Path(workflows_dir).is_dir():
        raise Stop(f"--workflows-dir is no folder: {clean(workflows_dir)}")
    more = os.environ.get(ENVIRONMENT, "").split(os.pathsep)
    given = [".", *([] if workflows_dir is None else [workflows_dir]), *filter(None, more)]
    return list(dict.fromkeys(Path(each).resolve() for each in given))


# --- finding it, from the files alone


class _Found(NamedTuple):
    """The packages from the outermost in, and the module last; `base` is where they begin."""

    base: Path
    specs: list[ModuleSpec]


def _by_path(place: str, roots: Sequence[Path]) -> _Found:
    try:
        candidates = [(root / place).resolve() for root in roots]
        file = next((each for each in candidates if each.exists()), candidates[0])
        kind = "folder" if file.is_dir() else "file" if file.exists() else "nothing"
    except (OSError, RuntimeError, ValueError) as error:  # a link that leads to itself, say
        raise Stop(f"{clean(place)} cannot be looked up: {type(error).__name__}") from None
    _allow(file, roots, shown=place)
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
    return _Found(base, list(_specs_along(base, names, file)))


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
        return f"name a file in it: {clean(_listed(sorted(names)))}" if names else None
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


def _by_name(place: str, roots: Sequence[Path]) -> _Found:
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
            return _Found(root, specs)
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
        spec = within and PathFinder.find_spec(".".join(names[:depth]), list(within))
        if not spec:
            return
        yield spec
        within = spec.submodule_search_locations


def _inside(package: ModuleSpec) -> list[str]:
    folders = map(Path, package.submodule_search_locations or ())
    return [each.stem for folder in folders for each in folder.glob("*.py")]


# --- whether it may be loaded


def _allow(file: Path, roots: Sequence[Path], *, shown: str) -> None:
    if not any(file.is_relative_to(root) for root in roots):
        raise Stop(
            f"{clean(shown)} lies outside the folders that workflows are loaded from",
            expected="a file below " + _shown(roots),
            found=clean(str(file)),
            fix="name its folder, if you trust all that is in it: --workflows-dir DIR",
        )


def _shown(roots: Sequence[Path]) -> str:
    return " or ".join(clean(str(root)) for root in roots)


def _check(spec: ModuleSpec, roots: Sequence[Path]) -> None:
    """Refuse a module whose file lies outside, or whose name means another one."""
    places = [spec.origin] if spec.has_location else [*(spec.submodule_search_locations or ())]
    for place in filter(None, places):
        _allow(Path(place).resolve(), roots, shown=spec.name)
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
    if loaded is not None and spec.name not in _brought.modules and not _is_from(loaded, spec):
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


# --- importing it


class _Brought:
    """What the last `load` brought into the process, and the next one takes out again."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.path: str | None = None

    def forget(self) -> None:
        for name in self.modules:
            sys.modules.pop(name, None)
        self.modules.clear()
        if self.path in sys.path:
            sys.path.remove(self.path)


_brought = _Brought()


def _import(found: _Found, roots: Sequence[Path]) -> ModuleType:
    _brought.forget()
    # First, as for a script: what lies beside the module is what it means by its imports.
    _brought.path = str(found.base)
    sys.path.insert(0, _brought.path)
    before = set(sys.modules)
    try:
        return _executed(found.specs)
    except Exception as error:  # noqa: BLE001 - it is the user's, and told as theirs
        raise Unloadable(_own_words(error, found, roots), error) from None
    except SystemExit as error:
        raise Unloadable(_left(found, error), error) from None
    finally:
        new = set(sys.modules) - before
        _brought.modules = {name for name in new if _is_brought(sys.modules[name], roots)}


def _executed(specs: Sequence[ModuleSpec]) -> ModuleType:
    arguments, sys.argv = sys.argv, [str(specs[-1].origin)]  # ours mean nothing to a module
    try:
        for spec in specs:
            if spec.name not in sys.modules:  # a package may have imported it on its own
                _execute(spec)
    finally:
        sys.argv = arguments
    return sys.modules[specs[-1].name]


def _execute(spec: ModuleSpec) -> None:
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        if spec.loader is not None:
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(spec.name, None)
        raise
    parent, _, child = spec.name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)


def _is_brought(module: ModuleType | None, roots: Sequence[Path]) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and _is_own(file, roots)


def _left(found: _Found, error: SystemExit) -> str:
    name = Path(str(found.specs[-1].origin)).name
    return (
        f"{clean(name)} ended the program when it was imported (exit {error.code!s:.40})\n"
        '  fix: put what is only for a script below: if __name__ == "__main__":'
    )


def _own_words(error: Exception, found: _Found, roots: Sequence[Path]) -> str:
    """Say what broke, with the frames of the user's own files and none of ours."""
    name = clean(Path(str(found.specs[-1].origin)).name)
    if isinstance(error, KairosError):
        told = [f"{name} declares something wrong"]
        for text in (str(error), *getattr(error, "__notes__", ())):
            told += [f"  {line}" for line in text.splitlines()]
        return clean("\n".join(told))
    trace = traceback.TracebackException.from_exception(error)
    _keep_own_frames(trace, roots)
    lines = "".join(trace.format(chain=True)).rstrip("\n")
    what = "is no valid Python" if isinstance(error, SyntaxError) else "failed when it was imported"
    return f"{name} {what}\n{clean(scrub_credentials(lines))}"


def _keep_own_frames(told: traceback.TracebackException, roots: Sequence[Path]) -> None:
    seen: list[traceback.TracebackException | None] = [told]
    while seen:
        each = seen.pop()
        if each is None:
            continue
        frames = [f for f in each.stack if _is_own(f.filename, roots)]
        each.stack = traceback.StackSummary.from_list(frames)
        seen += [each.__cause__, each.__context__, *(each.exceptions or ())]


def _is_own(file: str, roots: Sequence[Path]) -> bool:
    """Tell the user's own files from ours, Python's, and what is installed below the folder."""
    path = Path(file)
    others = (Path(__file__).resolve().parents[1], Path(os.__file__).parent)
    return (
        {"site-packages", "dist-packages"}.isdisjoint(path.parts)
        and not any(path.is_relative_to(other) for other in others)
        and any(path.is_relative_to(root) for root in roots)
    )
