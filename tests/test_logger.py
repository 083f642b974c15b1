"""The run log, fed with events as the engine's driver feeds it."""

from __future__ import annotations

import gc
import io
import json
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from enum import Enum
from itertools import count
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos import events as happened
from kairos.enums import FailureAction, FailureType, LogLevel, LogVerbosity, WorkflowStatus
from kairos.exceptions import ConfigError, KairosError, StateError
from kairos.logger import (
    CallbackSink,
    ConsoleSink,
    FileSink,
    JSONLinesSink,
    LogEvent,
    RunLog,
    RunLogger,
    RunSummary,
)
from kairos.logs.sinks import printable
from kairos.ports import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

AT = 1_763_726_400.0  # 2025-11-21 12:00 UTC

# Invented, and put together here so that no scanner takes this file for a leak.
KEY = "sk-" + "ant-api03-" + "Zq8" * 12
CLOUD = "AK" + "IA" + "QWERTYUIOPASDFGH"
HUB = "gh" + "p_" + "a1B2c3D4e5F6" * 3
WORD = "correct-horse-" + "battery"
SECRETS = (KEY, CLOUD, HUB, WORD)


def raw(value: object) -> bytes:
    return json.dumps(value).encode()


def started(run_id: str = "r1", **inputs: object) -> happened.RunStarted:
    plan = {"fetch": (), "score": ("fetch",), "report": ("fetch", "score")}
    return happened.RunStarted(
        run_id, "demo", plan, {key: raw(value) for key, value in inputs.items()}, AT
    )


def finished(status: WorkflowStatus = WorkflowStatus.COMPLETE) -> happened.RunFinished:
    return happened.RunFinished(status, "", AT + 2, 2000.0)


def completed(step: str, output: object = "text", **writes: object) -> happened.StepCompleted:
    written = {key: raw(value) for key, value in writes.items()} or None
    return happened.StepCompleted(step, 1, raw(output), written, AT + 1, 12.34567)


def failed_attempt(
    message: str = "no answer",
    action: FailureAction = FailureAction.RETRY,
    output: object = None,
    item: int | None = None,
) -> happened.AttemptFailed:
    return happened.AttemptFailed(
        "score",
        1,
        item,
        FailureType.EXECUTION,
        "TimeoutError",
        message,
        (),
        action,
        "attempt 1 of 3",
        0.5,
        raw(output),
        AT + 1,
        3.0,
    )


FAULT = happened.Fault("items[1].name", "str", "int", "should be a string")


def one_of_each() -> list[happened.Event]:
    return [
        started(topic="tea", api_key=WORD),
        happened.StepStarted("fetch", 1, AT),
        happened.ValidationStarted("fetch", 1, None, "input", AT),
        happened.ValidationFinished("fetch", 1, None, "input", (), AT),
        completed("fetch", {"body": "hello"}, note=1),
        happened.StepStarted("score", 1, AT),
        happened.FannedOut("score", 3, AT),
        happened.ValidationFinished("score", 1, 0, "output", (), AT),
        happened.ItemCompleted("score", 0, 1, raw("one"), None, False, AT, 1.0),
        happened.ValidationFinished("score", 1, 1, "output", (FAULT,), AT),
        failed_attempt(item=1),
        failed_attempt(item=1, action=FailureAction.SKIP),
        failed_attempt(action=FailureAction.ABORT),
        happened.AccessRefused("score", 1, None, "read", "topic", AT),
        happened.LateResult("score", 1, None, AT),
        happened.Spent("score", 1, None, 1, 10, 5, 0.001, AT),
        happened.PlanSpliced("score", {"score_b": ("fetch",)}, AT),
        happened.StepFailed("score_b", "TimeoutError", "no answer", True, AT, 9.0),
        happened.StepSkipped("report", 1, "score_b failed", "upstream", False, AT, 0.0),
        happened.BudgetExhausted("llm_calls", "LLM call limit reached", AT),
        happened.CancelRequested("enough", AT),
        happened.Warned("a hook failed", None, AT),
        finished(WorkflowStatus.FAILED),
    ]


