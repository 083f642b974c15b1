"""`pytest --kairos`: every workflow of a project is a test of its own."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.slow

GOOD = """
from pydantic import BaseModel
from kairos import Workflow, step

class Doc(BaseModel):
    title: str

@step
def fetch(topic: str) -> Doc: ...

@step
def score(fetch: Doc) -> float: ...

wf = Workflow("reviews", [fetch, score], inputs=["topic"])
"""
BAD = """
from pydantic import BaseModel
from kairos import Workflow, step

class Doc(BaseModel):
    title: str

class Text(BaseModel):
    title: int

@step
def fetch() -> Doc: ...

@step
def score(fetch: Text) -> float: ...

wf = Workflow("broken one", [fetch, score], inputs=[])
"""
NOTED = """
from kairos import Step, Workflow
wf = Workflow("noted", [Step("a", lambda ctx: 1)])
"""
SETTINGS = "[pytest]\ntestpaths = tests\nkairos_workflows = src/**/*.py\n"
PLAIN_TEST = "def test_it():\n    assert 1 + 1 == 2\n"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    # in a process of its own, with this plugin and xdist and no other that happens to be installed
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("CI", raising=False)
    pytester.makeini(SETTINGS)
    pytester.mkdir("src")
    pytester.mkdir("tests")
    put(pytester, "tests/test_plain.py", PLAIN_TEST)
    put(pytester, "src/good.py", GOOD)
    return pytester


def put(project: pytest.Pytester, path: str, text: str) -> None:
    file = project.path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    return project.runpytest_subprocess(
        "-p", "kairos.pytest_plugin", "-p", "no:cacheprovider", *options
    )


def test_without_the_option_nothing_is_collected(project: pytest.Pytester) -> None:
    run(project).assert_outcomes(passed=1)


def test_each_workflow_is_a_test_by_its_name(project: pytest.Pytester) -> None:
    done = run(project, "--kairos", "-v")
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(["*src/good.py::reviews PASSED*"])


def test_a_failure_reads_as_the_command_prints_it(project: pytest.Pytester) -> None:
    put(project, "src/bad.py", BAD)
    done = run(project, "--kairos")
    done.assert_outcomes(passed=2, failed=1)
    command = subprocess.run(
        [sys.executable, "-m", "kairos", "validate", "src/bad.py"],
        cwd=project.path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    printed = [line for line in command.stdout.splitlines() if " ms" not in line]
    assert printed
    for line in printed:
        assert line in done.outlines
    assert "Traceback" not in done.stdout.str()
    assert "collecting.py" not in done.stdout.str()


def test_notes_are_shown_and_fail_when_strict(project: pytest.Pytester) -> None:
    put(project, "src/noted.py", NOTED)
    shown = run(project, "--kairos", "-rP")
    shown.assert_outcomes(passed=3)
    shown.stdout.fnmatch_lines(["*KRS204*"])
    run(project, "--kairos", "--kairos-strict").assert_outcomes(passed=2, failed=1)
    project.makeini(f"{SETTINGS}kairos_strict = true\n")
    run(project, "--kairos").assert_outcomes(passed=2, failed=1)


def test_a_module_that_cannot_be_imported_is_one_failure_with_its_own_error(
    project: pytest.Pytester,
) -> None:
    put(project, "src/crash.py", "from kairos import Workflow\n\nvalue = {}['gone']\n")
    put(project, "src/wrong.py", "from kairos import Workflow\nWorkflow('w', [])\n")
    put(project, "src/typo.py", "from kairos import Workflow\ndef (:\n")
    done = run(project, "--kairos")
    done.assert_outcomes(passed=2, failed=3)
    done.stdout.fnmatch_lines(["*crash.py*line 3*", "KeyError: 'gone'"])
    done.stdout.fnmatch_lines(["*SyntaxError*"])
    assert "kairos/cli" not in done.stdout.str()


def test_what_does_not_speak_of_kairos_is_not_imported(project: pytest.Pytester) -> None:
    put(project, "src/other.py", "raise SystemExit('imported')\n")
    put(project, "src/.venv/lib.py", "from kairos import Workflow\nraise SystemExit('imported')\n")
    run(project, "--kairos").assert_outcomes(passed=2)


def test_a_workflow_beside_tests_is_collected_and_a_test_file_is_not(
    project: pytest.Pytester,
) -> None:
    put(project, "tests/flow.py", BAD)
    put(project, "tests/test_flow.py", BAD + PLAIN_TEST)
    done = run(project, "--kairos", "-v")
    done.assert_outcomes(passed=3, failed=1)
    done.stdout.fnmatch_lines(["*tests/flow.py::broken one FAILED*"])


@pytest.mark.parametrize(
    "options, outcomes",
    [
        (["src/good.py"], {"passed": 1}),
        (["src/good.py::reviews"], {"passed": 1}),
        (["src"], {"passed": 1, "failed": 1}),
        (["tests"], {"passed": 1}),
        (["-k", "reviews"], {"passed": 1, "deselected": 2}),
        (["-m", "kairos"], {"passed": 1, "failed": 1, "deselected": 1}),
        (["-m", "not kairos"], {"passed": 1, "deselected": 2}),
        (["-x", "src"], {"failed": 1}),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_paths_and_keywords_select_as_they_always_do(
    project: pytest.Pytester, options: list[str], outcomes: dict[str, int]
) -> None:
    put(project, "src/bad.py", BAD)
    run(project, "--kairos", *options).assert_outcomes(**outcomes)


def test_collecting_alone_runs_nothing(project: pytest.Pytester) -> None:
    put(project, "src/bad.py", BAD)
    done = run(project, "--kairos", "--collect-only", "-q")
    assert done.ret == 0
    done.stdout.fnmatch_lines_random(
        ["src/bad.py::broken one", "src/good.py::reviews", "tests/test_plain.py::test_it"]
    )


def test_workers_collect_the_same(project: pytest.Pytester) -> None:
    put(project, "src/bad.py", BAD)
    done = run(project, "-p", "xdist", "-n", "2", "--kairos")
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines(["*KRS102*"])


def test_a_report_for_machines_has_the_coverage(project: pytest.Pytester) -> None:
    run(project, "--kairos", "--junitxml=report.xml", "-o", "junit_family=xunit1")
    cases = ET.parse(project.path / "report.xml").iter("testcase")  # noqa: S314 - our own
    properties = {
        each.get("name"): each.get("value")
        for case in cases
        if case.get("name") == "reviews"
        for each in case.iter("property")
    }
    assert properties["kairos_proved"] == "1"
    assert int(properties["kairos_edges"] or 0) >= 1


def test_two_folders_may_have_modules_of_one_name(project: pytest.Pytester) -> None:
    put(project, "src/a/flow.py", GOOD)
    put(project, "src/b/flow.py", BAD)
    put(
        project,
        "tests/test_plain.py",
        "import sys\ndef test_it():\n    assert 'flow' not in sys.modules\n",
    )
    done = run(project, "--kairos", "-v")
    done.assert_outcomes(passed=3, failed=1)
    done.stdout.fnmatch_lines(["*src/b/flow.py::broken one FAILED*"])


def test_a_workflow_that_two_modules_hold_is_one_test(project: pytest.Pytester) -> None:
    put(project, "src/again.py", "from good import wf  # kairos: a Workflow\n")
    done = run(project, "--kairos")
    done.assert_outcomes(passed=2)


def test_tests_find_the_module_that_they_mean(project: pytest.Pytester) -> None:
    put(
        project,
        "tests/test_plain.py",
        "import good\ndef test_it():\n    assert good.wf.name == 'reviews'\n",
    )
    project.makeini(f"{SETTINGS}pythonpath = src\n")
    run(project, "--kairos").assert_outcomes(passed=2)


def test_several_workflows_of_a_module_have_names_of_their_own(project: pytest.Pytester) -> None:
    more = GOOD + 'one = Workflow("same", [fetch])\nother = Workflow("same", [score])\n'
    put(project, "src/good.py", more + 'odd = Workflow("a::b[c]", [fetch])\n')
    done = run(project, "--kairos", "--collect-only", "-q")
    done.stdout.fnmatch_lines_random([f"src/good.py::{name}" for name in ("one", "other", "odd")])


def test_a_lock_is_read_and_never_written(project: pytest.Pytester) -> None:
    missing = run(project, "--kairos", "--kairos-lock", "contracts.lock")
    missing.assert_outcomes(passed=1, failed=1)
    missing.stdout.fnmatch_lines(["*KRS120*"])
    assert not (project.path / "contracts.lock").exists()
    subprocess.run(
        [sys.executable, "-m", "kairos", "validate", "src", "--lock", "contracts.lock"],
        cwd=project.path, capture_output=True, check=True,
    )  # fmt: skip
    project.makeini(f"{SETTINGS}kairos_lock = contracts.lock\n")
    run(project, "--kairos").assert_outcomes(passed=2)
    put(project, "src/good.py", GOOD.replace("title: str", "title: str\n    body: str"))
    changed = run(project, "--kairos")
    changed.assert_outcomes(passed=1, failed=1)
    changed.stdout.fnmatch_lines(["*KRS122*", "*witness*"])


@pytest.mark.parametrize(
    "line", ["kairos_workflows = /etc/*.py", "kairos_compat = sideways"], ids=["pattern", "mode"]
)
def test_a_setting_that_makes_no_sense_is_wrong_usage(project: pytest.Pytester, line: str) -> None:
    project.makeini(f"[pytest]\ntestpaths = tests\n{line}\n")
    done = run(project, "--kairos")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "INTERNALERROR" not in done.stdout.str() + done.stderr.str()


def test_the_option_absent_nothing_heavy_is_imported() -> None:
    script = (
        "import sys; import kairos.pytest_plugin; "
        "heavy = ('pydantic', 'pytest', 'typer', 'kairos.');"
        "print([m for m in sys.modules if m.startswith(heavy)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['kairos._version', 'kairos.pytest_plugin']"
