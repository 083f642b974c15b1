from __future__ import annotations

import builtins
import functools
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from datetime import datetime
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import architecture
import isolated_actions as actions
from kairos.attempt import Outcome, Recipe, Surroundings, Work, failure_of, perform
from kairos.backends.address import address_of
from kairos.backends.answers import read_outcome, write_outcome
from kairos.backends.processes import ProcessWorkers
from kairos.backends.wire import GarbledError, pack, receive
from kairos.backends.worker_handle import spend_of
from kairos.budget import Budget, Ledger
from kairos.contracts.encoding import decode
from kairos.enums import FailureType
from kairos.exceptions import BudgetExceededError, ConfigError, WorkerCrashError
from kairos.step import Fence, Step, StepContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DOC = {"title": "abc", "at": "2026-01-02T00:00:00Z"}


def isolated(action: Callable[..., Any], **options: Any) -> Recipe:
    return Recipe(Step("work", action, isolation="process", **options))


def raw(values: dict[str, Any]) -> dict[str, bytes]:
    return {key: json.dumps(value).encode() for key, value in values.items()}


def attempt(
    recipe: Recipe,
    workers: ProcessWorkers | None,
    inputs: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
    ledger: Ledger | None = None,
    **more: Any,
) -> Work:
    around = Surroundings(
        "run-1", ledger, time.perf_counter, None, workers.perform if workers else None
    )
    return Work(recipe, 1, raw(inputs or {}), raw(state or {}), around, **more)


def once(
    action: Callable[..., Any], inputs: dict[str, Any] | None = None, **options: Any
) -> Outcome:
    with ProcessWorkers() as workers:
        return perform(attempt(isolated(action, **options), workers, inputs))


def value_of(outcome: Outcome) -> Any:
    assert outcome.failure is None
    assert outcome.output is not None
    return decode(outcome.output)


def crash_of(outcome: Outcome) -> str:
    assert outcome.failure is not None
    assert type(outcome.failure.exception) is WorkerCrashError
    assert outcome.failure.error == "WorkerCrashError"
    assert outcome.failure.type is FailureType.EXECUTION
    assert outcome.output is None
    return outcome.failure.message


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(*pids: int) -> None:
    until = time.monotonic() + 30
    while not all(map(is_gone, pids)):
        assert time.monotonic() < until, "a process was left over"
        time.sleep(0)  # let others run


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return str(path)


def hear(fifo: str) -> list[int]:
    """Wait for an action to report the processes it is made of."""
    with open(fifo, encoding="utf-8") as pipe:  # noqa: PTH123
        return [int(word) for word in pipe.read().split()]


@contextmanager
def beside(work: Work) -> Iterator[list[Outcome]]:
    """Make an attempt on another thread, as a driver does; it is over when the block is."""
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(perform(work)))
    thread.start()
    try:
        yield outcomes
    finally:
        thread.join()


# -- what an action is given, and what comes back ----------------------------------------------


def test_an_action_is_handed_its_scope_and_where_it_stands_and_nothing_else() -> None:
    recipe = isolated(actions.standing, read_keys=["x", "s"], foreach="x")
    with ProcessWorkers() as workers:
        work = attempt(
            recipe,
            workers,
            {"x": [1, 2], "not_mine": "secret"},
            {"s": "é", "not_mine": "secret"},
            item=b'{"a":1}',
            item_index=3,
            retry_context={"attempt": 1, "error_type": "execution"},
        )
        found = value_of(perform(work))
    assert found.pop("pid") != os.getpid()
    assert found == {
        "calls": 1,
        "inputs": {"x": [1, 2]},
        "state": {"s": "é"},
        "item": {"a": 1},
        "retry": {"attempt": 1, "error_type": "execution"},
        "ids": ["work", 1, "run-1", 3, "run-1/work/3"],
        "cancelled": False,
    }
    assert actions.CALLS == []  # its globals are not this process's