def run(logger: RunLogger, events: Iterable[happened.Event] | None = None) -> RunLog:
    for event in one_of_each() if events is None else events:
        logger.observe(event)
    return logger.get_log()


def told(log: RunLog) -> list[str]:
    return [event.event_type for event in log.events]


class Broken:
    """A sink that fails at what it is told to."""

    def __init__(self, *at: str, error: Exception | None = None) -> None:
        self.at = at
        self.error = error or OSError(28, "No space left on device")
        self.calls: list[str] = []

    def _do(self, what: str) -> None:
        self.calls.append(what)
        if what in self.at:
            raise self.error

    def emit(self, event: LogEvent) -> None:
        self._do("emit")

    def flush(self) -> None:
        self._do("flush")

    def close(self) -> None:
        self._do("close")


MINIMAL = [
    "workflow_start",
    "validation_fail",
    "step_fail",
    "budget_exhausted",
    "cancel_requested",
    "warning",
    "workflow_complete",
]
NORMAL = [
    "workflow_start",
    "step_start",
    "validation_complete",
    "step_complete",
    "step_start",
    "fanned_out",
    "validation_fail",
    "step_retry",
    "attempt_fail",
    "access_refused",
    "late_result",
    "plan_spliced",
    "step_fail",
    "step_skip",
    "budget_exhausted",
    "cancel_requested",
    "warning",
    "workflow_complete",
]


@pytest.mark.parametrize(
    "verbosity, expected",
    [
        (LogVerbosity.MINIMAL, MINIMAL),
        (LogLevel.MINIMAL, MINIMAL),
        (LogVerbosity.NORMAL, NORMAL),
        (LogLevel.NORMAL, NORMAL),
        ("normal", NORMAL),
    ],
)
def test_a_verbosity_lets_through_its_own_events(verbosity: Any, expected: list[str]) -> None:
    assert told(run(RunLogger(verbosity=verbosity))) == expected


def test_normal_is_the_verbosity_when_none_is_given() -> None:
    assert told(run(RunLogger())) == NORMAL


def test_verbose_tells_of_every_event() -> None:
    log = run(RunLogger(verbosity=LogVerbosity.VERBOSE))
    assert len(log.events) == len(one_of_each())
    assert {"validation_start", "item_complete", "spent"} <= set(told(log))


def test_the_list_above_leaves_no_event_out() -> None:
    assert {type(event) for event in one_of_each()} == set(get_args(happened.Event))


@pytest.mark.parametrize(
    "event_type, level",
    [
        ("workflow_start", LogLevel.INFO),
        ("step_retry", LogLevel.WARN),
        ("access_refused", LogLevel.WARN),
        ("late_result", LogLevel.WARN),
        ("cancel_requested", LogLevel.WARN),
        ("warning", LogLevel.WARN),
        ("validation_fail", LogLevel.ERROR),
        ("step_fail", LogLevel.ERROR),
        ("budget_exhausted", LogLevel.ERROR),
        ("workflow_complete", LogLevel.ERROR),
    ],
)
def test_an_event_says_how_grave_it_is(event_type: str, level: LogLevel) -> None:
    log = run(RunLogger())
    assert {event.level for event in log.events if event.event_type == event_type} == {level}


@pytest.mark.parametrize(
    "status, level",
    [
        (WorkflowStatus.COMPLETE, LogLevel.INFO),
        (WorkflowStatus.PARTIAL, LogLevel.WARN),
        (WorkflowStatus.FAILED, LogLevel.ERROR),
    ],
)
def test_the_last_event_is_as_grave_as_the_runs_end(
    status: WorkflowStatus, level: LogLevel
) -> None:
    log = run(RunLogger(), [started(), finished(status)])
    assert log.events[-1].level is level
    assert log.events[-1].data["status"] == status


