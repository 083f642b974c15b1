"""Cached steps: what is found again, what is not, and what a cache may never do."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import importlib
import json
import random
import re
import sqlite3
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from isolated_actions import surroundings
from kairos import (
    SKIP,
    Cache,
    CallbackSink,
    FailurePolicy,
    RunLogger,
    Step,
    StepContext,
    StepResult,
    Workflow,
    step,
)
from kairos.adapters.claude import claude
from kairos.attempts.memory import _Entry, _read, _written
from kairos.caches import MemoryCache, SQLiteCache
from kairos.enums import FailureAction
from kairos.exceptions import ConfigError, StoreError
from kairos.testing import FakeProviders, ManualClock
from running import NO_RETRY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kairos.ports import StepCache


class Counted:
    """A cache that tells what it was asked for."""

    at_rest = False

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.found = 0

    def get(self, key: str, /) -> bytes | None:
        value = self.kept.get(key)
        self.found += value is not None
        return value

    def put(self, key: str, value: bytes, /) -> None:
        self.kept[key] = value


class Broken:
    """A cache whose disk is full, and cannot be read either."""

    at_rest = True

    def get(self, _key: str, /) -> bytes | None:
        raise StoreError("the cache c.db cannot be read")

    def put(self, _key: str, _value: bytes, /) -> None:
        raise StoreError("the cache c.db cannot grow: the disk is full")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProviders]:
    with FakeProviders() as fake:
        for name, value in {**fake.environ(), "KAIROS_ALLOW_LOCALHOST": "1"}.items():
            monkeypatch.setenv(name, value)
        yield fake


# -- what is found --------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "sqlite"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StepCache]:
    if request.param == "memory":
        yield MemoryCache()
    else:
        with SQLiteCache(tmp_path / "cache.db") as made:
            yield made


def counted(cache: StepCache | None = None, **options: Any) -> tuple[Workflow, list[Any]]:
    calls: list[Any] = []

    class Action:
        def __kairos_identity__(self) -> Any:
            return "counted"

        def __call__(self, ctx: StepContext) -> Any:
            calls.append(ctx.inputs["x"])
            return ctx.inputs["x"]

    made = Step("copy", Action(), read_keys=["x"], cache=True, **options)
    return Workflow("cached", [made], cache=cache), calls


def test_the_same_work_is_done_once(cache: StepCache) -> None:
    workflow, calls = counted(cache)
    first, second, third = (workflow.run({"x": x}) for x in (1, 1, 2))
    assert [each.output for each in (first, second, third)] == [1, 1, 2]
    assert calls == [1, 2]
    assert [r.step_results["copy"].cached for r in (first, second, third)] == [False, True, False]


async def test_the_same_work_is_done_once_on_an_event_loop(cache: StepCache) -> None:
    calls = []

    async def double(ctx: StepContext) -> int:
        calls.append(1)
        return int(ctx.inputs["x"]) * 2

    made = Step("double", double, read_keys=["x"], cache=Cache(version="1"))
    workflow = Workflow("cached", [made], cache=cache)
    outputs = [(await workflow.run_async({"x": 2})).output for _ in range(2)]
    assert (outputs, len(calls)) == ([4, 4], 1)


def test_what_is_true_in_python_alone_is_not_the_same(cache: StepCache) -> None:
    workflow, calls = counted(cache)
    for x in (1, 1.0, True, "1", None, [1], {"a": 1, "b": 2}):
        assert workflow.run({"x": x}).output == x
    assert len(calls) == 7


def test_a_key_that_is_not_there_is_not_one_that_is_none(cache: StepCache) -> None:
    seen = []

    @step(cache=Cache(version="1"))
    def told(x: int | None = 7) -> int | None:
        seen.append(x)
        return x

    workflow = Workflow("w", [told], cache=cache)
    assert [workflow.run(i).output for i in ({}, {"x": None}, {}, {"x": None})] == [7, None] * 2
    assert seen == [7, None]


def test_values_do_not_run_together(cache: StepCache) -> None:
    @step(cache=True)
    def joined(a: str, b: str) -> str:
        return f"{a}|{b}"

    workflow = Workflow("w", [joined], cache=cache)
    assert workflow.run({"a": "x", "b": "yz"}).output == "x|yz"
    assert workflow.run({"a": "xy", "b": "z"}).output == "xy|z"


def test_an_element_is_found_in_whatever_list_it_stands(cache: StepCache) -> None:
    calls: list[str] = []

    @step(foreach="rows", parallel=True, cache=Cache(version="1"))
    def upper(item: str) -> str:
        calls.append(item)
        return item.upper()

    workflow = Workflow("w", [upper], cache=cache)
    assert workflow.run({"rows": ["a", "b"]}).output == ["A", "B"]
    result = workflow.run({"rows": ["c", "b", "a"]})
    assert result.output == ["C", "B", "A"]
    assert sorted(calls) == ["a", "b", "c"]
    items = result.step_results["upper"].items or []
    assert [each.cached for each in items] == [False, True, True]
    assert not result.step_results["upper"].cached
    assert workflow.run({"rows": ["a", "b"]}).step_results["upper"].cached


def test_an_element_whose_action_sees_the_whole_list_is_another_in_another_list() -> None:
    @step(foreach="rows", cache=Cache(version="1"))
    def share(item: int, rows: list[int]) -> float:
        return item / sum(rows)

    def by_context(ctx: StepContext) -> float:
        return float(ctx.item / sum(ctx.inputs["rows"]))

    untyped = Step("share", by_context, read_keys=["rows"], foreach="rows", cache=True)
    for each in (share, untyped):
        workflow = Workflow("w", [each])
        assert workflow.run({"rows": [1, 1]}).output == [0.5, 0.5]
        assert workflow.run({"rows": [1, 3]}).output == [0.25, 0.75]


def test_what_a_step_wrote_is_found_with_its_output(cache: StepCache) -> None:
    def write(ctx: StepContext) -> str:
        ctx.state.set("aside", ctx.inputs["x"] + 1)
        return "done"

    made = Step("write", write, read_keys=["x"], write_keys=["write", "aside"], cache=True)
    read = Step("read", lambda ctx: ctx.state.get("aside"), depends_on=["write"])
    workflow = Workflow("w", [made, read], cache=cache)
    first, second = workflow.run({"x": 1}), workflow.run({"x": 1})
    assert first.output == second.output == 2
    assert second.step_results["write"].cached


def test_an_isolated_step_is_cached_on_this_side(cache: StepCache) -> None:
    made = Step("here", surroundings, read_keys=[], isolation="process", cache=True)
    workflow = Workflow("w", [made], cache=cache)
    first, second = workflow.run(), workflow.run()
    assert first.output == second.output
    assert [r.step_results["here"].cached for r in (first, second)] == [False, True]


def test_when_is_asked_before_the_cache(cache: StepCache) -> None:
    workflow, calls = counted(cache, when=lambda ctx: ctx.inputs["x"] > 0)
    assert workflow.run({"x": 1}).output == 1
    assert workflow.run({"x": 0}).step_results["copy"].status == "skipped"
    assert workflow.run({"x": 1}).step_results["copy"].cached
    assert calls == [1]


def test_a_run_of_a_kind_costs_its_calls_once(fake: FakeProviders, tmp_path: Path) -> None:
    prompt = Step("ask", claude("Research {item}"), foreach="topics", parallel=True, cache=True)
    for topics, calls in ((["bees", "ants"], 2), (["ants", "wasps", "bees"], 1)):
        with SQLiteCache(tmp_path / "answers.db") as cache:  # as another process would
            result = Workflow("ask", [prompt], cache=cache).run({"topics": topics})
        assert result.output == [f"echo: Research {each}" for each in topics]
        assert result.llm_calls == calls
    assert len(fake.requests) == 3


# -- what is another ------------------------------------------------------------------------------


def keys_of(*steps: Step) -> list[str]:
    cache = Counted()
    for each in steps:
        Workflow("w", [each], cache=cache).run({"x": 3, "text": "a"})
    return list(cache.kept)


LIMIT = 3


def test_an_action_that_changes_is_another() -> None:
    def one(x: int) -> int:
        return x + 1

    def other(x: int) -> int:
        return x + 2

    def made(n: int) -> Any:
        def add(x: int) -> int:
            return x + n

        return add

    actions = [one, other, made(1), made(2)]
    assert len(keys_of(*(Step("add", each, cache=True) for each in actions))) == 4
    same = [Step("add", made(1), cache=True) for _ in range(2)]
    assert len(keys_of(*same)) == 1


def test_a_version_a_name_and_a_contract_make_another() -> None:
    def same(x: int) -> int:
        return x

    steps = [
        Step("a", same, cache=True),
        Step("b", same, cache=True),
        Step("a", same, cache=Cache(version="2")),
        Step("a", same, cache=True, output_contract=float),
    ]
    assert len(keys_of(*steps)) == 4


def test_a_prompt_a_model_an_option_and_a_server_make_another(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asking(prompt: str = "Sum up {text}", **options: Any) -> Step:
        return Step("sum", claude(prompt, **options), cache=True)

    other = [
        asking(),
        asking("Sum up: {text}"),
        asking(model="claude-opus-5-5"),
        asking(system="brief"),
        asking(max_tokens=17),
    ]
    keys = keys_of(*other)
    assert len(keys) == len(other)
    assert keys_of(asking(timeout=33.0)) == keys[:1]  # how long one waits changes no answer
    monkeypatch.setenv("ANTHROPIC_BASE_URL", fake.url.replace("127.0.0.1", "localhost"))
    assert keys_of(asking()) != keys[:1]


def test_a_fallback_chain_is_all_its_links(fake: FakeProviders) -> None:
    both = claude("Sum up {text}") | claude("Sum up {text}", model="claude-opus-5-5")
    alone = claude("Sum up {text}")
    assert len(keys_of(Step("sum", both, cache=True), Step("sum", alone, cache=True))) == 2
    assert fake.requests


def test_time_ends_what_has_a_ttl(cache: StepCache) -> None:
    clock = ManualClock()
    calls = []

    def stamp(ctx: StepContext) -> int:
        calls.append(ctx.attempt)
        return len(calls)

    made = Step("stamp", stamp, read_keys=[], cache=Cache("1", ttl=60))
    workflow = Workflow("w", [made], cache=cache, clock=clock)
    assert [workflow.run().output, workflow.run().output] == [1, 1]
    clock.advance(59)
    assert workflow.run().output == 1
    clock.advance(1)
    assert workflow.run().output == 2


# -- what is never kept, or never passed on -------------------------------------------------------


def test_a_failure_and_a_skip_are_not_kept() -> None:
    cache = Counted()
    answers: list[Any] = [ValueError("no"), SKIP, 5]

    def act(ctx: StepContext) -> Any:
        del ctx
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    made = Step("act", act, read_keys=[], cache=Cache(version="1"), failure_policy=NO_RETRY)
    workflow = Workflow("w", [made], cache=cache)
    statuses = [workflow.run().step_results["act"].status for _ in range(4)]
    assert [str(each) for each in statuses] == ["failed_final", "skipped", "completed", "completed"]
    assert len(cache.kept) == 1


def test_what_a_retry_brought_is_kept() -> None:
    cache = Counted()

    @step(cache=Cache(version="1"), retries=2)
    def flaky(x: int, ctx: StepContext) -> int:
        if ctx.attempt == 1:
            raise ConnectionError
        return x

    workflow = Workflow("w", [flaky], cache=cache)
    assert len(workflow.run({"x": 1}).step_results["flaky"].attempts) == 2
    assert workflow.run({"x": 1}).step_results["flaky"].cached


class Score(BaseModel):
    points: int = Field(ge=0, le=10)


def test_an_entry_that_breaks_the_contract_of_today_is_not_used() -> None:
    cache = Counted()
    act = Step("score", lambda ctx: {"points": 7}, read_keys=[], output_contract=Score, cache=True)
    workflow = Workflow("w", [act], cache=cache)
    workflow.run()
    (key,) = cache.kept
    cache.kept[key] = _written(key, _Entry(b'{"points":70}', {}, 0.0))
    result = workflow.run()
    assert result.output == {"points": 7}
    assert not result.step_results["score"].cached
    assert workflow.run().step_results["score"].cached  # what was fresh took its place


def test_an_entry_that_the_validators_of_today_refuse_is_not_used() -> None:
    cache = Counted()
    refused: list[int] = []

    def act(ctx: StepContext) -> int:
        del ctx
        return 8

    def even(value: int) -> bool:
        return value not in refused and value % 2 == 0

    made = Step("n", act, read_keys=[], validators=[even], cache=Cache(version="1"))
    workflow = Workflow("w", [made], cache=cache)
    assert workflow.run().output == 8
    assert workflow.run().step_results["n"].cached
    (key,) = cache.kept
    cache.kept[key] = _written(key, _Entry(b"7", {}, 0.0))
    assert workflow.run().output == 8


def test_an_entry_that_writes_what_its_step_may_not_is_not_used() -> None:
    cache = Counted()
    workflow = Workflow("w", [Step("a", lambda ctx: 1, read_keys=[], cache=True)], cache=cache)
    workflow.run()
    (key,) = cache.kept
    cache.kept[key] = _written(key, _Entry(b"1", {"admin": b"true"}, 0.0))
    result = workflow.run()
    assert (result.output, "admin" in result.final_state) == (1, False)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_an_entry_that_none_wrote(junk: bytes) -> None:
    read = _read("key", junk)
    assert read is None or all(json.loads(raw) is not ... for raw in (read[0], *read[1].values()))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(_json, st.dictionaries(st.text(max_size=5), _json, max_size=3), st.integers(0, 300))
def test_an_entry_is_read_as_it_was_written_or_not_at_all(
    output: Any, writes: dict[str, Any], cut: int
) -> None:
    raw = {key: json.dumps(value).encode() for key, value in writes.items()}
    entry = _Entry(json.dumps(output).encode(), raw, 7.0, ["mind the gap"])
    kept = _written("key", entry)
    assert _read("key", kept) == entry
    assert _read("another key", kept) is None
    if cut < len(kept):
        assert _read("key", kept[:cut]) is None
        assert _read("key", kept[:cut] + bytes([kept[cut] ^ 1]) + kept[cut + 1 :]) is None


# -- secrets --------------------------------------------------------------------------------------


class Login(BaseModel):
    user: str
    password: str


@pytest.mark.parametrize(
    "name, options, found",
    [
        ("token", {}, "token"),
        ("login", {"output_contract": Login}, "login.password"),
        ("mail", {"labels": ["pii"]}, "pii"),
    ],
)
def test_a_file_is_not_to_hold_secrets(
    tmp_path: Path, name: str, options: dict[str, Any], found: str
) -> None:
    made: Step = Step(name, lambda ctx: {}, read_keys=[], cache=True, **options)
    with SQLiteCache(tmp_path / "c.db") as cache:
        with pytest.raises(ConfigError, match="holds secrets") as raised:
            Workflow("w", [made], cache=cache)
        assert raised.value.found == found
        assert raised.value.where is not None
    Workflow("w", [made], cache=MemoryCache())  # as the state does, and no longer


def test_a_secret_that_a_run_finds_is_not_kept_in_a_file(tmp_path: Path) -> None:
    secret = "s3cr3t-in-an-output"
    made = Step("login", lambda ctx: {"api_key": secret}, read_keys=[], cache=True)
    with SQLiteCache(tmp_path / "c.db") as cache:
        workflow = Workflow("w", [made], cache=cache)
        result = workflow.run()
        assert any("secret" in each for each in result.warnings)
        assert secret not in str(result.to_dict())
        assert not workflow.run().step_results["login"].cached
        assert len(cache) == 0
    assert all(secret.encode() not in path.read_bytes() for path in tmp_path.iterdir())


# -- when it fails --------------------------------------------------------------------------------


def test_a_cache_that_fails_fails_no_step() -> None:
    result = Workflow(
        "w", [Step("a", lambda ctx: 1, read_keys=[], cache=True)], cache=Broken()
    ).run()
    assert result.output == 1
    assert len([each for each in result.warnings if "cache" in each]) == 2
    assert any("disk is full" in each for each in result.warnings)


def test_a_damaged_file_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    path.write_bytes(b"no database at all, but long enough to be looked at" * 50)
    with pytest.raises(StoreError, match=r"c\.db is no SQLite database"):
        SQLiteCache(path)


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (a)")
    other.close()
    with pytest.raises(StoreError, match="another program"):
        SQLiteCache(path)


def test_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    with SQLiteCache(tmp_path / "c.db"):
        assert stat.S_IMODE((tmp_path / "c.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("most", [1, 5, 64, 100])
def test_a_cache_does_not_grow_without_end(tmp_path: Path, most: int) -> None:
    memory = MemoryCache(most)
    with SQLiteCache(tmp_path / "c.db", max_entries=most) as file:
        for number in range(300):
            for cache in (memory, file):
                cache.put(f"k{number}", b"%d" % number)
        assert len(memory) == most
        assert len(file) < most + 64
        assert file.get("k299") == memory.get("k299") == b"299"
        file.clear()
        memory.clear()
        assert len(file) == len(memory) == 0


def test_what_was_used_last_stays_in_memory() -> None:
    memory = MemoryCache(2)
    for key in ("a", "b"):
        memory.put(key, key.encode())
    memory.get("a")
    memory.put("c", b"c")
    assert [memory.get(key) for key in "abc"] == [b"a", None, b"c"]


def test_threads_share_a_cache(cache: StepCache) -> None:
    wrong: list[Any] = []

    def work(first: int) -> None:
        for number in range(first, first + 50):
            cache.put(f"k{number}", b"%d" % number)
            if cache.get(f"k{number}") != b"%d" % number:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n * 25,)) for n in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong


def test_what_was_kept_before_a_kill_is_found(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from kairos.caches import SQLiteCache
cache = SQLiteCache(sys.argv[1])
for number in range(1000):
    cache.put(f"k{number}", b"%d" % number)
    print(number, flush=True)
    if number == 300:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "c.db"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    acknowledged = [int(each) for each in re.findall(r"^\d+$", done.stdout, re.MULTILINE)]
    assert len(acknowledged) == 301
    with SQLiteCache(path) as cache:
        assert [n for n in acknowledged if cache.get(f"k{n}") != b"%d" % n] == []


# -- what is refused ------------------------------------------------------------------------------


def test_a_step_that_does_not_say_what_it_reads_is_not_cached() -> None:
    with pytest.raises(ConfigError, match="does not say what it reads"):
        Step("a", lambda ctx: 1, cache=True)


def test_an_action_that_nothing_tells_apart_needs_a_version() -> None:
    class Client:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __call__(self, ctx: StepContext) -> int:
            del ctx
            return 1

    with pytest.raises(ConfigError, match="nothing tells when its action changes") as raised:
        Workflow("w", [Step("a", Client(), read_keys=[], cache=True)])
    assert "version" in str(raised.value.fix)
    Workflow("w", [Step("a", Client(), read_keys=[], cache=Cache("1"))])


@pytest.mark.parametrize("given", [1, "yes", 3600, object(), {"ttl": 3}])
def test_what_is_no_cache_option_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="cache is not what it takes"):
        Step("a", lambda ctx: 1, read_keys=[], cache=given)


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), True, "1"])
def test_a_ttl_is_a_number_of_seconds(ttl: Any) -> None:
    with pytest.raises(ConfigError, match="ttl is not what it takes"):
        Cache(ttl=ttl)


@pytest.mark.parametrize("given", [{}, "cache.db", 1, object()])
def test_what_is_no_cache_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="cache is no cache"):
        Workflow("w", [Step("a", lambda ctx: 1)], cache=given)


def test_a_step_of_a_replanner_is_cached_too() -> None:
    cache = Counted()

    def fails(ctx: StepContext) -> None:
        raise ValueError

    policy = FailurePolicy(max_retries=0, on_execution_fail=FailureAction.REPLAN)
    workflow = Workflow(
        "w",
        [Step("a", fails, failure_policy=policy)],
        cache=cache,
        replanner=lambda request: [Step("a", lambda ctx: 5, read_keys=[], cache=True)],
    )
    assert workflow.run().output == 5
    assert len(cache.kept) == 1
    assert workflow.run().step_results["a"].cached


# -- how it is told -------------------------------------------------------------------------------


def test_results_and_logs_say_what_was_found() -> None:
    entries: list[Any] = []
    workflow, _ = counted()
    workflow.add_hook(RunLogger([CallbackSink(entries.append)]))
    workflow.run({"x": 1})
    result = workflow.run({"x": 1})
    told = [each.data.get("cached") for each in entries if each.event_type == "step_complete"]
    assert told == [None, True]
    plain = result.to_dict()["step_results"]["copy"]
    assert plain["cached"] is True
    assert StepResult.from_dict(plain).cached


def test_a_run_on_the_command_line_says_how_much_was_found(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "from kairos import Workflow, step\n"
        "from kairos.caches import SQLiteCache\n"
        "@step(cache=True, foreach='rows')\n"
        "def double(item: int) -> int:\n"
        "    return item * 2\n"
        "workflow = Workflow('w', [double], cache=SQLiteCache('cache.db'))\n"
    )
    asked = [sys.executable, "-m", "kairos", "run", "flow.py", "-i", '{"rows": [1, 2, 3]}']
    first, second = (
        subprocess.run(asked, capture_output=True, text=True, cwd=tmp_path, check=False)
        for _ in range(2)
    )
    assert first.stdout == second.stdout == "[2, 4, 6]\n"
    assert "cached" not in first.stderr
    assert "3 cached" in second.stderr


# -- what would be a wrong value -------------------------------------------------------------------


class Times:
    """An object that is called, with what it holds in every place that an object has."""

    shared = 1

    def __init__(self, inner: Any, by: int) -> None:
        functools.update_wrapper(self, inner)
        self.inner, self.by = inner, by

    def __call__(self, ctx: StepContext) -> Any:
        return self.inner(ctx) * self.by * self.shared


class Hidden:
    __slots__ = ("__by",)

    def __init__(self, by: int) -> None:
        self.__by = by

    def __call__(self, ctx: StepContext) -> Any:
        return ctx.inputs["x"] * self.__by


@dataclasses.dataclass
class Late:
    name: str

    def __call__(self, ctx: StepContext) -> Any:
        return ctx.inputs["x"] * self.by  # type: ignore[attr-defined]


class Listed(list[Any]):
    def __call__(self, ctx: StepContext) -> Any:
        return ctx.inputs["x"] * self.by  # type: ignore[attr-defined]


def held_late(made: Any, by: int) -> Any:
    made.by = by
    return made


def of_a_class(by: int) -> Any:
    class Action:
        factor = by

        def __call__(self, ctx: StepContext) -> Any:
            return ctx.inputs["x"] * self.factor

    return Action()


def of_a_number(by: int) -> Any:
    class Number(int):
        def __call__(self, ctx: StepContext) -> Any:
            return ctx.inputs["x"] * by

    return Number(1)


def of_a_dict(by: int) -> Any:
    class Named(dict[str, Any]):
        def __call__(self, ctx: StepContext) -> Any:
            return ctx.inputs["x"] * by

    return Named()


def of_a_call(by: int) -> Any:
    def call(self: Any, ctx: StepContext) -> Any:
        return ctx.inputs["x"] * self.factor

    return type("Action", (), {"factor": by, "__call__": call})()


def of_an_attribute(by: int) -> Any:
    def action(ctx: StepContext) -> Any:
        return ctx.inputs["x"] * action.factor  # type: ignore[attr-defined]

    action.factor = by  # type: ignore[attr-defined]
    return action


def of_a_default_factory(by: int) -> Any:
    table: dict[str, int] = collections.defaultdict(lambda: by)
    return lambda ctx: ctx.inputs["x"] * table["any"]


def of_an_enum(by: int) -> Any:
    kind = enum.Enum("kind", {"only": by})
    return lambda ctx: ctx.inputs["x"] * kind["only"].value


def of_a_cached_property(by: int) -> Any:
    def factor() -> int:
        return by

    class Action:
        @functools.cached_property
        def factor(self) -> int:
            return factor()

        def __call__(self, ctx: StepContext) -> Any:
            return ctx.inputs["x"] * self.factor

    return Action()


def of_a_metaclass(by: int) -> Any:
    class Kind(type):
        def factor(cls) -> int:
            return by

    class Action(metaclass=Kind):
        def __call__(self, ctx: StepContext) -> Any:
            return ctx.inputs["x"] * type(self).factor()

    return Action()


def of_a_bound_builtin(by: int) -> Any:
    get = {"by": by}.get
    return lambda ctx: ctx.inputs["x"] * get("by")


def of_what_c_holds(by: int) -> Any:
    numbers = random.Random(by)  # noqa: S311
    state = {2: 2, 5: 5}  # the same for both: only what the generator holds is not
    return lambda ctx: ctx.inputs["x"] * state[2 if numbers.getstate() == _OF_TWO else 5]


_OF_TWO = random.Random(2).getstate()  # noqa: S311


def of_what_was_typed_in(by: int) -> Any:
    room: dict[str, Any] = {"__name__": "__main__"}
    code = f"class A:\n by = {by}\n def __call__(self, ctx): return ctx.inputs['x'] * self.by\n"
    exec(code, room)  # noqa: S102
    return room["A"]()


def first(ctx: StepContext) -> Any:
    return ctx.inputs["x"]


@pytest.mark.parametrize(
    "made",
    [
        lambda by: Times(first, by),
        Hidden,
        lambda by: held_late(Late("one"), by),
        lambda by: held_late(Listed(), by),
        of_a_class,
        of_a_number,
        of_a_dict,
        of_a_call,
        of_an_attribute,
        of_a_default_factory,
        of_an_enum,
        of_a_cached_property,
        of_a_metaclass,
        of_a_bound_builtin,
        of_what_c_holds,
        of_what_was_typed_in,
    ],
)
def test_actions_that_differ_in_one_place_do_not_find_each_others_outputs(made: Any) -> None:
    cache = MemoryCache()
    steps = [Step("times", made(by), read_keys=["x"], cache=True) for by in (2, 5, 2)]
    results = [Workflow("w", [each], cache=cache).run({"x": 3}) for each in steps]
    assert [each.output for each in results] == [6, 15, 6]
    assert [each.step_results["times"].cached for each in results] == [False, False, True]


def test_a_dict_in_another_order_is_another() -> None:
    def made(table: dict[str, int]) -> Step:
        return Step("keys", lambda ctx: list(table), read_keys=[], cache=True)

    assert len(keys_of(made({"a": 1, "b": 2}), made({"b": 2, "a": 1}))) == 2


RATE = 2


def test_a_name_that_stands_for_something_else_later_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = Times(first, 2)
    rated = Step("rated", lambda ctx: ctx.inputs["x"] * RATE, read_keys=["x"], cache=True)
    workflow = Workflow("w", [rated, Step("held", held, read_keys=["x"], cache=True)])

    def outputs() -> list[Any]:
        result = workflow.run({"x": 3})
        return [result.step_results[name].output for name in ("rated", "held")]

    assert outputs() == [6, 6]
    monkeypatch.setattr(sys.modules[__name__], "RATE", 5)
    held.by = 5
    assert outputs() == [15, 15]
    held.shared = 10
    assert outputs() == [15, 150]


def test_a_function_of_a_module_of_ones_own_counts_however_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    text = (
        "import prices_of_mine\n"
        "def outside(ctx): return prices_of_mine.of(ctx.inputs['x'])\n"
        "def inside(ctx):\n    import prices_of_mine as p\n    return p.of(ctx.inputs['x'])\n"
        "def bare(ctx):\n    from prices_of_mine import of\n    return of(ctx.inputs['x'])\n"
    )
    (tmp_path / "prices_of_mine.py").write_text("def of(x): return x * 2\n")
    (tmp_path / "actions_of_mine.py").write_text(text)
    actions = importlib.import_module("actions_of_mine")
    prices = importlib.import_module("prices_of_mine")
    cache = MemoryCache()
    outputs = []
    for of in (prices.of, lambda x: x * 5):
        monkeypatch.setattr(prices, "of", of)
        for name in ("outside", "inside", "bare"):
            made = Step(name, getattr(actions, name), read_keys=["x"], cache=True)
            outputs.append(Workflow("w", [made], cache=cache).run({"x": 3}).output)
    assert outputs == [6, 6, 6, 15, 15, 15]


def test_a_file_that_was_edited_after_its_import_is_not_taken_for_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "edited_of_mine.py"
    file.write_text("def f(ctx): return ctx.inputs['x'] * 2\n")
    module = importlib.import_module("edited_of_mine")
    file.write_text("def f(ctx): return ctx.inputs['x'] * 555\n")
    cache = MemoryCache()
    outputs = []
    for _ in range(2):
        made = Step("f", module.f, read_keys=["x"], cache=True)
        outputs.append(Workflow("w", [made], cache=cache).run({"x": 1}).output)
        importlib.reload(module)  # as the next process would
    assert outputs == [2, 555]


def plus(by: int) -> Any:
    class Plus(BaseModel):
        v: int

        @field_validator("v")
        @classmethod
        def _moved(cls, v: int) -> int:
            return v if v > 100 else v + by

    return Plus


def test_contracts_of_one_schema_and_other_validators_are_not_the_same() -> None:
    def made(by: int) -> list[Step]:
        kind = plus(by)

        def read(x: Any) -> int:
            return int(x.v)

        read.__annotations__ = {"x": kind, "return": int}
        returning = Step("b", lambda ctx: {"v": 1}, read_keys=[], output_contract=kind, cache=True)
        return [Step("a", read, cache=True), returning]

    cache = MemoryCache()
    found = []
    for by in (200, 300):
        for each in made(by):
            result = Workflow("w", [each], cache=cache).run({"x": {"v": 1}})
            found.append(result.output)
    assert found == [201, {"v": 201}, 301, {"v": 301}]


def test_what_its_contract_makes_another_value_is_not_used() -> None:
    cache = Counted()
    made = Step("n", lambda ctx: {"v": 1}, read_keys=[], output_contract=plus(200), cache=True)
    workflow = Workflow("w", [made], cache=cache)
    assert workflow.run().output == {"v": 201}
    (key,) = cache.kept
    cache.kept[key] = _written(key, _Entry(b'{"v":7}', {}, 0.0))
    result = workflow.run()
    assert (result.output, result.step_results["n"].cached) == ({"v": 201}, False)


def test_where_an_element_stands_counts_where_its_action_can_see_it(cache: StepCache) -> None:
    def act(ctx: StepContext) -> str:
        return f"{ctx.item} at {ctx.item_index}"

    made = Step("told", act, foreach="xs", read_keys=["xs"], cache=True)
    workflow = Workflow("w", [made], cache=cache)
    for _ in range(2):
        assert workflow.run({"xs": ["a", "a"]}).output == ["a at 0", "a at 1"]


def test_the_time_that_a_step_says_today_holds_for_what_was_kept_before(cache: StepCache) -> None:
    clock = ManualClock()

    def cached(option: Any) -> bool:
        made = Step("one", lambda ctx: 1, read_keys=[], cache=option)
        return Workflow("w", [made], cache=cache, clock=clock).run().step_results["one"].cached

    assert [cached(True), cached(True)] == [False, True]
    clock.advance(100)
    assert [cached(Cache(ttl=101)), cached(Cache(ttl=10)), cached(Cache(ttl=10))] == [
        True, False, True,
    ]  # fmt: skip


def test_what_was_kept_before_the_clock_was_set_back_does_not_last_longer() -> None:
    cache = MemoryCache()

    def cached(now: float) -> bool:
        made = Step("one", lambda ctx: 1, read_keys=[], cache=Cache(ttl=10))
        clock = ManualClock(now)
        return Workflow("w", [made], cache=cache, clock=clock).run().step_results["one"].cached

    assert [cached(1000.0), cached(1005.0), cached(500.0), cached(505.0)] == [
        False, True, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("found", ["text", 3, bytearray(b"x"), [b"x"], OSError(5, "disk")])
def test_whatever_a_cache_of_somebody_elses_does_no_step_fails(found: Any) -> None:
    class Odd:
        at_rest = False

        def get(self, _key: str, /) -> Any:
            if isinstance(found, Exception):
                raise found
            return found

        def put(self, _key: str, _value: bytes, /) -> None:
            raise RuntimeError("secret-text")

    made = Step("one", lambda ctx: 1, read_keys=[], cache=True)
    result = Workflow("w", [made], cache=Odd()).run()
    assert result.output == 1
    assert "nothing was kept" in str(result.warnings)
    assert "secret-text" not in str(result.warnings)


def test_an_output_that_repeats_a_secret_that_was_read_is_not_kept_in_a_file(
    tmp_path: Path,
) -> None:
    def act(ctx: StepContext) -> Any:
        return {"said": [f"hello {ctx.inputs['my_pin']['code']}"]}

    with SQLiteCache(tmp_path / "c.db") as cache:
        made = Step("greet", act, read_keys=["my_pin"], cache=True)
        workflow = Workflow("w", [made], cache=cache, sensitive_keys=["my_pin"])
        result = workflow.run({"my_pin": {"code": "open sesame"}})
        assert "looks like a secret" in str(result.warnings)
        assert len(cache) == 0
        assert workflow.run({"my_pin": {"code": "-"}}).warnings == []
        assert len(cache) == 1


def test_what_an_attempt_warned_of_is_said_again_when_it_is_found(cache: StepCache) -> None:
    def act(ctx: StepContext) -> int:
        ctx.warn("mind the gap")
        return 1

    workflow = Workflow("w", [Step("a", act, read_keys=[], cache=True)], cache=cache)
    results = [workflow.run() for _ in range(2)]
    assert [each.step_results["a"].cached for each in results] == [False, True]
    assert [each.warnings for each in results] == [["a: mind the gap"]] * 2