def test_a_worker_serves_the_items_of_its_step_and_no_other_step() -> None:
    with ProcessWorkers() as workers:
        recipe = isolated(actions.standing, foreach="x")
        pids = set()
        for number in range(4):  # the state changes, and what went is seen no more
            work = attempt(recipe, workers, {"x": [1]}, {f"k{number}": number}, item_index=number)
            found = value_of(perform(work))
            assert (found["inputs"], found["state"]) == ({"x": [1]}, {f"k{number}": number})
            assert found["calls"] == number + 1
            pids.add(found["pid"])
        assert len(pids) == 1
        other = isolated(actions.standing, foreach="x")
        assert value_of(perform(attempt(other, workers, item_index=0)))["pid"] not in pids
    wait_until_gone(*pids)


def test_a_step_that_is_done_keeps_no_process() -> None:
    with ProcessWorkers() as workers:
        plain, fan = isolated(actions.standing), isolated(actions.standing, foreach="x")
        wait_until_gone(value_of(perform(attempt(plain, workers)))["pid"])
        waiting = value_of(perform(attempt(fan, workers, item_index=0)))["pid"]
        assert not is_gone(waiting)
        workers.release(fan.step)
        wait_until_gone(waiting)


def test_values_come_back_as_they_went() -> None:
    values = ["", '\x00\u2028\U0001f600é\x7f\\"', {"a": {"": [1.5, None, True, 10**400]}}, "}\n{"]
    with ProcessWorkers() as workers:
        recipe = isolated(actions.echo, foreach="x")
        for at, value in enumerate([None, *values]):
            work = attempt(recipe, workers, {"x": value}, item_index=at)
            assert value_of(perform(work)) == value


def test_a_large_output_comes_back_whole() -> None:
    assert value_of(once(actions.large, {"x": 10_000_000})) == "é" * 10_000_000


def test_what_an_action_prints_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert value_of(once(actions.talk)) is None
    out, err = capfd.readouterr()
    assert (out, err) == ("said aloud\nto the end", "and complained\n")


def test_an_action_is_not_given_the_terminal_or_this_process_s_files(tmp_path: Path) -> None:
    assert value_of(once(actions.read_stdin)) == ""
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        before = psutil.Process().num_fds()
        assert len(value_of(once(actions.opens))) == 5  # the three streams and two to the driver
    assert psutil.Process().num_fds() == before - 1


def test_environment_and_directory_are_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_TEST", "seen")
    found = value_of(once(actions.surroundings))
    assert found == {"env": "seen", "cwd": os.getcwd(), "main": "isolated_actions"}  # noqa: PTH109


@pytest.mark.parametrize(
    "action, inputs, expected",
    [
        (functools.partial(actions.scaled, factor=3), {"x": 2}, 6),
        (actions.partial_of_partial, {"x": 2}, 6),
        (actions.twofold, {"x": 4}, 8),
        (actions.twofold.add, {"x": 4}, 6),
        (actions.Scale.twice, {"x": 4}, 8),
        (actions.typed, {"fetch": DOC}, {"value": 4.5, "of": DOC}),
        (actions.typed, {"fetch": DOC, "bonus": 1}, {"value": 5.0, "of": DOC}),
        (actions.typed_async, {"fetch": DOC}, DOC | {"title": "ABC"}),
        (actions.waits_for_nothing, {"x": 1}, 1),
    ],
)
def test_actions_of_every_kind_run(action: Any, inputs: dict[str, Any], expected: Any) -> None:
    assert value_of(once(action, inputs)) == expected


def test_a_typed_item_is_parsed() -> None:
    with ProcessWorkers() as workers:
        recipe = isolated(actions.typed_item, foreach="docs")
        work = attempt(recipe, workers, item=json.dumps(DOC).encode(), item_index=0)
        assert value_of(perform(work)) == "abc"


@pytest.mark.parametrize(
    "action, contract, expected",
    [
        (actions.makes_doc, actions.Doc, DOC | {"title": "made"}),
        (actions.makes_doc, actions.Doc | None, DOC | {"title": "made"}),
        (actions.makes_times, dict[str, datetime], {"a": "2026-01-02T00:00:00Z"}),
    ],
)
def test_a_declared_contract_writes_the_output(action: Any, contract: Any, expected: Any) -> None:
    assert value_of(once(action, output_contract=contract)) == expected


