"""The live tree: what it shows while a run goes on, and what is left on the terminal after it."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

from kairos import events as happened
from kairos.cli.live import _Drawing, terminal
from kairos.cli.progress import Progress
from kairos.enums import FailureAction, FailureType, WorkflowStatus

ROOT = Path(__file__).resolve().parents[1]
KAIROS = [
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom kairos.cli import main\nsys.exit(main())",
]

# --- what is drawn


def started(plan: dict[str, tuple[str, ...]], workflow: str = "w") -> Progress:
    progress = Progress()
    progress.observe(happened.RunStarted("r", workflow, plan, {}, 1.0))
    return progress


def failed(step: str, action: FailureAction, item: int | None = None) -> happened.AttemptFailed:
    return happened.AttemptFailed(
        step, 1, item, FailureType.EXECUTION, "ValueError", "bad \x1b[2J [red]", (), action, "",
        0.0, None, 2.0, 5.0,
    )  # fmt: skip


def drawn(progress: Progress, *, width: int = 80, height: int = 24, final: bool = False) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, height=height, markup=False, highlight=False, color_system=None
    )
    drawing = _Drawing(progress)
    drawing.final = final
    console.print(drawing)
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 40, 12])
@pytest.mark.parametrize("steps", [9, 90, 5000])
@pytest.mark.parametrize("running", [0, 4, 60])
def test_a_drawing_never_outgrows_the_screen(width: int, steps: int, running: int) -> None:
    progress = started({f"a-step-with-a-name-{n}": () for n in range(steps)})
    for n in range(min(running, steps)):
        progress.observe(happened.StepStarted(f"a-step-with-a-name-{n}", 1, 1.0))
        progress.observe(happened.AccessRefused("a", 1, None, "read", "k\n\x1b[2J", 1.0))
    lines = drawn(progress, width=width, height=20).splitlines()
    assert len(lines) <= 18
    assert max(map(len, lines)) <= width
    assert "\x1b" not in "".join(lines)


def test_a_foreach_is_one_bar() -> None:
    progress = started({"parse": ()})
    progress.observe(happened.StepStarted("parse", 1, 1.0))
    progress.observe(happened.FannedOut("parse", 40, 1.0))
    for item in range(36):
        progress.observe(happened.ItemCompleted("parse", item, 1, b"1", None, False, 1.0, 1.0))
    progress.observe(failed("parse", FailureAction.ABORT, item=36))
    progress.observe(failed("parse", FailureAction.RETRY, item=37))
    progress.observe(failed("parse", FailureAction.RETRY, item=38))
    assert "━━──  37/40 ✗1 ↻2  " in drawn(progress)
    assert "parse  37/40 ✗1 ↻2  " in drawn(progress, width=40)


def test_each_end_is_shown_with_its_reason() -> None:
    progress = started({"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")})
    for event in (
        happened.StepStarted("a", 1, 1.0),
        happened.StepCompleted("a", 2, b"1", None, 1.0, 12.0),
        happened.StepStarted("b", 1, 1.0),
        failed("b", FailureAction.RETRY),
        happened.StepSkipped("c", 1, "its `when` was false", "when", True, 1.0, 0.0),
    ):
        progress.observe(event)
    assert "├─ ✓ a     12 ms\n" in drawn(progress)
    assert "│  ├─ ↻ b  " in drawn(progress)
    assert "ValueError: bad \\x1b[2J [red]" in drawn(progress)
    assert "│  └─ ○ c  skipped: its `when` was false\n" in drawn(progress)
    assert "└─ · d\n" in drawn(progress)
    progress.observe(happened.StepFailed("b", "ValueError", "bad", False, 1.0, 9.0))
    progress.observe(happened.RunFinished(WorkflowStatus.FAILED, "", 1.0, 34.0))
    assert "├─ ✗ b  9 ms  ValueError: bad\n" in drawn(progress, final=True)
    assert drawn(progress, final=True).startswith("w  3/4 steps  34 ms\n")


def test_of_a_plan_too_high_for_the_screen_what_runs_is_shown_and_the_rest_counted() -> None:
    progress = started({f"s{n}": () for n in range(60)})
    for n in range(30):
        progress.observe(happened.StepStarted(f"s{n}", 1, 1.0))
        if n < 28:
            progress.observe(happened.StepCompleted(f"s{n}", 1, b"1", None, 1.0, 1.0))
    told = drawn(progress, height=12)
    assert "s28" in told
    assert "s29" in told
    assert re.search(r"⋮  \d+ done\n", told)
    assert re.search(r"⋮  \d+ waiting\n", told)
    assert len(drawn(progress, final=True).splitlines()) == 61


def test_of_a_very_large_plan_what_failed_stays_with_the_numbers() -> None:
    progress = started({f"s{n}": () for n in range(5000)})
    for n in range(50):
        progress.observe(happened.StepStarted(f"s{n}", 1, 1.0))
        progress.observe(happened.StepFailed(f"s{n}", "ValueError", "bad", False, 1.0, 9.0))
    progress.observe(happened.RunFinished(WorkflowStatus.FAILED, "", 1.0, 34.0))
    told = drawn(progress, final=True)
    assert "✓ 0  ✗ 50  4,950 not started" in told
    assert "⋮  30 more failed" in told


def test_a_replanned_step_brings_its_new_steps_into_the_tree() -> None:
    progress = started({"a": (), "b": ("a",)})
    assert "new" not in drawn(progress)
    progress.observe(happened.PlanSpliced("b", {"new": ("a",), "b": ("new",)}, 1.0))
    assert "· new" in drawn(progress)


def test_a_console_shows_markup_as_text() -> None:
    stream = io.StringIO()
    terminal(stream, color=False).print("[red]x[/red] :smile: 12")
    assert stream.getvalue() == "[red]x[/red] :smile: 12\n"


# --- on a terminal

FLOW = """\
import logging, threading
from kairos import FailurePolicy, Step, Workflow

