"""Which files have workflows, and each workflow as a test that fails as `kairos validate` does."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from kairos.cli.expected import expected_inputs, named
from kairos.cli.folders import speaks_of_workflows
from kairos.cli.loading import load
from kairos.cli.lock import LockOptions, found_in_lock, with_findings
from kairos.cli.output import Stop, clean
from kairos.logs.sinks import printable
from kairos.verify.lock import Compatibility
from kairos.verify.text import render_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType

    from kairos.verify.report import Report
    from kairos.workflow import Workflow

__all__ = ["WorkflowFile", "WorkflowItem", "Workflows"]

_APART = frozenset({"site-packages", "__pycache__", "node_modules", "build", "dist"})


class _Settings(NamedTuple):
    """What was asked for, by option or by setting."""

    strict: bool
    lock: LockOptions | None


class Workflows:
    """The hooks of pytest that find workflows; one for a session."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._imports = _Imports(config.rootpath)
        self.settings = _settings(config)
        self._patterns: list[str] = config.getini("kairos_workflows")

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> WorkflowFile | None:
        """Take a file that speaks of workflows, and is no test file itself."""
        # one that is named on the command line comes by the hook below
        if parent.session.isinitpath(file_path) or not self._is_ours(file_path):
            return None
        return self._file(file_path, parent)

    def pytest_pycollect_makemodule(
        self, module_path: Path, parent: pytest.Collector
    ) -> WorkflowFile | None:
        """Take a file that is named on the command line and would be imported as tests."""
        return self._file(module_path, parent) if self._is_ours(module_path) else None

    @pytest.hookimpl(tryfirst=True)  # before anything is deselected
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> None:
        """Add the workflows of the configured files, unless paths were given to be run."""
        if self._paths_given:
            return
        known = {item.path for item in items if isinstance(item, WorkflowItem)}
        for path in self._configured:
            if path not in known:
                items += self._file(path, session).collect()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of pytest-xdist what it cannot see: it is always given paths."""
        node.workerinput["kairos_paths_given"] = self._paths_given

    @cached_property
    def _paths_given(self) -> bool:
        told: dict[str, Any] = getattr(self._config, "workerinput", {})
        source = self._config.args_source is pytest.Config.ArgsSource.ARGS
        return bool(told.get("kairos_paths_given", source))

    def _file(self, path: Path, parent: Any) -> WorkflowFile:
        made: WorkflowFile = WorkflowFile.from_parent(parent, path=path)
        made.imports, made.settings = self._imports, self.settings
        return made

    def _is_ours(self, path: Path) -> bool:
        if path.suffix != ".py" or path.name == "conftest.py":
            return False
        return (not self._is_test(path) or path in self._configured) and speaks_of_workflows(path)

    def _is_test(self, path: Path) -> bool:
        patterns: Iterable[str] = self._config.getini("python_files")
        return any(fnmatch(path.name, each) or path.match(each) for each in patterns)

    @cached_property
    def _configured(self) -> list[Path]:
        root, found = self._config.rootpath, set[Path]()
        for pattern in self._patterns:
            try:
                found |= {path for path in root.glob(pattern) if path.suffix == ".py"}
            except (NotImplementedError, ValueError, IndexError) as error:
                raise pytest.UsageError(
                    f"kairos_workflows: {pattern!r} is no pattern below {root}: {error}"
                ) from None
        return sorted(path for path in found if _is_own(path, root) and speaks_of_workflows(path))


def _is_own(path: Path, root: Path) -> bool:
    folders = path.relative_to(root).parts[:-1]
    return not any(name in _APART or name.startswith(".") for name in folders)


def _settings(config: pytest.Config) -> _Settings:
    strict = config.getoption("kairos_strict")
    given, set_ = config.getoption("kairos_lock"), str(config.getini("kairos_lock"))
    # an option is seen from where pytest was called, a setting from the root
    file = (
        config.invocation_params.dir / given if given else config.rootpath / set_ if set_ else None
    )
    try:
        wanted = Compatibility(config.getini("kairos_compat"))
    except ValueError:
        told = ", ".join(each.value for each in Compatibility)
        raise pytest.UsageError(f"kairos_compat is one of {told}") from None
    return _Settings(
        config.getini("kairos_strict") if strict is None else strict,
        None if file is None else LockOptions(str(file), compatibility=wanted),
    )


class WorkflowFile(pytest.File):
    """A file with workflows; imported when it is collected, since only then their names are known.

    One that cannot be imported has a single test, which fails with its error.
    """

    imports: _Imports
    settings: _Settings

    def collect(self) -> list[pytest.Item]:
        """Return a test for each workflow."""
        try:
            found = self.imports.workflows(self.path)
        except Stop as stop:
            return [WorkflowItem.of(self, "import", stop)]
        names = [workflow.name for workflow in found.values()]
        return [
            WorkflowItem.of(
                self,
                workflow.name
                if names.count(workflow.name) == 1 and _is_word(workflow.name)
                else variable,
                workflow,
            )
            for variable, workflow in found.items()
        ]


def _is_word(name: str) -> bool:
    return name.isprintable() and not set(name) & set("[]:/\\")


class WorkflowItem(pytest.Item):
    """One workflow; `subject` is the workflow, or why its file could not be imported."""

    subject: Workflow | Stop
    settings: _Settings

    @classmethod
    def of(cls, parent: WorkflowFile, name: str, subject: Workflow | Stop) -> WorkflowItem:
        """Return the test of a workflow."""
        made: WorkflowItem = cls.from_parent(parent, name=name)
        made.subject, made.settings = subject, parent.settings
        made.add_marker("kairos")
        return made

    def runtest(self) -> None:
        """Validate the workflow, and fail where something speaks against it."""
        if isinstance(self.subject, Stop):
            raise _RefusedError(clean(str(self.subject)).removeprefix("kairos: "))
        report, strict = self._report(self.subject), self.settings.strict
        coverage = report.coverage
        self.user_properties += [
            (f"kairos_{name}", value) for name, value in coverage._asdict().items()
        ]
        text = render_report(report, color=False).rstrip("\n")
        told = f"{text}\ninputs: {_inputs_of(self.subject)}"
        if report.fails(strict=strict):
            raise _RefusedError(told)
        if report.findings:
            self.add_report_section("call", "kairos", told)

    def _report(self, workflow: Workflow) -> Report:
        with self.parent_file.imports.within(self.path):
            report = workflow.verify()
            if self.settings.lock is None:
                return report
            found = found_in_lock(self.settings.lock, str(self.path), workflow)
            return with_findings(report, workflow, found)

    @property
    def parent_file(self) -> WorkflowFile:
        """The file that it stands in."""
        assert isinstance(self.parent, WorkflowFile)  # noqa: S101 - it is made by one only
        return self.parent

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return what was found, as `kairos validate` prints it, and no stack of ours."""
        if isinstance(excinfo.value, _RefusedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return where the workflow is declared."""
        place = None if isinstance(self.subject, Stop) else self.subject.place
        own = place is not None and Path(place.file) == self.path
        return self.path, place.line - 1 if own and place else None, self.name


class _RefusedError(Exception):
    """A workflow is not as it should be; the text is the whole story."""


def _inputs_of(workflow: Workflow) -> str:
    nothing = "none" if workflow.declared_inputs is not None else "none that are declared"
    return printable(named(expected_inputs(workflow))) or nothing


class _Imports:
    """Imports workflow modules, and leaves the tests' own imports as they are."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._brought: dict[Path, dict[str, ModuleType]] = {}  # by what their imports start from
        self._seen: dict[tuple[object, ...], Path] = {}

    def workflows(self, path: Path) -> dict[str, Workflow]:
        """Return the workflows of a module, save those that another file has shown already.

        Raises Stop where it cannot be imported.
        """
        with self.within(path):
            found = load(str(path), workflows_dir=str(self._root)).workflows
        return {
            variable: workflow
            for variable, workflow in found.items()
            if self._seen.setdefault(_identity(path, variable, workflow), path) == path
        }

    @contextmanager
    def within(self, path: Path) -> Iterator[None]:
        """Have the modules of a file's own folder imported, and take them out again.

        Two folders may have modules of one name, and a test may mean neither of them.
        """
        base, searched, before = _base_of(path), list(sys.path), dict(sys.modules)
        brought = self._brought.setdefault(base, {})
        for name, module in brought.items():
            sys.modules.setdefault(name, module)
        try:
            yield
        finally:
            sys.path[:] = searched
            now = dict(sys.modules)
            for name, module in now.items():
                if name not in before and _is_below(module, base):
                    brought[name] = module
                    if not _is_found(name, now):
                        del sys.modules[name]
            for name, module in before.items():  # what the loader took out
                sys.modules.setdefault(name, module)


def _is_found(name: str, modules: Mapping[str, Any]) -> bool:
    """Say whether a plain import would find this very module."""
    top = name.partition(".")[0]
    try:
        spec = PathFinder.find_spec(top)
    except (ImportError, AttributeError, ValueError):
        return False
    file = getattr(modules.get(top), "__file__", None)
    return spec is not None and spec.origin is not None and spec.origin == file


def _identity(path: Path, variable: str, workflow: Workflow) -> tuple[object, ...]:
    place = workflow.place
    if place is None:
        return (path, variable)
    return (place.file, place.line, place.column, workflow.name)


def _base_of(path: Path) -> Path:
    """Return the folder that a file's imports start from: that of its outermost package."""
    base = path.parent
    while (base / "__init__.py").is_file():
        base = base.parent
    return base


def _is_below(module: Any, base: Path) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and Path(file).is_relative_to(base) and _is_own(Path(file), base)