@pytest.mark.parametrize("contract", [actions.Score, list[actions.Score]])
def test_a_declared_contract_is_held_against_the_output(contract: Any) -> None:
    failure = once(actions.makes_doc, output_contract=contract).failure
    assert failure is not None
    assert failure.type is FailureType.VALIDATION
    assert failure.faults


def test_what_cannot_be_written_under_a_declared_contract_breaks_it() -> None:
    failure = once(actions.makes_object, output_contract=list[actions.Doc]).failure
    assert failure is not None
    assert (failure.type, failure.faults[0].actual) == (FailureType.VALIDATION, "Scale")


def test_skip_is_a_skip() -> None:
    outcome = once(actions.skips, {"x": 1})
    assert (outcome.skipped, outcome.output, outcome.failure) == ("returned", b"null", None)


def test_writes_and_refused_accesses_come_back() -> None:
    recipe = isolated(actions.reads_too_much, read_keys=["x"], write_keys=["work", "mine"])
    with ProcessWorkers() as workers:
        work = attempt(recipe, workers, {"x": 1, "other": 2}, {"forbidden": "secret"})
        outcome = perform(work)
    assert outcome.failure is not None
    assert "Unauthorized read" in outcome.failure.message
    assert getattr(outcome.failure.exception, "key", None) == "forbidden"
    assert outcome.writes == {"mine": b'{"a":1}'}
    assert [*outcome.refusals] == [("read", "other"), ("write", "elsewhere"), ("read", "forbidden")]


def test_the_scope_of_writes_holds_on_this_side_too() -> None:
    outcome = once(actions.writes_outside)
    assert "not its to write" in crash_of(outcome)
    assert outcome.writes is None


# -- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "which, kind, name",
    [
        ("value", ValueError, "ValueError"),
        ("demanding", actions.DemandingError, "DemandingError"),
        ("own", actions.OwnError, "OwnError"),
        ("exit", SystemExit, "SystemExit"),
        ("interrupt", KeyboardInterrupt, "KeyboardInterrupt"),
        ("unknown", ConnectionResetError, "LocalError"),
        ("unicode", UnicodeDecodeError, "UnicodeDecodeError"),
        ("secret", RuntimeError, "RuntimeError"),
        ("group", Exception, "ExceptionGroup"),
    ],
)
def test_an_exception_comes_back_as_what_it_was(
    which: str, kind: type[BaseException], name: str
) -> None:
    recipe = Recipe(Step("work", actions.raises))
    plain = perform(attempt(recipe, None, {"x": which})).failure
    failure = once(actions.raises, {"x": which}).failure
    assert failure is not None
    assert plain is not None
    assert type(failure.exception) is kind
    assert (failure.type, failure.error, failure.message) == (plain.type, name, plain.message)
    assert "sk-proj" not in str(failure.exception)


def test_an_exception_of_kairos_s_own_keeps_its_parts() -> None:
    failure = once(actions.raises, {"x": "own"}).failure
    assert failure is not None
    error = failure.exception
    assert isinstance(error, actions.OwnError)
    assert (error.message, error.fix, error.step_id) == ("own 1 2", "try again", None)


EXCEPTIONS = sorted(
    (each for each in vars(builtins).values() if isinstance(each, type)), key=lambda c: c.__name__
)


@pytest.mark.parametrize("kind", [e for e in EXCEPTIONS if issubclass(e, BaseException)])
def test_every_builtin_exception_can_be_rebuilt(kind: type[BaseException]) -> None:
    recipe = Recipe(Step("work", actions.echo))
    work = attempt(recipe, None)
    grouped = issubclass(kind, BaseExceptionGroup)
    error = kind("a", [ValueError()]) if grouped else kind.__new__(kind)
    head, blobs = write_outcome(Outcome(work, failure=failure_of(error)))
    failure = read_outcome(work, head, blobs, {}).failure
    assert failure is not None
    assert failure.error == type(error).__name__
    assert grouped or type(failure.exception) is kind
    assert str(failure.exception) in (failure.message, "''")  # a KeyError quotes


