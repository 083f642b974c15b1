"""The floors of the house, and what stands on them, read from the source without running it.

A module is named here by the first part of its name below `kairos`: `journal.sqlite` stands where
`journal` stands.  Imports point down or stay on their floor, and never close a circle, wherever
they are written: at the top, in a function, or for type checkers only.  An arrow that must point
elsewhere is entered under ALLOWED with its reason.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]

# From the ground up.  A new module is entered on the lowest floor that has all it imports.
FLOORS: dict[str, set[str]] = {
    "words": {
        "_version",
        "addresses",
        "budget",
        "caching",
        "enums",
        "events",
        "exceptions",
        "extensions",
        "models",
        "ports",
        "redaction",
        "reserving",
        "security",
        "skip",
        "source",
        "spending",
        "sqlite_files",
    },
    "contracts": {
        "attempt",
        "attempts",
        "config",
        "context",
        "contracts",
        "declaring",
        "failure",
        "hints",
        "keywords",
        "references",
        "results",
        "schema",
        "signature",
        "state",
        "step",
        "step_fold",
        "validators",
        "workflow_result",
    },
    "plan": {"plan", "plan_faults", "verify"},
    "machine": {"commands", "fan", "judge", "machine"},
    "executor": {"engine"},
    "workflow": {"defaults", "executor", "run", "wiring", "workflow", "workflow_options"},
    "top": {"__main__", "cli", "pytest_plugin", "testing"},
}

# Beside the floors, each with its rooms: a wing imports words, contracts and its own rooms only.
WINGS: dict[str, set[str]] = {
    "adapters": {"adapters"},
    "agents": {"agents"},
    "backends": {"backends"},
    "caches": {"caches"},
    "dashboard": {"dashboard"},
    "evaluation": {"evaluation"},
    "guards": {"guards"},
    "journal": {"journal"},
    "logger": {"logger", "logs"},
}
WING_FLOORS = ("words", "contracts")

# The floors that choose among the wings; the engine below them knows ports only.
CHOOSING_FLOORS = ("workflow", "top")

# (importer, imported) -> why this arrow may point where no other does.
ALLOWED: dict[tuple[str, str], str] = {}

# What a module may import at its top besides the standard library; the rest are extras and are
# imported in the function that needs them.
CORE = {
    "annotated_types",
    "networkx",
    "pydantic",
    "pydantic_core",
    "structlog",
    "tenacity",
    "typing_extensions",
    "typing_inspection",
}
# Where something else may be imported at the top, by module or room.
AT_HOME = {
    "cli": CORE | {"rich", "typer"},  # reached by those who installed it only
    "kairos.pytest_plugin.collecting": CORE | {"pytest"},  # loaded by pytest, with `--kairos` only
}

FORBIDDEN_MODULES = {"cloudpickle", "dill", "jsonpickle", "pickle", "shelve"}
FORBIDDEN_CALLS = {"__import__", "eval", "exec", "marshal.load", "marshal.loads"}


class Import(NamedTuple):
    """One import: the dotted name it asks for, and whether it runs when the module is loaded."""

    importer: str
    imported: str
    line: int
    at_start: bool


def sources() -> dict[str, str]:
    """Return every module of the tree by its full name, the packages' `__init__` by the package's.

    The link kairos/adapters is left out and its target read as `kairos.adapters`.
    """
    found = {}
    for package, folder in (("kairos", ROOT / "kairos"), ("kairos.adapters", ROOT / "adapters")):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            if package == "kairos" and parts[0] == "adapters":
                continue
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join((package, *parts))] = path.read_text(encoding="utf-8")
    return found


def imports(tree: Mapping[str, str]) -> list[Import]:
    """Return every import in the tree; of `from package import module` the module is named."""
    return [found for name, source in tree.items() for found in _imports_of(name, source, tree)]


def _imports_of(importer: str, source: str, tree: Mapping[str, str]) -> Iterator[Import]:
    for node, at_start in _walk(ast.parse(source)):
        for imported in _imported(node, tree):
            yield Import(importer, imported, node.lineno, at_start)


def _imported(node: ast.AST, tree: Mapping[str, str]) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), names=names):
            within = (f"{module}.{alias.name}" for alias in names)
            return [name if name in tree else module for name in within]
        case ast.Call(
            func=ast.Attribute(attr="import_module") | ast.Name(id="import_module"),
            args=[ast.Constant(value=str(module)), *_],
        ):
            return [module]
    return []


def _walk(node: ast.AST, *, at_start: bool = True) -> Iterator[tuple[ast.stmt | ast.expr, bool]]:
    """Give every statement and expression, with whether loading the module runs it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.expr):
            yield child, at_start
        deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
        )
        yield from _walk(child, at_start=at_start and not deferred)


