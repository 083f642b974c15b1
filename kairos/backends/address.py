"""Where a worker process finds a step's action: by its module, and by its name in there.

`address_of` writes an address in the process that declares the step, `load` follows it in the
worker.  Nothing of the object itself travels: the worker imports the module anew, so what the
module's globals hold is the worker's own.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import threading
import types
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.contracts.encoding import decode, encode
from kairos.exceptions import ConfigError, KairosError
from kairos.source import defined_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kairos.step import Step

__all__ = ["SCRIPT", "Address", "Name", "address_of", "load", "loading", "name_of"]

# The script that was run is imported under another name, so that what it guards with
# `if __name__ == "__main__"` stays with the process that was started on it.
SCRIPT = "__kairos_main__"
_loading = threading.Event()


class Name(NamedTuple):
    """A name in a module.

    `module` is the name to import it by, `file` where it was loaded from (None where that is no
    plain file), and `home` what it is called in the process that wrote this.
    """

    module: str
    file: str | None
    qualname: str
    home: str


class Address(NamedTuple):
    """An action: a name, and the arguments that `functools.partial` has bound to it."""

    name: Name
    args: list[Any]
    kwargs: dict[str, Any]


def address_of(action: Callable[..., Any], step: Step) -> Address:
    """Return where a worker process finds the action of a step with `isolation="process"`.

    An action that can be found is a function (or a class, or a callable object) that a module
    holds by name, or a `functools.partial` of one with arguments that are JSON.  Raises
    ConfigError for anything else.
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    function = action
    while isinstance(function, functools.partial):
        args = [*function.args, *args]
        kwargs = {**function.keywords, **kwargs}
        function = function.func
    name = name_of(function, step)
    if name is None:
        raise ConfigError(
            f"step '{step.name}' runs in a process of its own, where its action cannot be found:"
            f" it is {_what(function)}",
            where=defined_at(function) or step.place,
            expected="a function at the top of a module, a functools.partial of one,"
            " or an object that a module holds by name",
            fix="define it with `def` at the top of a module, and pass it what it needs as inputs",
        )
    _check_arguments([*args, *kwargs.values()], step)
    return Address(name, args, kwargs)


def _check_arguments(values: list[Any], step: Step) -> None:
    for value in values:
        try:
            same = decode(encode(value, key=step.name)) == value
        except KairosError:
            same = False
        if not same:
            raise ConfigError(
                f"the action of step '{step.name}' is a functools.partial with an argument that"
                " cannot be sent to the step's own process",
                where=step.place,
                expected="arguments that are JSON: str, int, float, bool, None, list, dict",
                found=type(value).__name__,
                fix="pass what it can be built from, and build it in the action",
            )


def name_of(thing: Any, step: Step) -> Name | None:
    """Return the name under which a module holds `thing`, or None where none is found."""
    if isinstance(thing, types.MethodType):
        owner = name_of(thing.__self__, step)
        method = thing.__name__
        if owner is None or getattr(thing.__self__, method, None) != thing:
            return None
        return owner._replace(qualname=f"{owner.qualname}.{method}")
    module = getattr(thing, "__module__", None)
    own = getattr(thing, "__qualname__", None)
    if isinstance(module, str) and isinstance(own, str):
        return _located(module, own) if _held(module, own) is thing else None
    for module in _likely_modules(thing, step):
        for held, value in list(vars(sys.modules[module]).items()):
            if value is thing and (name := _located(module, held)):
                return name
    return None


def _likely_modules(thing: Any, step: Step) -> Iterator[str]:
    """Name the modules that may hold an object: of its class, and of the step's declaration."""
    seen = {type(thing).__module__, getattr(step.action, "__module__", None)}
    place = None if step.place is None else step.place.file
    for name, module in list(sys.modules.items()):
        if isinstance(module, types.ModuleType) and (
            name in seen or (place is not None and getattr(module, "__file__", None) == place)
        ):
            yield name


def _held(module: str, qualname: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _located(module: str, qualname: str) -> Name | None:
    """Complete a name with how its module is to be imported, if it can be at all."""
    loaded = sys.modules[module]
    spec = getattr(loaded, "__spec__", None)
    file = getattr(loaded, "__file__", None)
    file = str(Path(file).absolute()) if isinstance(file, str) and Path(file).is_file() else None
    if module == "__main__":
        if spec is not None and spec.name != "__main__":  # python -m package.module
            return Name(spec.name, file, qualname, module)
        return None if file is None else Name(SCRIPT, file, qualname, module)
    if file is None and spec is None:  # made by hand: there is nothing to import
        return None
    return Name(module, file, qualname, module)


def _what(action: Any) -> str:
    """Say what keeps an action from being found."""
    if isinstance(action, types.MethodType):
        return "a method of an object that no module holds by name"
    qualname = getattr(action, "__qualname__", None)
    if not isinstance(qualname, str):
        return f"an object of {type(action).__qualname__} that no module holds by name"
    if qualname.endswith("<lambda>"):
        return "a lambda"
    if "<locals>" in qualname:
        return "a function that is defined inside another"
    module = getattr(action, "__module__", None)
    if _held(str(module), qualname) is action:
        return "defined in an interactive session, not in a file"
    return f"not what '{qualname}' means in its module (has a decorator taken its name?)"


def load(name: Name) -> Any:
    """Import what an address names, in a worker.  Raises whatever the import raises."""
    _loading.set()
    try:
        found: Any = _module(name)
    finally:
        _loading.clear()
    for part in name.qualname.split("."):
        found = getattr(found, part)
    return found


def loading() -> bool:
    """Tell whether this process is a worker that is just importing an action."""
    return _loading.is_set()


def _module(name: Name) -> types.ModuleType:
    try:
        spec = importlib.util.find_spec(name.module)
    except (ImportError, ValueError):
        spec = None
    if name.file is None or (spec is not None and _same_file(spec.origin, name.file)):
        return importlib.import_module(name.module)
    # Loaded from its path in the first place (a workflow given to the command line, a script),
    # or its name means something else here.
    loaded = sys.modules.get(name.module)
    if loaded is not None and _same_file(getattr(loaded, "__file__", None), name.file):
        return loaded
    own = name.module if loaded is None else SCRIPT
    spec = importlib.util.spec_from_file_location(own, name.file)
    if spec is None:  # a script without .py
        loader = SourceFileLoader(own, name.file)
        spec = importlib.util.spec_from_file_location(own, name.file, loader=loader)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module can be loaded from {Path(name.file).name}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[own] = module
    spec.loader.exec_module(module)
    return module


def _same_file(one: str | None, other: str) -> bool:
    if one is None:
        return False
    try:
        return one == other or Path(one).samefile(other)
    except OSError:
        return False
