"""The rules of tests/architecture.py hold for the tree, and each notices what breaks it."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import architecture

TREE = architecture.sources()
STANDARD = frozenset(sys.stdlib_module_names)

SDKS = ["anthropic", "dask", "distributed", "google.genai", "mcp", "openai", "opentelemetry"]


def test_every_module_stands_on_a_floor() -> None:
    assert not architecture.homeless(TREE), (
        "enter it in FLOORS or WINGS of tests/architecture.py, "
        "on the lowest floor that has all it imports"
    )


def test_imports_point_down() -> None:
    assert architecture.upward(TREE) == []


def test_imports_close_no_circle() -> None:
    assert architecture.circles(TREE) == []


def test_extras_are_imported_on_first_use() -> None:
    assert architecture.extras_at_start(TREE, STANDARD) == []


def test_nothing_runs_text_or_bytes_as_code() -> None:
    assert architecture.dangerous(TREE) == []


def test_public_names_are_listed_and_documented() -> None:
    assert architecture.unlisted(TREE) == []


@pytest.mark.parametrize(
    "module", [name for name in TREE if not name.endswith(("__main__", "kairos.cli"))]
)
def test_every_listed_name_is_there(module: str) -> None:
    loaded = importlib.import_module(module)
    missing = [name for name in getattr(loaded, "__all__", []) if not hasattr(loaded, name)]
    assert missing == []


@pytest.mark.parametrize(
    "statement, heavy",
    [
        (
            "import kairos",
            ["networkx", "structlog", "tenacity", "pydantic", "rich", "typer", "asyncio", *SDKS],
        ),
        ("from kairos import Workflow, Step", ["networkx", "rich", "typer", *SDKS]),
        ("import kairos.adapters", ["networkx", "rich", "typer", *SDKS]),
    ],
)
def test_what_is_heavy_is_loaded_on_first_use(statement: str, heavy: list[str]) -> None:
    script = f"{statement}\nimport sys\nprint(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=architecture.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.stdout.split()) == ("", [])


@pytest.mark.parametrize(
    "module, source",
    [
        ("kairos.enums", "from kairos.step import Step"),
        ("kairos.enums", "from kairos import step"),
        ("kairos.enums", "def late():\n    import kairos.step"),
        ("kairos.enums", "if TYPE_CHECKING:\n    from kairos.step import Step"),
        ("kairos.enums", "import importlib\nimportlib.import_module('kairos.step')"),
        ("kairos.machine", "from kairos.journal.sqlite import SQLiteJournal"),
        ("kairos.journal", "from kairos.backends import inline"),
        ("kairos.journal.sqlite", "import kairos.workflow"),
        ("kairos.state", "from kairos import Workflow"),
    ],
)
def test_an_arrow_that_points_up_is_noticed(module: str, source: str) -> None:
    tree = {"kairos": "", "kairos.step": "", "kairos.backends.inline": "", module: source}
    assert len(architecture.upward(tree)) == 1


@pytest.mark.parametrize(
    "module, source",
    [
        ("kairos.step", "from kairos.enums import StepStatus"),
        ("kairos.step", "from kairos.state import StateStore"),
        ("kairos.journal.sqlite", "from kairos.journal.rows import Row\nimport kairos.state"),
        ("kairos.logger", "from kairos.logs.sinks import ConsoleSink"),
        ("kairos.workflow", "def late():\n    from kairos.journal import MemoryJournal"),
        ("kairos", "def __getattr__(name):\n    import kairos.workflow"),
    ],
)
def test_an_arrow_that_points_down_is_let_be(module: str, source: str) -> None:
    assert architecture.upward({module: source}) == []


def test_a_circle_is_noticed_even_through_a_function() -> None:
    tree = {
        "kairos.state": "from kairos.step import Step",
        "kairos.step": "def late():\n    from kairos.failure import FailurePolicy",
        "kairos.failure": "import kairos.state",
        "kairos.enums": "",
    }
    assert architecture.circles(tree) == [["kairos.failure", "kairos.state", "kairos.step"]]


def test_a_module_on_no_floor_is_noticed() -> None:
    tree = {"kairos": "", "kairos.attic": "", "kairos.attic.box": "", "kairos.step": ""}
    assert architecture.homeless(tree) == {"attic"}


@pytest.mark.parametrize(
    "source, faults",
    [
        ("import openai", 1),
        ("try:\n    import openai\nexcept ImportError:\n    openai = None", 1),
        ("import rich", 1),
        ("def call():\n    import openai", 0),
        ("if TYPE_CHECKING:\n    import openai", 0),
        ("import json, pydantic", 0),
    ],
)
def test_an_extra_at_a_modules_top_is_noticed(source: str, faults: int) -> None:
    assert len(architecture.extras_at_start({"kairos.step": source}, STANDARD)) == faults


@pytest.mark.parametrize(
    "source, faults",
    [
        ("import pickle", 1),
        ("def late():\n    from pickle import loads", 1),
        ("exec('1')", 1),
        ("import marshal\nmarshal.loads(b'')", 1),
        ("import marshal\nmarshal.dumps(1)", 0),
        ("schema.exec('1')", 0),
    ],
)
def test_what_runs_text_as_code_is_noticed(source: str, faults: int) -> None:
    assert len(architecture.dangerous({"kairos.step": source})) == faults


@pytest.mark.parametrize(
    "source, faults",
    [
        ('"""A room."""\n__all__ = ["f"]\ndef f():\n    """Do."""', 0),
        ('"""A room."""\n__all__ = []\ndef _f(): pass', 0),
        ('"""A room."""\n__all__ = []\ndef f():\n    """Do."""', 1),
        ('"""A room."""\n__all__ = ["f"]\ndef f(): pass', 1),
        ('"""A room."""', 1),
        ("__all__ = []", 1),
    ],
)
def test_an_unlisted_or_undocumented_name_is_noticed(source: str, faults: int) -> None:
    assert len(architecture.unlisted({"kairos.step": source})) == faults


def test_a_private_module_lists_nothing() -> None:
    assert architecture.unlisted({"kairos._version": '__version__ = "0"'}) == []
