"""Importing the workflow that a command names.

Importing runs code: `kairos.cli.finding` has settled before that it may.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib.util import module_from_spec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.cli.finding import Found, allowed_roots, find, listed
from kairos.cli.output import Stop, clean
from kairos.exceptions import KairosError, did_you_mean
from kairos.security import scrub_credentials
from kairos.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

__all__ = ["Loaded", "Unloadable", "load"]

_LONGEST = 500  # characters of an error in one line
_MOST_TOLD = 20_000  # characters of an error with its frames
_WIDEST_GROUP = 10  # errors of an exception group


class Unloadable(Stop):
    """The module was found and its import failed.

    `cause` is its own error, `told` that error in one line, and `at` the file and line of the
    user's where it came up; `file` is the module's.
    """

    def __init__(
        self,
        message: str,
        cause: BaseException,
        *,
        told: str,
        file: str,
        at: tuple[str, int | None] | None = None,
    ) -> None:
        super().__init__(message)
        self.cause = cause
        self.told = told
        self.file = file
        self.at = at or (file, None)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, under the name of its cause."""
        file, line = self.at
        return {
            **super().to_dict(),
            "kind": type(self.cause).__name__,
            "message": self.told,
            "file": file,
            "line": line,
        }


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
                found=listed(names),
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
            expected=listed(self.workflows) or "a variable that holds a Workflow",
            found="no such name" if missing else type(value).__name__,
            fix=near or (None if self.workflows else _how_to_make_one(self.module)[1]),
        )

    @property
    def _shown(self) -> str:
        return clean(Path(self.module.__file__ or self.module.__name__).name)


def _how_to_make_one(module: ModuleType) -> tuple[str | None, str]:
    members = vars(module).items()
    functions = [(name, each) for name, each in members if isinstance(each, FunctionType)]
    steps = [name for name, each in functions if hasattr(each, "__kairos_step__")]
    some = ", ".join(steps[:5]) if steps else "..."
    fix = f'put the steps together at the top of the module: wf = Workflow("name", steps=[{some}])'
    return f"the steps {listed(steps)}" if steps else None, fix


def load(target: str, *, workflows_dir: str | None = None, beside: bool = False) -> Loaded:
    """Import what `target` names: `file.py`, `file.py:name`, `package.module`, `….module:name`.

    What an earlier call brought is let go, unless this one is `beside` it.

    Raises Stop when there is nothing by that name or it may not be loaded, before anything of it
    has run, and Unloadable when its own code fails.
    """
    place, chosen = _split(target)
    roots = allowed_roots(workflows_dir)
    found = find(place, roots, ours=() if beside else _brought.modules)
    module = _import(found, roots, beside=beside)
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


class _Brought:
    """What `load` brought into the process, and the next one takes out again."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.paths: list[str] = []

    def forget(self) -> None:
        for name in self.modules:
            sys.modules.pop(name, None)
        self.modules.clear()
        for path in self.paths:
            if path in sys.path:
                sys.path.remove(path)
        self.paths.clear()


_brought = _Brought()


def _import(found: Found, roots: Sequence[Path], *, beside: bool) -> ModuleType:
    if not beside:
        _brought.forget()
    # First, as for a script: what lies beside the module is what it means by its imports.
    _brought.paths.append(str(found.base))
    sys.path.insert(0, _brought.paths[-1])
    before = set(sys.modules)
    try:
        return _executed(found.specs)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - it is the user's, and told as theirs
        raise _unloadable(error, found, roots) from None
    finally:
        new = set(sys.modules) - before
        _brought.modules |= {name for name in new if _is_brought(sys.modules[name], roots)}


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


def _unloadable(error: BaseException, found: Found, roots: Sequence[Path]) -> Unloadable:
    """Say what broke, with the frames of the user's own files and none of ours."""
    file = str(found.specs[-1].origin)
    name = clean(Path(file).name)
    if isinstance(error, SystemExit):
        told = f"{name} ended the program when it was imported (exit {_code_of(error)})"
        fix = '  fix: put what is only for a script below: if __name__ == "__main__":'
        return Unloadable(f"{told}\n{fix}", error, told=told, file=file)
    if isinstance(error, KairosError):
        where = error.where
        at = None if where is None else (where.file, where.line)
        text = _declared_wrong(error, name)
        return Unloadable(text, error, told=clean(error.message), file=file, at=at)
    trace = traceback.TracebackException.from_exception(error, max_group_width=_WIDEST_GROUP)
    _keep_own_frames(trace, roots)
    lines = "".join(trace.format(chain=True)).rstrip("\n")
    what = "is no valid Python" if isinstance(error, SyntaxError) else "failed when it was imported"
    text = f"{name} {what}\n{_shortened(clean(scrub_credentials(lines)))}"
    if isinstance(error, ModuleNotFoundError) and (hint := _missing(error, found)):
        text += f"\n  fix: {hint}"
    return Unloadable(text, error, told=_one_line(error, trace), file=file, at=_at(error, trace))


def _code_of(error: SystemExit) -> str:
    code = error.code
    return "0" if code is None else clean(str(code)[:40]) if type(code) in {int, str} else "1"


def _declared_wrong(error: KairosError, name: str) -> str:
    told = [f"{name} declares something wrong"]
    for text in (KairosError.__str__(error), *getattr(error, "__notes__", ())):
        told += [f"  {line}" for line in str(text).splitlines()]
    return clean("\n".join(told))


def _one_line(error: BaseException, trace: traceback.TracebackException) -> str:
    said = [line for line in trace.format_exception_only() if not line.startswith(" ")]
    # a syntax error shows its line before it says what is wrong; notes follow the rest
    told = said[-1] if isinstance(error, SyntaxError) else said[0]
    return clean(scrub_credentials(told.partition("\n")[0]))[:_LONGEST]


def _at(error: BaseException, trace: traceback.TracebackException) -> tuple[str, int | None] | None:
    if isinstance(error, SyntaxError) and isinstance(error.filename, str):
        return error.filename, error.lineno if isinstance(error.lineno, int) else None
    return (trace.stack[-1].filename, trace.stack[-1].lineno) if trace.stack else None


def _shortened(text: str) -> str:
    if len(text) <= _MOST_TOLD:
        return text
    half = _MOST_TOLD // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def _missing(error: ModuleNotFoundError, found: Found) -> str | None:
    """Say how a module that is missing may be had; None where nothing tells which it is."""
    missing = error.name
    if not isinstance(missing, str) or not missing:
        return None
    top, dot, _ = missing.partition(".")
    if dot and top in sys.modules:
        return None
    beside = [each.stem for each in found.base.glob("*.py")]
    near = did_you_mean(top, beside)
    install = f"install what provides '{clean(top)}' where kairos is installed"
    return f"{clean(near)} Or {install}" if near else install


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