def test_the_record_of_a_run_says_what_happened() -> None:
    logger = RunLogger()
    log = run(logger)
    assert logger.get_run_log() == log
    assert (log.run_id, log.workflow_name, log.status) == ("r1", "demo", WorkflowStatus.FAILED)
    assert log.started_at is not None
    assert log.started_at.timestamp() == AT
    assert log.completed_at is not None
    assert (log.completed_at - log.started_at).total_seconds() == 2
    assert log.initial_plan == {"fetch": (), "score": ("fetch",), "report": ("fetch", "score")}
    assert log.summary == RunSummary(
        total_steps=3,
        completed_steps=1,
        failed_steps=1,
        skipped_steps=1,
        total_retries=1,
        total_duration_ms=2000.0,
        validations_passed=2,
        validations_failed=1,
    )


def test_a_summary_counts_what_the_verbosity_does_not_show() -> None:
    assert run(RunLogger(verbosity="minimal")).summary == run(RunLogger()).summary


def test_the_last_event_sums_the_run_up() -> None:
    data = run(RunLogger()).events[-1].data
    assert data == {
        "status": "failed",
        "duration_ms": 2000.0,
        "total_steps": 3,
        "completed_steps": 1,
        "failed_steps": 1,
        "skipped_steps": 1,
        "total_retries": 1,
        "validations_passed": 2,
        "validations_failed": 1,
        "llm_calls": 1,
        "input_tokens": 10,
        "output_tokens": 5,
    }


def test_the_first_event_names_the_inputs_and_not_their_values() -> None:
    log = run(RunLogger(), [started(topic="the tea in China")])
    assert log.events[0].data == {
        "workflow_name": "demo",
        "run_id": "r1",
        "total_steps": 3,
        "input_keys": ["topic"],
    }


def test_values_are_told_at_verbose_only_and_redacted() -> None:
    events: list[happened.Event] = [
        started(topic="tea", password=WORD),
        completed("fetch", {"body": "hello", "api_key": WORD}, cookie=WORD, seen=[1]),
        completed("access_token", WORD),
        failed_attempt(output={"secret": WORD, "draft": "x"}),
    ]
    first, fetch, token, retry = run(RunLogger(verbosity="verbose"), events).events
    assert first.data["inputs"] == {"topic": "tea", "password": "[REDACTED]"}
    assert fetch.data["output"] == {"body": "hello", "api_key": "[REDACTED]"}
    assert fetch.data["writes"] == {"cookie": "[REDACTED]", "seen": [1]}
    assert token.data["output"] == "[REDACTED]"
    assert retry.data["output"] == {"secret": "[REDACTED]", "draft": "x"}
    quiet = json.dumps(run(RunLogger(), events).to_dict())
    assert "hello" not in quiet
    assert "draft" not in quiet


def test_a_plan_is_told_at_verbose_whatever_its_steps_are_called() -> None:
    event = started()._replace(plan={"get_token": (), "password-check": ("get_token",)})
    warning = happened.Warned("get_token is slow", None, AT)
    log = run(RunLogger(verbosity="verbose"), [event, warning])
    assert log.events[0].data["plan"] == [
        {"step": "get_token", "after": []},
        {"step": "password-check", "after": ["get_token"]},
    ]
    assert log.events[1].data == {"message": "get_token is slow"}


def test_a_retrys_hint_about_a_secret_field_hides_no_other_word() -> None:
    hint = {"failed_fields": ["api_key"], "expected_types": {"api_key": "string"}}
    retry = failed_attempt()._replace(retry_context=hint, message="string too short")
    log = run(RunLogger(verbosity="verbose"), [started(), retry])
    assert log.events[1].data["message"] == "string too short"
    assert log.events[1].data["retry_context"]["failed_fields"] == ["api_key"]


def test_no_field_of_the_log_itself_is_taken_for_a_secret() -> None:
    log = run(RunLogger(verbosity="verbose"), [started(topic="tea"), *one_of_each()[1:]])
    assert "[REDACTED]" not in repr(log)


@pytest.mark.parametrize("option", ["sensitive_keys", "sensitive_patterns"])
def test_patterns_of_ones_own_are_masked_besides_the_known_ones(option: str) -> None:
    patterns: Any = {option: ["*diagnosis*"]}
    logger = RunLogger(verbosity="verbose", **patterns)
    log = run(logger, [started(diagnosis="flu", password=WORD, age=40)])
    assert log.events[0].data["inputs"] == {
        "diagnosis": "[REDACTED]",
        "password": "[REDACTED]",
        "age": 40,
    }