def test_rebuilding_an_exception_imports_nothing() -> None:
    work = attempt(Recipe(Step("work", actions.echo)), None)
    head, blobs = write_outcome(Outcome(work, failure=failure_of(ValueError("x"))))
    head["failure"]["classes"] = [["this", "Anything"], ["builtins", "OSError"]]
    failure = read_outcome(work, head, blobs, {}).failure
    assert failure is not None
    assert type(failure.exception) is OSError
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    "action, inputs",
    [
        (actions.typed, {"fetch": {"title": 1}}),
        (actions.typed, {}),
        (actions.wrong_return, {"fetch": DOC}),
        (actions.not_json, {}),
    ],
)
def test_what_breaks_a_contract_fails_as_it_does_in_this_process(
    action: Any, inputs: dict[str, Any]
) -> None:
    plain = perform(attempt(Recipe(Step("work", action)), None, inputs)).failure
    failure = once(action, inputs).failure
    assert plain is not None
    assert failure is not None
    assert type(failure.exception) is type(plain.exception)
    assert failure.faults == plain.faults
    assert (failure.type, failure.error) == (plain.type, plain.error)
    assert failure.message == plain.message


# -- crashes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how, words",
    [
        (0, "exited with status 0 before it answered"),
        (3, "exited with status 3 before it answered"),
        ("segfault", "was killed by SIGSEGV"),
        ("kill", "was killed by SIGKILL"),
        ("hang up", "closed its line before it answered"),
        ("leave a child", "exited with status 5 before it answered"),
    ],
)
def test_a_worker_that_dies_is_a_failed_attempt_and_the_next_has_another(
    how: Any, words: str
) -> None:
    recipe = isolated(actions.dies)
    with ProcessWorkers() as workers:
        message = crash_of(perform(attempt(recipe, workers, {"x": how})))
        assert message == f"the worker process of step 'work' {words}"
        assert value_of(perform(attempt(recipe, workers, {"x": None}))) == "alive"


def test_a_worker_that_dies_while_it_waits_is_replaced() -> None:
    with ProcessWorkers() as workers:
        recipe = isolated(actions.standing, foreach="x")
        pid = value_of(perform(attempt(recipe, workers, item_index=0)))["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)
        found = value_of(perform(attempt(recipe, workers, item_index=1)))
        assert (found["pid"] != pid, found["calls"]) == (True, 1)


def answer(head: dict[str, Any], *blobs: bytes) -> str:
    whole = {"kind": "answer", "number": 1, "usable": True, **head}
    return pack(whole, blobs).decode("latin-1")


GOOD = {
    "output": 0, "skipped": "", "writes": {}, "refusals": [], "failure": None, "warnings": []
}  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        "\x00" * 64,
        pack({"kind": "gossip"}).decode("latin-1"),
        answer(GOOD, b"not json"),
        answer({**GOOD, "number": 2}, b"1"),
        pack({"kind": "charge", "spend": [-5, 0, 0, 0]}).decode("latin-1"),
    ],
)
def test_a_worker_that_answers_garbage_has_crashed(said: str) -> None:
    ledger = Ledger(Budget(llm_calls=1))
    with ProcessWorkers() as workers:
        recipe = isolated(actions.says)
        crash_of(perform(attempt(recipe, workers, {"x": [said]}, ledger=ledger)))
    assert ledger.spent.llm_calls == 0


@pytest.mark.parametrize(
    "change, blobs",
    [
        ({}, []),
        ({}, [b"NaN"]),
        ({}, [b'"\xff"']),
        ({"output": True}, [b"1", b"2"]),
        ({"output": -1}, [b"1"]),
        ({"output": None}, []),
        ({"writes": {"other": 0}}, [b"1"]),
        ({"writes": {"work": None}}, [b"1"]),
        ({"refusals": [["peek", "x"]]}, [b"1"]),
        ({"failure": {"type": "validation"}, "output": None}, []),
        ({"failure": 1}, [b"1"]),
        ({"warnings": [1]}, [b"1"]),
        ({"warnings": None}, [b"1"]),
    ],
)
def test_an_answer_that_is_no_outcome_is_garbled(
    change: dict[str, Any], blobs: list[bytes]
) -> None:
    work = attempt(Recipe(Step("work", actions.echo)), None)
    assert read_outcome(work, GOOD, [b"1"], {}).output == b"1"
    with pytest.raises(GarbledError):
        read_outcome(work, {**GOOD, **change}, blobs, {})