def room(module: str) -> str:
    """Return the part of a module's name that has a floor; the public face has none."""
    return module.removeprefix("kairos").lstrip(".").split(".", 1)[0]


def floor(name: str) -> str | None:
    """Return the floor of a room, or its wing, or None for what was never entered."""
    places = FLOORS | WINGS
    return next((place for place, rooms in places.items() if name in rooms), None)


def homeless(tree: Mapping[str, str]) -> set[str]:
    """Return the rooms that stand on no floor."""
    return {room(module) for module in tree if room(module) and floor(room(module)) is None}


def upward(tree: Mapping[str, str]) -> list[str]:
    """Return every import that points where it must not, in words."""
    faults = []
    for found in imports(tree):
        ours = found.imported.partition(".")[0] == "kairos"
        if not ours or found.importer == "kairos" or found[:2] in ALLOWED:
            continue
        if reason := _refusal(room(found.importer), room(found.imported)):
            faults.append(f"{found.importer}:{found.line} imports {found.imported}: {reason}")
    return faults


def _refusal(importer: str, imported: str) -> str | None:
    if not imported:
        return "the public face is for users; import the module that has the name"
    above, below = floor(importer), floor(imported)
    if above is None or below is None or above == below:
        return None  # no floor at all is told by `homeless`
    if above in WINGS:
        return None if below in WING_FLOORS else "a wing imports words and contracts only"
    if below in WINGS:
        return None if above in CHOOSING_FLOORS else "the engine knows a wing by its port only"
    order = list(FLOORS)
    return f"{above} stands below {below}" if order.index(below) > order.index(above) else None


def circles(tree: Mapping[str, str]) -> list[list[str]]:
    """Return each circle of imports once, as the modules along it."""
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph(
        (found.importer, found.imported)
        for found in imports(tree)
        if found.imported in tree and found.imported != found.importer
    )
    return [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1]


def extras_at_start(tree: Mapping[str, str], standard: frozenset[str]) -> list[str]:
    """Return every import at a module's top of something that may not be installed."""
    faults = []
    for found in imports(tree):
        top = found.imported.split(".", 1)[0]
        allowed = AT_HOME.get(found.importer, AT_HOME.get(room(found.importer), CORE))
        if found.at_start and top != "kairos" and top not in standard | allowed:
            faults.append(f"{found.importer}:{found.line} imports {top} before it is needed")
    return faults


def dangerous(tree: Mapping[str, str]) -> list[str]:
    """Return every use of what would run text or bytes as code."""
    faults = [
        f"{found.importer}:{found.line} imports {found.imported}"
        for found in imports(tree)
        if found.imported.split(".", 1)[0] in FORBIDDEN_MODULES
    ]
    for module, source in tree.items():
        faults += [
            f"{module}:{node.lineno} calls {ast.unparse(node.func)}"
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call) and ast.unparse(node.func) in FORBIDDEN_CALLS
        ]
    return faults


def unlisted(tree: Mapping[str, str]) -> list[str]:
    """Return what is public by its name, and has no `__all__`, no place in it, or no docstring."""
    faults = []
    for module, source in tree.items():
        if any(part.startswith("_") for part in module.split(".")):
            continue
        body = ast.parse(source)
        listed = _listed(body)
        if listed is None:
            faults.append(f"{module} has no __all__")
            continue
        if not ast.get_docstring(body):
            faults.append(f"{module} has no docstring")
        for node in body.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name not in listed and not node.name.startswith("_"):
                faults.append(f"{module}.{node.name}: list it in __all__, or name it _{node.name}")
            if node.name in listed and not ast.get_docstring(node) and not _is_overload(node):
                faults.append(f"{module}.{node.name} has no docstring")
    return faults


def _listed(body: ast.Module) -> set[str] | None:
    for node in body.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="__all__")], value=value)
                | ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value)
            ):
                return set(ast.literal_eval(value))
    return None


def _is_overload(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)