logging.basicConfig(level=logging.INFO, format="logged %(message)s")
pause = threading.Event()

def work(ctx):
    print("printed by", ctx.step_id)
    logging.info("by %s \\x1b[5A", ctx.step_id)
    pause.wait(0.25)
    return "\\x1b[31mred[/red]"

def bad(ctx):
    raise ValueError("\\x1b[2J\\x1b]0;title\\x07 [bold]bad")

wf = Workflow("flow \\x1b[2J", [
    Step("first", work),
    Step("left", work, depends_on=["first"]),
    Step("right", lambda ctx: [1, 2, 3], depends_on=["first"]),
    Step("each", lambda ctx: ctx.item, foreach="right", depends_on=["right"]),
    Step("last", work, depends_on=["left", "each"]),
])
broken = Workflow("broken", [Step("bad", bad, failure_policy=FailurePolicy(max_retries=0))])
"""

_COMMAND = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|(\x1b.)|([\r\n])|([^\x1b\r\n]+)")


class Screen:
    """As much of a terminal as the tree needs; anything else fails the test."""

    def __init__(self) -> None:
        self.lines = [""]
        self.row = self.column = 0
        self.cursor = True

    def feed(self, text: str) -> None:
        for found in _COMMAND.finditer(text):
            private, number, command, other, move, plain = found.groups()
            assert other is None, f"an unexpected sequence {other!r}"
            if plain is not None:
                self._write(plain)
            elif move == "\r":
                self.column = 0
            elif move == "\n":
                self.row, self.column = self.row + 1, 0
                self.lines += [""] * (self.row + 1 - len(self.lines))
            else:
                self._obey(f"{private}{command}", number)

    def _write(self, text: str) -> None:
        assert text.isprintable(), f"a control character in {text!r}"
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[: self.column] + text + line[self.column + len(text) :]
        self.column += len(text)

    def _obey(self, command: str, number: str) -> None:
        if command == "A":
            self.row -= int(number or 1)
            assert self.row >= 0
        elif command == "K":
            self.lines[self.row] = ""
        elif command in {"?l", "?h"}:
            assert number == "25"
            self.cursor = command == "?h"
        else:
            assert command == "m", f"an unexpected command {command!r}"


def on_a_terminal(folder: Path, *arguments: str, columns: int = 80) -> tuple[Screen, int, str]:
    """Run kairos with both streams on a pseudo-terminal; give the screen, the code, all bytes."""
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "CI"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [*KAIROS, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    raw = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # the other end has been closed
            break
        if not chunk:
            break
        raw += chunk
    os.close(ours)
    code = process.wait()
    text = raw.decode()
    screen = Screen()
    screen.feed(text)
    return screen, code, text


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no pseudo-terminal")


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    (tmp_path / "flow.py").write_text(FLOW, encoding="utf-8")
    return tmp_path


def test_the_tree_is_drawn_live_and_its_final_form_stays(flow: Path) -> None:
    screen, code, raw = on_a_terminal(flow, "run", "flow.py:wf")
    assert (code, screen.cursor) == (0, True)
    assert re.search(r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]", raw), "nothing was seen to run"
    told = [re.sub(r"\d+(\.\d+)? m?s\b|<1 ms", "T", line.rstrip()) for line in screen.lines]
    assert told[-9:] == [
        "├─ ✓ first       T",
        "│  ├─ ✓ left     T",
        "│  └─ ✓ right    T",
        "│     └─ ✓ each  3/3  T",
        "└─ ✓ last        T",
        "complete · 5 steps · T · 0 llm calls",
        "next: kairos run flow.py:wf --log-file runs",
        "\\x1b[31mred[/red]",
        "",
    ]
    assert told[-10] == "flow \\x1b[2J  5 steps  T"
    assert sum(line.startswith("printed by") for line in told) == 3
    assert sum(line.startswith("logged by") for line in told) == 3


def test_a_narrow_terminal_gets_narrow_lines(flow: Path) -> None:
    screen, code, _ = on_a_terminal(flow, "run", "flow.py:broken", "--no-color", columns=30)
    assert code == 1
    tree = [line for line in screen.lines if line.startswith(("├", "└", "broken"))]
    assert len(tree) == 2
    assert max(len(line.rstrip()) for line in tree) <= 30


def test_without_colour_no_colour_is_sent(flow: Path) -> None:
    _, _, raw = on_a_terminal(flow, "run", "flow.py:wf", "--no-color")
    assert not re.search(r"\x1b\[[\d;]*3\dm", raw)


# --- as a process


def piped(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*KAIROS, *arguments],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )


def test_what_a_subprocess_prints_stays_off_standard_output(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "import subprocess, sys\nfrom kairos import Step, Workflow\n"
        "def call(ctx):\n"
        "    subprocess.run([sys.executable, '-c', 'print(\"loud\")'], check=True)\n"
        "    return 'quiet'\n"
        "wf = Workflow('w', [Step('call', call)])\n",
        encoding="utf-8",
    )
    done = piped(tmp_path, "run", "flow.py")
    assert (done.returncode, done.stdout) == (0, "quiet\n")
    assert "loud" in done.stderr


def test_marks_become_words_where_the_encoding_has_none(flow: Path) -> None:
    done = piped(flow, "run", "flow.py:wf", environment={"PYTHONIOENCODING": "ascii"})
    assert "ok each  3/3  " in done.stderr
    assert done.stderr.isascii()


@pytest.mark.parametrize(
    "number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_an_interrupted_run_tells_what_was_done(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    (tmp_path / "flow.py").write_text(
        "import threading\nfrom kairos import Step, Workflow\n"
        "def wait(ctx):\n    print('waiting', flush=True)\n    threading.Event().wait(60)\n"
        "wf = Workflow('w', [Step('done', lambda ctx: 1), Step('wait', wait, depends_on=['done']),"
        " Step('never', wait, depends_on=['wait'])])\n",
        encoding="utf-8",
    )
    process = subprocess.Popen(
        [*KAIROS, "run", "flow.py", "--json", "--log-file", "runs"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    assert process.stderr is not None
    before = []
    for line in process.stderr:
        before.append(line)
        if line == "waiting\n":
            break
    process.send_signal(number)
    reading = threading.Timer(60, process.kill)
    reading.start()
    told, after = process.stdout.read(), process.stderr.read()
    assert process.wait() == code
    reading.cancel()
    process.stdout.close()
    process.stderr.close()
    assert any(line.startswith("✓ done") for line in before)
    assert "stopped (interrupted) · 3 steps" in after
    assert '"done": {' in told
    assert len(list((tmp_path / "runs").glob("*.jsonl"))) == 1


def test_a_reader_that_leaves_early_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "from kairos import Step, Workflow\n"
        "wf = Workflow('w', [Step('a', lambda ctx: ['x' * 100] * 10_000)])\n",
        encoding="utf-8",
    )
    process = subprocess.Popen(
        [*KAIROS, "run", "flow.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate()
    assert process.returncode == 0
    assert "Error" not in said
    assert said.splitlines()[-1].startswith("complete")


def test_version_needs_neither_typer_nor_rich_and_loads_next_to_nothing(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "sys.modules.update(dict.fromkeys(['typer', 'rich', 'click']))\n"
        "sys.argv = ['kairos', 'version']\n"
        "from kairos.cli import main\n"
        "code = main()\n"
        "heavy = {'pydantic', 'networkx', 'structlog', 'asyncio', 'json', 're'} & {*sys.modules}\n"
        "print(code, *sorted(heavy - before))\n"
    )
    script = "import sys\nbefore = {*sys.modules}\n" + script
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.splitlines()[1:], done.stderr) == (["0"], "")


@pytest.mark.parametrize("command", [["run", "flow.py"], ["validate", "flow.py"], ["--help"], []])
def test_without_the_extra_the_other_commands_say_what_to_install(
    tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "typer.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'typer'\", name='typer')\n", encoding="utf-8"
    )
    done = piped(tmp_path, *command, environment={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'kairos-ai[cli]'" in done.stderr
    assert "Traceback" not in done.stderr