@pytest.mark.parametrize("verbosity", list(LogVerbosity))
@pytest.mark.parametrize(
    "carrier",
    [
        started(password=WORD),
        started(settings={"login": [{"passwd": WORD}]}),
        completed("fetch", "x", session_token=WORD),
        completed("api_key", WORD),
    ],
)
def test_a_secret_value_is_masked_wherever_it_turns_up_again(
    verbosity: LogVerbosity, carrier: happened.Event
) -> None:
    events: list[happened.Event] = [
        started(),
        carrier,
        failed_attempt(f"cannot log in with {WORD}!"),
        happened.StepFailed("fetch", "ValueError", f"bad login {WORD!r}", True, AT, 1.0),
        happened.Warned(f"tried {WORD}", None, AT),
    ]
    log = run(RunLogger(verbosity=verbosity), events)
    assert WORD not in json.dumps(log.to_dict())
    assert any("bad login" in str(event.data) for event in log.events)


def test_a_record_becomes_plain_json() -> None:
    log = run(RunLogger(verbosity="verbose"))
    plain = json.loads(json.dumps(log.to_dict()))
    assert plain == log.to_dict()
    assert plain["started_at"] == "2025-11-21T12:00:00Z"
    assert plain["status"] == "failed"
    assert plain["summary"] == log.summary.to_dict()
    assert plain["events"][0] == log.events[0].to_dict()
    assert plain["initial_plan"]["report"] == ["fetch", "score"]


def test_a_run_in_progress_has_no_end_yet() -> None:
    log = run(RunLogger(), [started(), completed("fetch")])
    assert (log.completed_at, log.status) == (None, None)
    assert log.summary.completed_steps == 1


def test_before_the_first_run_there_is_no_log() -> None:
    with pytest.raises(StateError, match="no run has been logged yet"):
        RunLogger().get_log()
    assert RunLogger().warnings == []


def test_a_logger_serves_runs_one_after_the_other(tmp_path: Path) -> None:
    sink = JSONLinesSink(tmp_path / "log.jsonl")
    logger = RunLogger([sink])
    first = run(logger, [started("r1"), completed("fetch"), finished()])
    second = run(logger, [started("r2"), finished()])
    assert (first.run_id, second.run_id) == ("r1", "r2")
    assert told(second) == ["workflow_start", "workflow_complete"]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["run_id"] for line in lines] == ["r1", "r1", "r1", "r2", "r2"]


def test_runs_interleaved_on_one_thread_are_kept_apart_by_for_run(tmp_path: Path) -> None:
    sink = JSONLinesSink(base_dir=tmp_path)
    logger = RunLogger([sink])
    observers = {name: logger.for_run(name) for name in ("r1", "r2")}
    for name, observer in observers.items():
        observer.observe(started(name))
    observers["r1"].observe(completed("fetch"))
    observers["r2"].observe(happened.StepFailed("fetch", "E", "m", True, AT, 1.0))
    observers["r2"].observe(finished(WorkflowStatus.FAILED))
    assert logger.get_log() == observers["r2"].get_log()
    observers["r1"].observe(finished())
    assert logger.get_log() == observers["r1"].get_log() == observers["r1"].get_run_log()
    assert observers["r1"].get_log().summary.completed_steps == 1
    assert observers["r2"].get_log().summary.failed_steps == 1
    for name in observers:
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        assert {json.loads(line)["run_id"] for line in lines} == {name}
        assert len(lines) == 3


def test_runs_on_several_threads_share_a_logger_and_no_line_is_torn(tmp_path: Path) -> None:
    logger = RunLogger([JSONLinesSink(tmp_path / "log.jsonl")])
    together = threading.Barrier(4)

    def drive(number: int) -> None:
        together.wait(timeout=30)
        logger.observe(started(f"r{number}"))
        for step in range(50):
            logger.observe(completed(f"step{step}"))
        logger.observe(finished())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(drive, range(4)))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    for number in range(4):
        own = [line for line in lines if line["run_id"] == f"r{number}"]
        assert [line["event_type"] for line in own] == [
            "workflow_start",
            *["step_complete"] * 50,
            "workflow_complete",
        ]


