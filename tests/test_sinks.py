"""Sinks on their own: files, the console, hostile text."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.enums import LogLevel, LogVerbosity
from kairos.exceptions import ConfigError
from kairos.logs.run_log import LogEvent
from kairos.logs.sinks import (
    CallbackSink,
    ConsoleSink,
    FileSink,
    JSONLinesSink,
    LogSink,
    printable,
    verbosity_of,
)

NOON = datetime(2025, 11, 21, 12, 0, tzinfo=UTC)


def event(
    event_type: str = "step_start",
    step_id: str | None = "fetch",
    run_id: str = "r1",
    level: LogLevel = LogLevel.INFO,
    verbosity: LogVerbosity = LogVerbosity.NORMAL,
    **data: Any,
) -> LogEvent:
    return LogEvent(NOON, event_type, step_id, data, level, run_id, verbosity)


def console(*events: LogEvent, **options: Any) -> str:
    stream = io.StringIO()
    sink = ConsoleSink(stream, **options)
    for each in events:
        sink.emit(each)
    return stream.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_console_line_has_the_time_the_level_the_event_and_its_fields() -> None:
    line = console(event(attempt=2, note="two words"))
    assert line.split() == [
        *("2025-11-21T12:00:00.000Z", "[info", "]", "step_start"),
        *("step=fetch", "attempt=2", 'note="two', 'words"'),
    ]


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b[2J\x1b[31mred",
        "\x1b]52;c;aGk=\x07",
        "a\nlevel=error forged",
        "a\rb",
        "\x9b31m",
        "\u202egnp.exe",
        "a\u2028b",
        "tag\U000e0041",
        "\ud800",
    ],
)
@pytest.mark.parametrize(
    "place", [{"note": "{}"}, {"note": {"{}": ["{}"]}}, {"note": [{"deep": "{} x"}]}]
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(
    hostile: str, place: dict[str, Any]
) -> None:
    data = json.loads(json.dumps(place).replace("{}", json.dumps(hostile)[1:-1]))
    text = console(event(step_id=hostile, event_type=hostile, run_id=hostile, **data))
    assert text.endswith("\n")
    assert printable(text[:-1]) == text[:-1]
    assert text[:-1].isprintable()


@given(st.text(), st.recursive(st.text() | st.floats() | st.none(), st.lists))
def test_no_text_reaches_the_console_raw(text: str, value: Any) -> None:
    line = console(event(step_id=text, run_id=text, one=text, two=value))
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert printable(line[:-1]) == line[:-1]


def test_a_coloured_line_holds_no_escape_but_the_colours_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    hostile = console(event(note="\x1b[31m"), color=True)
    plain = console(event(note="harmless"), color=True)
    assert hostile.count("\x1b") == plain.count("\x1b") > 0
    assert "\\x1b[31m" in hostile


@pytest.mark.parametrize(
    "environment, stream, coloured",
    [
        ({}, Terminal, True),
        ({}, io.StringIO, False),
        ({"NO_COLOR": "1"}, Terminal, False),
        ({"FORCE_COLOR": "1"}, io.StringIO, True),
        ({"FORCE_COLOR": "0"}, Terminal, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, Terminal, False),
        ({"TERM": "dumb"}, Terminal, False),
    ],
)
def test_colour_is_for_terminals_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    stream: type[io.StringIO],
    coloured: bool,
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = stream()
    ConsoleSink(out).emit(event())
    assert ("\x1b" in out.getvalue()) is coloured


def test_standard_error_is_looked_up_for_each_line() -> None:
    sink, first, second = ConsoleSink(), io.StringIO(), io.StringIO()
    for stream in (first, second):
        with redirect_stderr(stream):
            sink.emit(event())
            sink.flush()
    assert first.getvalue() == second.getvalue() != ""


def test_a_missing_standard_error_is_an_error_and_not_a_silence() -> None:
    with redirect_stderr(None), pytest.raises(OSError, match="no standard error"):
        ConsoleSink().emit(event())


def test_an_ascii_terminal_gets_escapes_for_what_it_cannot_show() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    ConsoleSink(stream).emit(event(note="naïve"))
    assert b"note=na\\xefve" in raw.getvalue()


def test_closing_a_console_leaves_the_stream_open() -> None:
    stream = io.StringIO()
    ConsoleSink(stream).close()
    assert not stream.closed


def test_a_line_names_its_run_while_two_are_in_progress() -> None:
    text = console(
        event(run_id="r1"),
        event(run_id="r2"),
        event("workflow_complete", None, run_id="r2"),
        event(run_id="r1"),
    )
    assert ["run_id=" in line for line in text.splitlines()] == [False, True, True, False]


@pytest.mark.parametrize(
    "verbosity, shown",
    [
        (None, {"step_fail", "step_start", "item_complete"}),
        (LogVerbosity.MINIMAL, {"step_fail"}),
        (LogLevel.NORMAL, {"step_fail", "step_start"}),
        ("VERBOSE", {"step_fail", "step_start", "item_complete"}),
    ],
)
def test_a_console_may_show_less_than_is_recorded(verbosity: Any, shown: set[str]) -> None:
    text = console(
        event("step_fail", verbosity=LogVerbosity.MINIMAL),
        event("step_start", verbosity=LogVerbosity.NORMAL),
        event("item_complete", verbosity=LogVerbosity.VERBOSE),
        verbosity=verbosity,
    )
    assert {line.split()[3] for line in text.splitlines()} == shown


def test_a_console_below_verbose_shows_no_values() -> None:
    shown = event("step_complete", output={"body": "the text"}, attempt=1)
    assert "the text" in console(shown)
    assert "the text" not in console(shown, verbosity=LogVerbosity.NORMAL)
    assert "attempt=1" in console(shown, verbosity=LogVerbosity.NORMAL)
    assert shown.data["output"] == {"body": "the text"}


def test_a_long_value_is_cut_on_the_console_and_says_by_how_much() -> None:
    text = console(event(note="x" * 5000))
    assert len(text) < 2200
    assert "… (3000 more characters)" in text


@given(st.recursive(st.text() | st.integers() | st.booleans() | st.none(), st.lists, max_leaves=5))
def test_a_json_line_is_one_line_and_gives_back_what_it_was_given(value: Any) -> None:

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        sink = JSONLinesSink(path)
        sink.emit(event(value=value))
        sink.close()
        text = path.read_bytes().decode("utf-8")
    assert len(text.splitlines()) == 1
    assert printable(text[:-1]) == text[:-1]
    assert json.loads(text)["data"]["value"] == value


def test_a_json_line_holds_the_whole_event(tmp_path: Path) -> None:
    sink = JSONLinesSink(tmp_path / "deep" / "er" / "log.jsonl")
    sink.emit(event(attempt=1, note="ü"))
    sink.close()
    (line,) = (tmp_path / "deep" / "er" / "log.jsonl").read_text("utf-8").splitlines()
    assert "ü" in line
    assert json.loads(line) == {
        "timestamp": "2025-11-21T12:00:00Z",
        "event_type": "step_start",
        "step_id": "fetch",
        "data": {"attempt": 1, "note": "ü"},
        "level": "info",
        "run_id": "r1",
        "verbosity": "normal",
    }


@pytest.mark.parametrize("make", [JSONLinesSink, FileSink])
def test_a_line_can_be_read_as_soon_as_it_is_written(make: Any, tmp_path: Path) -> None:
    sink = make(tmp_path / "log")
    for count in (1, 2, 3):
        sink.emit(event())
        assert len((tmp_path / "log").read_text().splitlines()) == count
    sink.close()


@pytest.mark.parametrize("make", [JSONLinesSink, FileSink])
def test_a_closed_file_is_opened_again_and_appended_to(make: Any, tmp_path: Path) -> None:
    sink = make(tmp_path / "log")
    for _ in range(3):
        sink.emit(event())
        sink.flush()
        sink.close()
        sink.close()
    assert len((tmp_path / "log").read_text().splitlines()) == 3


@pytest.mark.parametrize("make", [JSONLinesSink, FileSink])
def test_a_line_torn_by_a_crash_is_ended_before_the_next(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text('{"torn": ')
    sink = make(path)
    sink.emit(event())
    sink.close()
    torn, whole = path.read_text().splitlines()
    assert torn == '{"torn": '
    assert "step_start" in whole


def test_a_folder_gets_one_file_for_each_run(tmp_path: Path) -> None:
    sink = JSONLinesSink(base_dir=tmp_path / "runs")
    for run_id in ("r1", "r2", "r1"):
        sink.emit(event(run_id=run_id))
    sink.emit(event("workflow_complete", None, run_id="r1"))
    sink.emit(event(run_id="r1"))
    sink.close()
    lines = {
        path.name: len(path.read_text().splitlines()) for path in (tmp_path / "runs").iterdir()
    }
    assert lines == {"r1.jsonl": 4, "r2.jsonl": 1}


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_no_run_id_leaves_the_folder_or_takes_another_ones_file(run_ids: list[str]) -> None:
    sink = JSONLinesSink(base_dir="runs")
    one, two = (sink.path_for(run_id) for run_id in run_ids)
    assert one != two
    assert one.parent == two.parent
    assert one.name.isascii()
    assert len(one.name) < 130


@pytest.mark.parametrize("run_id", ["../../etc/passwd", "/abs", "..", "", "a\x00b", "x" * 500, "ä"])
def test_a_run_id_that_is_no_name_is_made_one(run_id: str, tmp_path: Path) -> None:
    sink = JSONLinesSink(base_dir=tmp_path / "runs")
    sink.emit(event(run_id=run_id))
    sink.close()
    (made,) = (tmp_path / "runs").iterdir()
    assert made == sink.path_for(run_id)


def test_a_relative_path_means_the_folder_the_sink_was_made_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    sink = JSONLinesSink("runs/log.jsonl")
    sink.emit(event())
    sink.close()
    monkeypatch.chdir(tmp_path / "elsewhere")
    sink.emit(event())
    sink.close()
    assert len((tmp_path / "runs" / "log.jsonl").read_text().splitlines()) == 2


def test_a_text_file_has_no_colour_and_names_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    sink = FileSink(tmp_path / "logs" / "run.log")
    sink.emit(event(level=LogLevel.WARN))
    sink.close()
    text = (tmp_path / "logs" / "run.log").read_text()
    assert "\x1b" not in text
    assert "[warn" in text
    assert "run_id=r1" in text


@pytest.mark.parametrize("options", [{}, {"path": "a.jsonl", "base_dir": "runs"}])
def test_a_json_sink_wants_a_file_or_a_folder(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="exactly one of path= and base_dir="):
        JSONLinesSink(**options)


@pytest.mark.parametrize("make", [JSONLinesSink, FileSink])
def test_a_folder_is_refused_where_a_file_is_meant(make: Any, tmp_path: Path) -> None:
    for path in (tmp_path, "runs/"):
        with pytest.raises(ConfigError, match="needs a file"):
            make(path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a device that is always full")
def test_a_full_disk_is_an_error_at_once_and_every_time() -> None:
    sink = JSONLinesSink("/dev/full")
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            sink.emit(event())
    sink.close()


def test_a_callback_gets_an_event_of_its_own() -> None:
    seen: list[LogEvent] = []

    def spoil(told: LogEvent) -> None:
        told.data["nested"].append("spoilt")
        seen.append(told)

    original = event(nested=[])
    sink = CallbackSink(spoil)
    sink.emit(original)
    sink.flush()
    sink.close()
    assert original.data == {"nested": []}
    assert seen[0].event_type == "step_start"


def test_a_callback_must_be_callable() -> None:
    with pytest.raises(ConfigError, match="takes one LogEvent"):
        CallbackSink("print")  # type: ignore[arg-type]


@pytest.mark.parametrize("word", [LogLevel.INFO, LogLevel.ERROR, "loud", ""])
def test_what_is_no_verbosity_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="not a verbosity"):
        verbosity_of(word)


def test_every_sink_is_a_sink(tmp_path: Path) -> None:
    sinks = [
        ConsoleSink(),
        JSONLinesSink(tmp_path / "a"),
        FileSink(tmp_path / "b"),
        CallbackSink(print),
    ]
    assert all(isinstance(sink, LogSink) for sink in sinks)


def test_only_a_line_that_people_read_loads_the_renderer() -> None:
    script = (
        "import sys, kairos.logs.sinks as s\n"
        "s.JSONLinesSink(base_dir='x'); s.ConsoleSink(); s.FileSink('y')\n"
        "assert 'structlog' not in sys.modules and 'rich' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
