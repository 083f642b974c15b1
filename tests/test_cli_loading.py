"""What `kairos run` may load, how it is found, and what is said when it is not."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from kairos.cli.finding import ENVIRONMENT
from kairos.cli.loading import Unloadable, load
from kairos.cli.output import Stop
from kairos.exceptions import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """\
from kairos import Step, Workflow
wf = Workflow("one", [Step("a", lambda ctx: 1)])
"""
TRAP = "raise AssertionError('this was executed')\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return folder


def write(path: Path, text: str = WORKFLOW) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refused(target: str, *, workflows_dir: str | None = None) -> str:
    with pytest.raises(Stop) as stop:
        load(target, workflows_dir=workflows_dir)
    assert not isinstance(stop.value, Unloadable), stop.value
    assert stop.value.code == 2
    return str(stop.value)


@pytest.mark.parametrize(
    "target",
    [
        "flow_one.py",
        "./flow_one.py",
        "flow_one.py:wf",
        "flow_one",
        "flow_one:wf",
        "sub/../flow_one.py",
        "parcel/flow_two.py",
        "parcel.flow_two:wf",
        "parcel",
        "parcel/__init__.py",
        "plain/flow_three.py",
        "plain.flow_three",
        "my-flow.py",
    ],
)
def test_a_workflow_is_found_by_its_file_or_module(root: Path, target: str) -> None:
    write(root / "flow_one.py")
    write(root / "my-flow.py")
    write(root / "parcel/__init__.py")
    write(root / "parcel/flow_two.py", "from . import wf\nfrom .part import x\n")
    write(root / "parcel/part.py", "x = 1\n")
    write(root / "plain/flow_three.py")
    (root / "sub").mkdir()
    assert load(target).one().name == "one"


def test_what_lies_beside_the_file_can_be_imported(root: Path) -> None:
    write(root / "deep/part_of_it.py", "NAME = 'beside'\n")
    write(
        root / "deep/flow.py",
        "from part_of_it import NAME\nfrom kairos import Step, Workflow\n"
        "wf = Workflow(NAME, [Step('a', lambda ctx: 1)])\n",
    )
    assert load("deep/flow.py").one().name == "beside"


def test_a_script_is_not_run_as_one_and_does_not_see_our_arguments(root: Path) -> None:
    write(
        root / "script.py",
        f"import sys\nassert len(sys.argv) == 1\n{WORKFLOW}\n"
        f"if __name__ == '__main__':\n    {TRAP}",
    )
    assert load("script.py").one().name == "one"


def test_a_file_is_read_anew_each_time(root: Path) -> None:
    write(root / "flow.py")
    assert load("flow.py").one().name == "one"
    write(root / "flow.py", WORKFLOW.replace('"one"', '"another"'))
    assert load("flow.py").one().name == "another"


@pytest.mark.parametrize("how", ["option", "environment"])
@pytest.mark.parametrize("target", ["flow.py", "flow", "../there/flow.py"])
def test_other_folders_are_named_by_option_or_environment(
    root: Path, how: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = write(root.parent / "there/flow.py").parent
    if how == "environment":
        monkeypatch.setenv(ENVIRONMENT, f"{root.parent / 'gone'}{os.pathsep}{there}")
    given = str(there) if how == "option" else None
    assert load(target, workflows_dir=given).one().name == "one"


# --- refused before anything of it runs


def test_a_file_outside_is_refused_unexecuted(root: Path) -> None:
    outside = write(root.parent / "outside.py", TRAP)
    for target in ("../outside.py", str(outside), f"{outside}:wf"):
        assert "lies outside the folders" in refused(target)


def test_a_link_that_leads_outside_is_refused_unexecuted(root: Path) -> None:
    outside = write(root.parent / "outside.py", TRAP)
    (root / "link.py").symlink_to(outside)
    for target in ("link.py", "link", "link:wf"):
        assert "lies outside the folders" in refused(target)


def test_a_link_that_stays_inside_is_followed(root: Path) -> None:
    (root / "link.py").symlink_to(write(root / "deep/flow.py"))
    assert load("link.py").one().name == "one"


def test_a_linked_folder_that_leads_outside_is_refused(root: Path) -> None:
    write(root.parent / "there/flow.py", TRAP)
    (root / "deep").symlink_to(root.parent / "there")
    for target in ("deep/flow.py", "deep.flow"):
        assert "lies outside the folders" in refused(target)


@pytest.mark.parametrize("target", ["parcel/inner/flow.py", "parcel.inner.flow", "parcel.inner"])
@pytest.mark.parametrize("linked", ["parcel/__init__.py", "parcel/inner/__init__.py"])
def test_a_package_whose_init_lies_outside_is_refused(root: Path, target: str, linked: str) -> None:
    outside = write(root.parent / "outside.py", TRAP)
    for each in ("parcel/__init__.py", "parcel/inner/__init__.py"):
        if each == linked:
            (root / each).parent.mkdir(parents=True, exist_ok=True)
            (root / each).symlink_to(outside)
        else:
            write(root / each, TRAP)
    write(root / "parcel/inner/flow.py", TRAP)
    assert "lies outside the folders" in refused(target)


def test_the_folder_itself_is_never_taken_for_a_package(root: Path) -> None:
    write(root.parent / "__init__.py", TRAP)
    write(root / "__init__.py", TRAP)
    write(root / "flow.py")
    assert load("flow.py").one().name == "one"


@pytest.mark.parametrize("target", ["os", "json.decoder", "sys", "json"])
def test_a_module_of_pythons_own_is_not_run(root: Path, target: str) -> None:
    assert "Python's own" in refused(target)


@pytest.mark.parametrize("target", ["pytest", "kairos", "kairos.workflow", "typer.main"])
def test_a_module_that_is_installed_elsewhere_is_not_run(root: Path, target: str) -> None:
    assert "installed elsewhere" in refused(target)


@pytest.mark.parametrize("name", ["json", "queue"])
def test_a_file_that_would_hide_a_module_of_python_is_refused(root: Path, name: str) -> None:
    write(root / f"{name}.py", TRAP)
    assert "rename the file" in refused(f"{name}.py")


@pytest.mark.parametrize("name", ["pytest", "kairos"])
def test_a_file_named_like_a_module_in_use_is_refused(root: Path, name: str) -> None:
    write(root / f"{name}.py", TRAP)
    assert "rename the file" in refused(f"{name}.py")


# --- nothing there


@pytest.mark.parametrize(
    "target, said",
    [
        ("flwo.py", "did you mean 'flow.py'?"),
        ("flwo", "did you mean 'flow'?"),
        ("parcel.flwo", "did you mean 'flow'?"),
        ("gone/flow.py", "no such file: gone/flow.py"),
        ("parcel/", "parcel/ is a folder"),
        ("./notes.txt", "is no Python file"),
        ("flow-er", "did you mean 'flow.py'?"),
        ("", "which workflow?"),
        (":wf", "which workflow?"),
        ("flow.py:", "cannot be the name"),
        ("flow.py:a-b", "cannot be the name"),
        ("bad\0.py", "which workflow?"),
        ("loop.py", "loop.py"),
        ("a\x1b[31m.py", "a\\x1b[31m.py"),
    ],
)
def test_what_is_not_there_is_said_with_the_nearest_name(
    root: Path, target: str, said: str
) -> None:
    write(root / "flow.py", TRAP)
    write(root / "parcel/__init__.py", TRAP)
    write(root / "parcel/flow.py", TRAP)
    write(root / "notes.txt", TRAP)
    (root / "loop.py").symlink_to(root / "loop.py")
    told = refused(target)
    assert said in told
    assert "\x1b" not in told


def test_a_workflows_dir_that_is_none_is_said(root: Path) -> None:
    assert "no folder: gone" in refused("flow.py", workflows_dir="gone")


# --- its own faults


@pytest.mark.parametrize(
    "source, said",
    [
        ("x = 1\ndef f(:\n", ['flow.py", line 2', "    def f(:\n          ^", "SyntaxError"]),
        ("import part_two\n", ['part_two.py", line 1', "^", "SyntaxError"]),
        ("def go():\n    return 1 / 0\ngo()\n", ["line 3, in <module>", "ZeroDivisionError"]),
        ("import json\njson.loads('{')\n", ["line 2, in <module>", "JSONDecodeError"]),
        ("import nothing_of_the_kind\n", ["ModuleNotFoundError"]),
        ("import sys\nsys.exit(3)\n", ["ended the program", "__main__"]),
        ("raise ValueError('\\x1b[2J')\n", ["\\x1b[2J"]),
        ("raise ExceptionGroup('two', [ValueError('a'), KeyError('b')])\n", ["ValueError: a"]),
        ("raise ValueError('sk-ant-api03-" + "abcdefgh" * 4 + "')\n", ["ValueError"]),
    ],
)
def test_a_module_that_fails_is_told_with_its_own_frames_only(
    root: Path, source: str, said: list[str]
) -> None:
    write(root / "flow.py", source)
    write(root / "part_two.py", "(\n")
    with pytest.raises(Unloadable) as stop:
        load("flow.py")
    told = str(stop.value)
    assert [each for each in said if each not in told] == []
    for foreign in ("importlib", "loading.py", "decoder.py", "\x1b", "sk-ant-api03-abcdefgh"):
        assert foreign not in told
    assert "flow" not in sys.modules


def test_a_declaration_that_is_refused_is_told_as_kairos_says_it(root: Path) -> None:
    write(root / "flow.py", "from kairos import Step\nStep('a b', print)\n")
    with pytest.raises(Unloadable) as stop:
        load("flow.py")
    assert isinstance(stop.value.cause, ConfigError)
    assert "flow.py:2" in str(stop.value)
    assert "Traceback" not in str(stop.value)


def test_nul_bytes_and_other_encodings_are_told(root: Path) -> None:
    for raw in (b"x = 1\0\n", b"x = '\xff'\n"):
        (root / "flow.py").write_bytes(raw)
        with pytest.raises(Unloadable, match=r"no valid Python|failed when"):
            load("flow.py")


# --- which workflow

SEVERAL = WORKFLOW + 'same = wf\nother = Workflow("two", [Step("b", print)])\nlimit = 3\n'


@pytest.mark.parametrize(
    "source, target, said",
    [
        ("x = 1\n", "flow.py", ["no workflow in flow.py", "Workflow("]),
        (
            "from kairos import step\n@step\ndef fetch() -> int:\n    return 1\n",
            "flow.py",
            ["the steps fetch", "steps=[fetch]"],
        ),
        (SEVERAL, "flow.py", ["2 workflows", "wf, other", "flow.py:wf"]),
        (SEVERAL, "flow.py:ohter", ["did you mean 'other'?", "no such name"]),
        (SEVERAL, "flow.py:limit", ["found: int", "wf, other"]),
        ("x = 1\n", "flow.py:x", ["found: int", "Workflow("]),
    ],
)
def test_no_workflow_or_several_are_told_with_how_to_choose(
    root: Path, source: str, target: str, said: list[str]
) -> None:
    write(root / "flow.py", source)
    with pytest.raises(Stop) as stop:
        load(target).one()
    assert [each for each in said if each not in str(stop.value)] == []


def test_one_of_several_is_chosen_by_its_name(root: Path) -> None:
    write(root / "flow.py", SEVERAL)
    assert load("flow.py:other").one().name == "two"
    assert list(load("flow.py").every()) == ["wf", "other"]