def test_a_run_inside_a_run_is_a_run_of_its_own() -> None:
    seen: list[LogEvent] = []
    logger = RunLogger([CallbackSink(seen.append)])
    for event in (started("outer"), started("inner"), finished(), completed("fetch"), finished()):
        logger.observe(event)
    assert [event.run_id for event in seen] == ["outer", "inner", "inner", "outer", "outer"]
    assert logger.get_log().run_id == "outer"


def test_sinks_are_closed_when_the_last_run_in_progress_ends() -> None:
    sink = Broken()
    logger = RunLogger([sink])
    one, two = logger.for_run("r1"), logger.for_run("r2")
    for observer in (one, two):
        observer.observe(started())
    one.observe(finished())
    assert sink.calls[-1] == "flush"
    two.observe(finished())
    assert sink.calls[-2:] == ["flush", "close"]


def test_a_run_that_is_dropped_without_an_end_does_not_keep_the_sinks_open() -> None:
    sink = Broken()
    logger = RunLogger([sink])
    logger.for_run("lost").observe(started("lost"))
    run(logger, [started("r2"), finished()])
    gc.collect()
    run(logger, [started("r3"), finished()])
    assert sink.calls[-1] == "close"


def test_what_comes_after_the_end_is_logged_and_leaves_nothing_open(tmp_path: Path) -> None:
    logger = RunLogger([JSONLinesSink(base_dir=tmp_path)])
    observer = logger.for_run("r1")
    for event in (started(), finished(), happened.LateResult("fetch", 1, None, AT)):
        observer.observe(event)
    logger.observe(happened.Warned("a hook failed", None, AT))
    assert told(logger.get_log())[-2:] == ["late_result", "warning"]
    assert len((tmp_path / "r1.jsonl").read_text().splitlines()) == 4


def test_a_logger_can_be_closed_by_hand_and_used_again(tmp_path: Path) -> None:
    with RunLogger([JSONLinesSink(tmp_path / "log")]) as logger:
        logger.observe(started())
    logger.observe(finished())
    assert len((tmp_path / "log").read_text().splitlines()) == 2