@pytest.mark.parametrize(
    "told", [None, [], [1, 2, 3], [True, 0, 0, 0], [0, 0, 0, "1"], [0, 0, 0, -1.0], [1.5, 0, 0, 0]]
)
def test_a_charge_that_is_no_amount_is_garbled(told: Any) -> None:
    with pytest.raises(GarbledError):
        spend_of(told)


def test_an_answer_beyond_the_limit_is_not_even_read() -> None:
    with ProcessWorkers(max_answer=1_000_000) as workers:
        recipe = isolated(actions.large)
        assert "more than the 1,000,000 allowed" in crash_of(
            perform(attempt(recipe, workers, {"x": 1_000_000}))
        )
        assert value_of(perform(attempt(recipe, workers, {"x": 1}))) == "é"


# -- killing, cancelling, closing --------------------------------------------------------------


def test_giving_up_kills_the_action_and_what_it_started(fifo: str) -> None:
    with ProcessWorkers() as workers:
        work = attempt(isolated(actions.spins_forever), workers, {"fifo": fifo})
        with beside(work) as outcomes:
            pids = hear(fifo)
            assert len(pids) == 2
            work.fence.give_up()
        wait_until_gone(*pids)
        assert "was killed" in crash_of(outcomes[0])


def test_an_attempt_that_was_given_up_before_it_began_is_not_made() -> None:
    with ProcessWorkers() as workers:
        work = attempt(isolated(actions.standing), workers)
        work.fence.give_up()
        crash_of(perform(work))


class Recording(Fence):
    """Keeps what it was handed: a driver's thread may call it just as the attempt ends."""

    def __init__(self) -> None:
        self.handed_out: list[Callable[[], None]] = []
        super().__init__()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("on_give_up", "on_cancel") and value is not None:
            self.handed_out.append(value)


def test_giving_up_late_does_not_hit_the_next_attempt() -> None:
    with ProcessWorkers() as workers:
        recipe = isolated(actions.standing, foreach="x")
        first = attempt(recipe, workers, item_index=0)
        first.fence = fence = Recording()
        pid = value_of(perform(first))["pid"]
        assert len(fence.handed_out) == 2
        for call in fence.handed_out:
            call()
        found = value_of(perform(attempt(recipe, workers, item_index=1)))
        assert (found["pid"], found["cancelled"]) == (pid, False)


def test_a_cancelled_action_is_told(fifo: str) -> None:
    with ProcessWorkers() as workers:
        work = attempt(isolated(actions.spins), workers, {"fifo": fifo})
        with beside(work) as outcomes:
            hear(fifo)
            work.fence.cancel()
        assert value_of(outcomes[0]) == "told"


def test_an_action_that_starts_cancelled_knows() -> None:
    with ProcessWorkers() as workers:
        work = attempt(isolated(actions.standing), workers)
        work.fence.cancel()
        assert value_of(perform(work))["cancelled"] is True


def test_attempts_side_by_side_have_a_worker_each(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in "abc"]
    for path in paths:
        os.mkfifo(path)
    with ProcessWorkers() as workers:
        recipe = isolated(actions.spins, foreach="x")
        works = [
            attempt(recipe, workers, {"fifo": path}, item_index=at) for at, path in enumerate(paths)
        ]
        with beside(works[0]), beside(works[1]), beside(works[2]):
            pids = [pid for path in paths for pid in hear(path)]
            assert len(set(pids)) == 3
            for work in works:
                work.fence.cancel()


