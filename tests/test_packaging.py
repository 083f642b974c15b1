"""What is built is what stands in the tree, and it works where only it is installed."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

import architecture

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = architecture.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NOT_SOURCE = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "build", "dist", "htmlcov", "runs", "tests"
)

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command to its end and return what it printed; the tree's own paths are not seen."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def closure(names: Iterable[str]) -> set[str]:
    """Return the distributions that these need, themselves included, without any extra."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        needed = Requirement(waiting.pop())
        if needed.name in found or (needed.marker and not needed.marker.evaluate({"extra": ""})):
            continue
        found.add(needed.name)
        waiting += importlib.metadata.requires(needed.name) or []
    return found


def environment(folder: Path, requirements: Iterable[str]) -> Path:
    """Make a virtual environment that sees these requirements and no others; return its python.

    They are linked from the environment that runs the tests, so nothing is downloaded.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    where = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    site = Path(where.strip())
    for name in closure(requirements):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}:
            source = Path(str(distribution.locate_file(top)))
            if source.exists() and top != "__pycache__":
                (site / top).symlink_to(source)
    return python


def install(python: Path, wheel: Path) -> None:
    """Install with the pip of the environment that runs the tests, without an index."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "-q", "--no-deps", "--no-index", wheel, cwd=wheel.parent)


def unpacked(built: Path, folder: Path) -> Path:
    """Unpack the source distribution below `folder`, and return its tree."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.name.startswith("kairos_ai-"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the tree, so that building leaves nothing in the checkout."""
    copy = tmp_path_factory.mktemp("packaging") / "source"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=NOT_SOURCE)
    return copy


@pytest.fixture(scope="module")
def built(source: Path) -> Path:
    """Build the source distribution and, from it, the wheel; return their folder."""
    out = source.parent / "dist"
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", out)
    run(*build, source, cwd=source.parent)
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the python of an environment that holds the wheel and the core dependencies alone."""
    folder = tmp_path_factory.mktemp("installed")
    python = environment(folder, PROJECT["project"]["dependencies"])
    install(python, wheel)
    return python


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(
    wheel: Path, source: Path
) -> None:
    expected = {
        str(Path("kairos", "adapters" if top == "adapters" else "", path.relative_to(source / top)))
        for top in ("kairos", "adapters")
        for path in (source / top).rglob("*")
        if path.is_file() and (source / "kairos" / "adapters") not in path.parents
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == expected, "name the package or its data under [tool.setuptools]"


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    assert "\nName: kairos-ai\n" in text
    assert "\nLicense-Expression: Apache-2.0\n" in text
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_offers_what_comes_through_the_door_of_extensions(
    wheel: Path, installed: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        listed = next(name for name in names if name.endswith(".dist-info/entry_points.txt"))
        text = archive.read(listed).decode()
    for group, offered in PROJECT["project"]["entry-points"].items():
        block = text.partition(f"[{group}]\n")[2].partition("\n[")[0]
        for name, value in offered.items():
            assert f"{name} = {value}" in block.splitlines()
    script = """
from kairos.extensions import GROUPS, extensions, load_extension
for group in GROUPS:
    for one in extensions(group):
        print(one.full_name, load_extension(group, one.name).__name__)
"""
    printed = run(installed, "-W", "error", "-c", script, cwd=tmp_path).splitlines()
    assert "kairos-ai/claude ClaudeAdapter" in printed
    assert len(printed) == sum(
        len(offered)
        for group, offered in PROJECT["project"]["entry-points"].items()
        if group.startswith("kairos.")
    )


def test_every_module_imports_where_no_extra_is_installed(installed: Path, tmp_path: Path) -> None:
    alone = ("kairos.cli", "kairos.pytest_plugin.")  # typer and pytest are what they are there for
    modules = [name for name in architecture.sources() if not name.startswith(alone)]
    script = f"import importlib\nfor name in {modules!r}: importlib.import_module(name)"
    run(installed, "-W", "error", "-c", script, cwd=tmp_path)


def test_the_wheel_finds_the_adapters_inside_kairos(installed: Path, tmp_path: Path) -> None:
    script = "import kairos.adapters.base as base; print(base.__name__, base.__file__)"
    name, file = run(installed, "-c", script, cwd=tmp_path).split()
    assert name == "kairos.adapters.base"
    assert Path(file).parts[-3:] == ("kairos", "adapters", "base.py")


@pytest.mark.parametrize("origin", ["checkout", "source distribution"])
@pytest.mark.parametrize("inside", [False, True], ids=["elsewhere", "from its own folder"])
def test_an_editable_install_loads_the_adapters_once(
    origin: str, source: Path, built: Path, tmp_path: Path, *, inside: bool
) -> None:
    tree = source if origin == "checkout" else unpacked(built, tmp_path)
    python = environment(tmp_path / "venv", PROJECT["project"]["dependencies"])
    editable = (
        "from setuptools import build_meta; import sys; build_meta.build_editable(sys.argv[1])"
    )
    run(sys.executable, "-c", editable, tmp_path, cwd=tree)
    install(python, next(tmp_path.glob("*.whl")))

    script = """
import sys
import kairos.adapters, kairos.adapters.base
from kairos.adapters import ModelResponse, base
assert base is kairos.adapters.base is sys.modules["kairos.adapters.base"]
assert base.ModelResponse is ModelResponse
assert "adapters" not in sys.modules
print(base.__file__)
"""
    printed = run(python, "-c", script, cwd=tree if inside else tmp_path)
    assert Path(printed.strip()).samefile(tree / "adapters" / "base.py")


def test_the_link_to_the_adapters_is_a_link() -> None:
    link = ROOT / "kairos" / "adapters"
    assert link.is_symlink()
    assert link.readlink() == Path("..", "adapters")


def test_no_extra_and_no_dependency_rules_out_another() -> None:
    tenacity = next(
        needed
        for needed in map(Requirement, PROJECT["project"]["dependencies"])
        if needed.name == "tenacity"
    )
    assert tenacity.specifier.contains("9.1.4"), "google-genai needs tenacity below 9.2"


def test_all_is_every_extra_a_user_may_want() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    others = {"all", "bench", "demo", "dev", "pydantic"}
    assert Requirement(everything).extras == set(extras) - others


def test_constraints_pin_versions_and_name_no_index() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(str(Requirement(pin).specifier).startswith("==") for pin in pins)
    assert not [pin for pin in pins if "://" in pin or "--" in pin]