@pytest.mark.parametrize("broken_at", ["emit", "flush", "close"])
def test_a_sink_that_fails_is_reported_once_and_costs_the_others_nothing(
    broken_at: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[LogEvent] = []
    broken = Broken(broken_at)
    logger = RunLogger([broken, CallbackSink(seen.append)])
    observer = logger.for_run("r1")
    for event in one_of_each():
        observer.observe(event)
    assert [event.event_type for event in seen] == NORMAL == told(logger.get_log())
    (warning,) = observer.warnings
    assert f"Broken failed at {broken_at}: OSError" in warning
    assert "No space left on device" in warning
    assert logger.warnings == [warning]
    assert capsys.readouterr().err.count("Broken failed") == 1


def test_a_warning_says_how_often_a_sink_failed() -> None:
    observer = RunLogger([Broken("emit")]).for_run("r1")
    with redirect_stderr(io.StringIO()):
        for event in (started(), completed("fetch"), completed("score"), finished()):
            observer.observe(event)
    assert observer.warnings[0].endswith("(and 3 more times)")


def test_each_run_has_its_own_warnings() -> None:
    broken = Broken("emit")
    logger = RunLogger([broken])
    with redirect_stderr(io.StringIO()):
        run(logger, [started("r1"), finished()])
    assert len(logger.warnings) == 1
    broken.at = ()
    run(logger, [started("r2"), finished()])
    assert logger.warnings == []


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


@pytest.mark.parametrize(
    "error",
    [
        UnspeakableError(),
        ValueError(f"key {KEY}\x1b[2J\nforged"),
        KairosError(WORD),
        RecursionError(),
    ],
)
def test_a_failing_sinks_own_words_are_redacted_and_harmless(error: Exception) -> None:
    stream = io.StringIO()
    observer = RunLogger([Broken("emit", error=error)]).for_run("r1")
    with redirect_stderr(stream):
        for event in (started(password=WORD), finished()):
            observer.observe(event)
    shown = stream.getvalue()
    assert shown.count("\n") == 1
    assert "\x1b" not in shown
    assert not any(secret in shown + "".join(observer.warnings) for secret in SECRETS)


def test_a_broken_standard_error_hides_nothing_from_the_warnings() -> None:
    stream = io.StringIO()
    stream.close()
    observer = RunLogger([ConsoleSink(), Broken("emit")]).for_run("r1")
    with redirect_stderr(stream):
        for event in (started(), finished()):
            observer.observe(event)
    assert len(observer.warnings) == 2
    assert len(observer.get_log().events) == 2


def test_a_closed_stream_and_a_full_disk_lose_only_their_own_lines(tmp_path: Path) -> None:
    closed = io.StringIO()
    closed.close()
    (tmp_path / "file").write_text("")
    logger = RunLogger(
        [
            ConsoleSink(closed),
            JSONLinesSink(tmp_path / "file" / "below" / "log.jsonl"),
            FileSink(tmp_path / "log.txt"),
        ]
    )
    with redirect_stderr(io.StringIO()) as stderr:
        run(logger)
    assert len((tmp_path / "log.txt").read_text().splitlines()) == len(NORMAL)
    assert len(logger.warnings) == stderr.getvalue().count("\n") == 2


def test_an_event_that_cannot_be_read_is_a_warning_and_not_the_runs_end() -> None:
    observer = RunLogger().for_run("r1")
    bad = started()._replace(at=float("nan"))
    with redirect_stderr(io.StringIO()):
        for event in (bad, finished()):
            observer.observe(event)
    assert "RunLogger failed at RunStarted" in observer.warnings[0]
    assert told(observer.get_log()) == ["workflow_complete"]


def test_bytes_that_are_no_json_are_marked() -> None:
    broken = completed("fetch")._replace(output=b'{"password": "hunter')
    log = run(RunLogger(verbosity="verbose"), [started(), broken])
    assert log.events[1].data["output"] == "[UNREADABLE]"


def test_a_callback_may_ask_for_the_log_and_run_something_else() -> None:
    depth = count()

    def react(event: LogEvent) -> None:
        logger.get_log()
        if event.event_type == "step_fail" and next(depth) == 0:
            run(logger)

    logger = RunLogger([CallbackSink(react)], verbosity="minimal")
    run(logger)
    assert logger.warnings == []


@pytest.mark.parametrize(
    "options, words",
    [
        ({"sinks": [print]}, r"CallbackSink\(function\)"),
        ({"sinks": [ConsoleSink]}, "pass an instance"),
        ({"sinks": [object()]}, "emit"),
        ({"verbosity": LogLevel.ERROR}, "not a verbosity"),
        ({"sensitive_keys": "*password*"}, "put the pattern in a list"),
        ({"sensitive_patterns": [1]}, "not a list of patterns"),
    ],
)
def test_a_wrong_option_is_refused_with_the_way_out(options: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RunLogger(**options)


def test_a_single_sink_needs_no_list() -> None:
    sink = Broken()
    assert RunLogger(sink).sinks == (sink,)


def test_a_logger_and_what_it_gives_each_run_are_observers() -> None:
    assert isinstance(RunLogger(), Observer)
    assert isinstance(RunLogger().for_run("r1"), Observer)


def values() -> st.SearchStrategy[Any]:
    """Data in which secrets stand under telling names, or in a shape that gives them away."""
    shaped = st.sampled_from([KEY, CLOUD, HUB])
    harmless = st.text(max_size=8) | st.integers() | st.none() | st.booleans()
    telling = st.dictionaries(
        st.sampled_from(["password", "x-api-key", "apiKey", "auth_token", "pwd"]),
        st.sampled_from(SECRETS) | st.lists(st.sampled_from(SECRETS), max_size=2),
        max_size=2,
    )
    return st.recursive(
        harmless | shaped | shaped.map("see {} there".format) | telling,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=6,
    )


def of_type(hint: Any, name: str = "") -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one a kind
    """Anything that an event's field may hold by its annotation."""
    if name in {"step", "run_id"}:  # names of their author's, of a safe alphabet in the engine
        return st.sampled_from(["fetch", "score", "odd \x1b[31m name"])
    inner = get_args(hint)
    if get_origin(hint) in {Union, UnionType}:
        return st.one_of([of_type(each) for each in inner])
    if get_origin(hint) is Literal or (isinstance(hint, type) and issubclass(hint, Enum)):
        return st.sampled_from(inner or list(hint))
    if get_origin(hint) is Mapping:
        return st.dictionaries(st.text(max_size=5), of_type(inner[1]), max_size=3)
    if get_origin(hint) is dict:
        return st.dictionaries(st.text(max_size=5), values(), max_size=2)
    if get_origin(hint) is tuple:
        names = st.text(max_size=5) if inner[0] is str else of_type(inner[0])
        return st.lists(names, max_size=2).map(tuple)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: st.one_of(
            st.text(max_size=30),
            st.sampled_from([f"bad key {KEY}\x1b[2J", f"Bearer {HUB}", f"x\n{CLOUD}\r", "\x9b31m"]),
        ),
        bytes: values().map(raw) | st.just(b"{broken"),
        int: st.integers(0, 5),
        float: st.floats(0, 4e9),
        bool: st.booleans(),
        NoneType: st.none(),
    }
    return plain[hint] if hint in plain else of_fields(hint)


def of_fields(kind: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    return st.builds(
        kind,
        **{name: of_type(hints[name], name) for name in kind._fields if name not in {"type", "v"}},
    )


any_event = st.one_of([of_fields(kind) for kind in get_args(happened.Event)])


@given(st.lists(any_event, max_size=12), st.sampled_from(LogVerbosity))
def test_no_sequence_of_events_stops_a_run_or_shows_a_secret(
    events: list[happened.Event], verbosity: LogVerbosity
) -> None:
    stream = io.StringIO()
    seen: list[LogEvent] = []
    with tempfile.TemporaryDirectory() as folder:
        logger = RunLogger(
            [
                ConsoleSink(stream, color=False),
                JSONLinesSink(Path(folder, "one.jsonl")),
                JSONLinesSink(base_dir=Path(folder, "each")),
                FileSink(Path(folder, "log.txt")),
                CallbackSink(seen.append),
            ],
            verbosity=verbosity,
        )
        observer = logger.for_run("r1")
        for event in events:
            observer.observe(event)
        logger.close()
        files = {
            path.name: path.read_bytes().decode("utf-8")
            for path in Path(folder).rglob("*")
            if path.is_file()
        }
    log = observer.get_log()
    assert observer.warnings == []
    assert list(log.events) == seen
    assert len(files.get("one.jsonl", "").splitlines()) == len(seen)
    for line in files.get("one.jsonl", "").splitlines():
        json.loads(line)
    console = stream.getvalue()
    assert all(printable(line) == line for line in console.split("\n"))
    everything = [console, *files.values(), json.dumps(log.to_dict()), repr(log)]
    for secret in SECRETS:
        assert not any(secret in text for text in everything)


def lines_of(logger: RunLogger, steps: int) -> Iterator[Callable[[], None]]:
    observer = logger.for_run("r1")
    yield lambda: observer.observe(started())
    for number in range(steps):
        name = f"step{number}"
        yield lambda name=name: observer.observe(happened.StepStarted(name, 1, AT))  # type: ignore[misc]
        yield lambda name=name: observer.observe(completed(name))  # type: ignore[misc]
    yield lambda: observer.observe(finished())


def test_the_cost_of_a_long_run_is_linear() -> None:
    import sys

    def calls(steps: int) -> int:
        made = 0

        def note(*_: object) -> None:
            nonlocal made
            made += 1

        work = list(lines_of(RunLogger(), steps))
        sys.setprofile(note)
        try:
            for do in work:
                do()
        finally:
            sys.setprofile(None)
        return made

    calls(1)  # what is imported on first use
    calls(400)  # what is known of keys is shared
    assert calls(400) < 2.2 * calls(200)