def test_closing_kills_what_runs_and_refuses_more(fifo: str) -> None:
    workers = ProcessWorkers()
    work = attempt(isolated(actions.spins_forever), workers, {"fifo": fifo})
    with beside(work) as outcomes:
        pids = hear(fifo)
        workers.close()
    wait_until_gone(*pids)
    crash_of(outcomes[0])
    assert crash_of(perform(attempt(isolated(actions.standing), workers))) == "the run is over"
    workers.close()


SCRIPT = """
import sys, time
sys.path[:0] = {path!r}
import isolated_actions as actions
from kairos.attempt import Recipe, Surroundings, Work, perform
from kairos.backends.processes import ProcessWorkers
from kairos.step import Step
with ProcessWorkers() as workers:
    step = Step("work", actions.{action}, isolation="process")
    around = Surroundings("", None, time.perf_counter, None, workers.perform)
    perform(Work(Recipe(step), 1, {{"fifo": b'"{fifo}"'}}, {{}}, around))
"""


@pytest.mark.parametrize("action", ["spins_forever", "keeps_the_lock"])
def test_a_driver_that_is_killed_leaves_no_orphans(action: str, fifo: str, tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    path = [str(architecture.ROOT), str(architecture.ROOT / "tests")]
    script.write_text(SCRIPT.format(path=path, action=action, fifo=fifo), encoding="utf-8")
    with subprocess.Popen([sys.executable, script]) as driver:
        pids = hear(fifo)
        assert not any(map(is_gone, pids))
        driver.kill()
    wait_until_gone(*pids)


# -- the budget --------------------------------------------------------------------------------


def test_spending_is_booked_with_the_run_and_limited_by_it() -> None:
    ledger = Ledger(Budget(llm_calls=5))
    with ProcessWorkers() as workers:
        recipe = isolated(actions.calls_models, foreach="x")
        first = perform(attempt(recipe, workers, {"x": 3}, ledger=ledger, item_index=0))
        assert value_of(first) == 3
        assert (ledger.spent.llm_calls, ledger.spent.input_tokens, ledger.spent.usd) == (3, 3, None)
        second = perform(attempt(recipe, workers, {"x": 9}, ledger=ledger, item_index=1))
    assert first.work.tab.spent is not None
    assert second.work.tab.spent is not None
    spent = first.work.tab.spent.llm_calls, second.work.tab.spent.llm_calls
    assert (*spent, ledger.spent.llm_calls) == (3, 3, 6)
    assert second.failure is not None
    assert isinstance(second.failure.exception, BudgetExceededError)
    assert second.failure.exception.message == "LLM call limit reached: 5"
    assert ledger.tripped is not None


def test_what_was_spent_before_a_crash_is_counted() -> None:
    ledger = Ledger()
    with ProcessWorkers() as workers:
        recipe = isolated(actions.calls_models)
        outcome = perform(attempt(recipe, workers, {"x": 2, "die": True}, ledger=ledger))
    crash_of(outcome)
    assert outcome.work.tab.spent is not None
    assert (outcome.work.tab.spent.llm_calls, ledger.spent.llm_calls) == (2, 2)


# -- isolation ---------------------------------------------------------------------------------


def test_nothing_unreadable_can_be_found_in_the_worker() -> None:
    hidden, shown = os.urandom(8).hex(), os.urandom(8).hex()
    recipe = isolated(actions.search, read_keys=["halves", "readable", "earlier"])
    with ProcessWorkers() as workers:
        work = attempt(
            recipe,
            workers,
            {"halves": [hidden, shown], "unreadable": f"marker-{hidden}-value"},
            {"readable": [f"marker-{shown}-value"], "secret": {"a": f"marker-{hidden}-value"}},
        )
        found = value_of(perform(work))
    assert found[hidden] == []
    assert set(found[shown]) >= {"frames", "objects"}


# -- where an action is found ------------------------------------------------------------------


def make_closure() -> Callable[[StepContext], int]:
    captured = 1

    def inner(ctx: StepContext) -> int:
        return captured

    return inner


def replaced(ctx: StepContext) -> None:
    pass


original = replaced


def replaced(ctx: StepContext) -> int:  # type: ignore[no-redef]
    return 1


def session() -> Callable[..., Any]:
    """Return a function as an interactive session defines them: in no file."""
    module = ModuleType("no_such_file")
    sys.modules["no_such_file"] = module
    copy = FunctionType(session.__code__, {"__name__": "no_such_file"}, "typed_in")
    copy.__qualname__ = "typed_in"
    module.typed_in = copy  # type: ignore[attr-defined]
    return copy


@pytest.mark.parametrize(
    "action, what",
    [
        (lambda ctx: 1, "a lambda"),
        (make_closure(), "defined inside another"),
        (functools.partial(make_closure()), "defined inside another"),
        (actions.Scale(3), "an object of Scale"),
        (actions.Scale(3).add, "a method of an object"),
        (original, "not what 'replaced' means"),
        (session(), "interactive session"),
    ],
)
def test_an_action_that_another_process_cannot_find_is_refused(action: Any, what: str) -> None:
    step = Step("work", action, isolation="process")
    with pytest.raises(ConfigError) as caught:
        address_of(action, step)
    assert what in caught.value.message
    assert "test_processes.py:" in str(caught.value) or "isolated_actions.py:" in str(caught.value)
    assert caught.value.fix
    with ProcessWorkers() as workers:
        failure = perform(attempt(Recipe(step), workers, {"x": 1})).failure
    assert failure is not None
    assert type(failure.exception) is ConfigError


@pytest.mark.parametrize("factor", [(1, 2), actions.Box(1), {1: 2}, b"x", float("inf")])
def test_a_partial_with_an_argument_that_is_no_json_is_refused(factor: Any) -> None:
    action = functools.partial(actions.scaled, factor=factor)
    with pytest.raises(ConfigError) as caught:
        address_of(action, Step("work", action, isolation="process"))
    assert caught.value.found == type(factor).__name__


FLOW = """
import sys, time
sys.path[:0] = {path!r}
from kairos.attempt import Recipe, Surroundings, Work, perform
from kairos.backends.processes import ProcessWorkers
from kairos.step import Step

class OwnError(Exception):
    def __init__(self, a, b): ...

def act(ctx):
    if ctx.inputs["x"] == 2:
        raise OwnError(1, 2)
    return [__name__, ctx.inputs["x"] * 2]

def main():
    with ProcessWorkers() as workers:
        recipe = Recipe(Step("work", act, isolation="process"))
        around = Surroundings("", None, time.perf_counter, None, workers.perform)
        for x in (b"1", b"2"):
            outcome = perform(Work(recipe, 1, {{"x": x}}, {{}}, around))
            error = outcome.failure and outcome.failure.exception
            message = outcome.failure and outcome.failure.message
            print(outcome.output, message, type(error) is OwnError)
"""
PATH = [str(architecture.ROOT)]


def run(*arguments: Any, cwd: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", ["flow.py", "flow", "json.py"])
def test_an_action_of_the_script_that_is_run_is_found(name: str, tmp_path: Path) -> None:
    script = tmp_path / "elsewhere" / name
    script.parent.mkdir()
    guarded = f'{FLOW.format(path=PATH)}\nif __name__ == "__main__":\n    main()\n'
    script.write_text(guarded, encoding="utf-8")
    # its folder shadows nothing that the worker itself needs
    command = ["-P", script] if name == "json.py" else [script]
    assert run(*command, cwd=tmp_path) == [
        """b'["__kairos_main__",2]' None False""",
        "None (1, 2) True",
    ]


def test_an_action_of_a_module_that_is_run_is_found(tmp_path: Path) -> None:
    package = tmp_path / "flows"
    package.mkdir()
    (package / "__init__.py").touch()
    guarded = f'{FLOW.format(path=PATH)}\nif __name__ == "__main__":\n    main()\n'
    (package / "daily.py").write_text(guarded, encoding="utf-8")
    assert run("-m", "flows.daily", cwd=tmp_path) == [
        """b'["flows.daily",2]' None False""",
        "None (1, 2) True",
    ]


def test_an_action_of_a_file_that_no_name_finds_is_found(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(FLOW.format(path=PATH), encoding="utf-8")
    load = """
        import importlib.util, sys
        spec = importlib.util.spec_from_file_location("unheard_of.flow", "flow.py")
        module = sys.modules["unheard_of.flow"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.main()
    """
    (tmp_path / "loader.py").write_text(textwrap.dedent(load), encoding="utf-8")
    assert run("loader.py", cwd=tmp_path) == [
        """b'["unheard_of.flow",2]' None False""",
        "None (1, 2) True",
    ]


def test_a_script_without_its_guard_is_told_and_does_not_start_itself_again(
    tmp_path: Path,
) -> None:
    (tmp_path / "flow.py").write_text(f"{FLOW.format(path=PATH)}\nmain()\n", encoding="utf-8")
    lines = run("flow.py", cwd=tmp_path)
    assert len(lines) == 2
    assert all('below `if __name__ == "__main__":`' in line for line in lines)


def test_a_module_that_fails_in_the_worker_is_a_failed_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "fickle.py"
    file.write_text("def act(ctx):\n    return 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import fickle  # type: ignore[import-not-found]

    recipe = isolated(fickle.act)
    file.write_text("raise RuntimeError('not today')  # and longer than it was\n", encoding="utf-8")
    with ProcessWorkers() as workers:
        failure = perform(attempt(recipe, workers)).failure
        assert failure is not None
        assert failure.error == "ExecutionError"
        assert failure.message == (
            "the action of step 'work' cannot be imported in its own process"
            " (RuntimeError: not today)"
        )
        file.write_text("def act(ctx):\n    return 22  # mended meanwhile\n", encoding="utf-8")
        assert value_of(perform(attempt(recipe, workers))) == 22


# -- the wire ----------------------------------------------------------------------------------


def reader(message: bytes) -> Callable[[int], bytes]:
    position = 0

    def read(count: int) -> bytes:
        nonlocal position
        position += count
        if position > len(message):
            raise EOFError
        return message[position - count : position]

    return read


TEXT = st.text(st.characters(), max_size=8)  # lone surrogates too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT.filter(lambda key: key != "blobs"), JSON), st.lists(st.binary()))
def test_a_message_arrives_as_it_was_sent(head: dict[str, Any], blobs: list[bytes]) -> None:
    assert receive(reader(pack(head, blobs))) == (head, blobs)


@given(st.binary(max_size=80), st.binary(max_size=20), st.integers(0, 60))
def test_what_is_no_message_is_garbled_or_cut_short(noise: bytes, other: bytes, cut: int) -> None:
    whole = pack({"kind": "answer"}, [b"1"])
    for message in (noise, whole[:cut] + other + whole[cut:], b"krs1" + noise):
        try:
            head, _ = receive(reader(message), 1000)
        except (GarbledError, EOFError):
            continue
        assert isinstance(head, dict)


@settings(max_examples=300)
@given(st.data())
def test_an_answer_is_read_or_garbled_and_nothing_else(data: st.DataObject) -> None:
    work = attempt(Recipe(Step("work", actions.echo)), None)
    failure: dict[str, Any] = {
        "type": "execution",
        "error": "X",
        "message": "m",
        "faults": [["a", "b", "c", "d"]],
        "output": None,
        "classes": [["builtins", "OSError"]],
        "details": {},
    }
    head: dict[str, Any] = {**GOOD, "failure": data.draw(st.none() | st.just(failure))}
    for target in filter(None, (head, head["failure"])):
        for key in data.draw(st.sets(st.sampled_from(sorted(target)), max_size=2)):
            target[key] = data.draw(JSON)
    try:
        outcome = read_outcome(work, head, [b"1"], {})
    except GarbledError:
        return
    assert (outcome.output is None) is not (outcome.failure is None)
    assert set(outcome.writes or ()) <= {"work"}
    if outcome.failure is not None:
        outcome.failure.message.encode()
        outcome.failure.error.encode()
        str(outcome.failure.exception)
