"""The lock: contracts on record, and whom a change to them breaks."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import Annotated, Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field, create_model
from typer.testing import CliRunner, Result

import fuzz_models
from kairos import FailureAction, FailurePolicy, Schema, Step, StepContext, Workflow
from kairos.cli import app
from kairos.contracts.contract import ContractBroken, compile_contract
from kairos.redaction.redactor import redactor_with
from kairos.verify.lock import (
    Change,
    Compatibility,
    LockedContract,
    LockError,
    changes,
    compare_locked,
    findings_of_changes,
    lock_of,
    lock_text,
    locked_contract,
    read_lock,
)
from kairos.verify.lock.comparing import Comparer
from kairos.verify.lock.fingerprints import fingerprint
from kairos.verify.proof.parties import are_same
from kairos.verify.proof.verdict import compare_contracts

ROOT = Path(__file__).resolve().parents[1]


class Doc(BaseModel):
    title: str
    body: str


class Optional(BaseModel):
    title: str
    body: str | None = None


class Longer(BaseModel):
    title: str
    body: str
    note: str = ""


class Needier(BaseModel):
    title: str
    body: str
    source: str


class Secretive(BaseModel):
    api_key: Literal["hunter2", "swordfish"]
    mode: Literal["fast", "slow"] = "fast"


class Branch(BaseModel):
    name: str
    children: list[Branch] = []


def returns(model: Any, **options: Any) -> Step:
    return Step("fetch", lambda ctx: None, output_contract=model, read_keys=["topic"], **options)


def reads(model: Any, name: str = "score", key: str = "fetch", **options: Any) -> Step:
    made = create_reader(key)
    made.__annotations__ = {key: model, "return": float}
    return Step(name, made, **options)


def create_reader(key: str) -> Any:
    def action(fetch: Any) -> float:
        return 1.0

    code = action.__code__.replace(co_varnames=(key,))
    return FunctionType(code, {}, "action")


def flow(*steps: Step, **options: Any) -> Workflow:
    return Workflow("reviews", list(steps), **options)


def between(old: Workflow, new: Workflow) -> list[Change]:
    """Compare as a later run does: the old one as it was written and read back."""
    locked = read_lock(lock_text({"reviews": lock_of(old)}))["reviews"]
    live: Any = {}
    return changes(locked, lock_of(new, live=live), live=live)


def told(old: Workflow, new: Workflow) -> list[tuple[str | None, str | None, str]]:
    return [(each.step, each.breaks, each.answer) for each in between(old, new)]


# --- contracts


@pytest.mark.parametrize(
    "old, new, expected",
    [
        (Doc, Doc, []),
        (Doc, Longer, [("fetch", None, "proved"), ("score", None, "proved")]),
        (Doc, Optional, [("fetch", "forward", "refuted"), ("score", None, "proved")]),
        (Optional, Doc, [("fetch", "backward", "refuted"), ("score", "backward", "refuted")]),
        (Doc, Needier, [("fetch", "backward", "refuted"), ("score", "backward", "refuted")]),
        (Branch, Branch, []),
        (Schema({"a": int}), Schema({"a": int, "b": str | None}), "compatible"),
        (list[Doc], list[Longer], [("fetch", None, "proved"), ("score", None, "proved")]),
    ],
)
def test_a_changed_contract_is_compared_both_ways(old: Any, new: Any, expected: Any) -> None:
    found = told(flow(returns(old), reads(old)), flow(returns(new), reads(new)))
    if expected == "compatible":
        assert {answer for _, _, answer in found} == {"proved"}
    else:
        assert found == expected


def test_a_witness_is_what_was_stored_and_is_refused_now() -> None:
    (change,) = between(flow(returns(Doc), reads(Doc)), flow(returns(Doc), reads(Needier)))
    assert (change.step, change.source) == ("score", "fetch")
    Doc.model_validate(change.witness)
    with pytest.raises(ValueError, match="source"):
        Needier.model_validate(change.witness)
    assert [fault.path for fault in change.faults] == ["$.source"]


def test_an_old_reader_inside_is_named_beside_those_outside() -> None:
    (change, _) = between(flow(returns(Doc), reads(Doc)), flow(returns(Optional), reads(Optional)))
    assert change.message.endswith("readers outside and score cannot read what it returns now")
    assert change.witness["body"] is None


def test_what_a_lax_reader_converts_is_a_warning() -> None:
    old, new = flow(returns(str)), flow(returns(int))
    found = findings_of_changes(between(old, new), new.scene)
    assert [(each.code, each.severity) for each in found] == [
        ("KRS122", "error"),  # a text that was stored need not be a number
        ("KRS121", "error"),
    ]
    wide, narrow = create_model("M", a=(float, ...)), create_model("M", a=(int, ...))
    old, new = flow(returns(narrow)), flow(returns(wide))
    (change,) = findings_of_changes(between(old, new), new.scene)
    assert (change.code, change.severity) == ("KRS121", "warning")


def test_inputs_are_for_callers_and_for_runs_in_flight_and_may_grow() -> None:
    old = flow(reads(str, key="topic"), inputs=Schema({"topic": str}))
    wider = flow(reads(str, key="topic"), inputs=Schema({"topic": str, "limit": int | None}))
    needier = flow(reads(str, key="topic"), inputs=Schema({"topic": str, "limit": int}))
    assert {each.breaks for each in between(old, wider)} == {None}
    (change,) = [each for each in between(old, needier) if each.breaks]
    assert (change.step, change.breaks, change.witness) == (None, "backward", {"topic": ""})


def test_an_input_that_becomes_required_breaks_a_run_in_flight() -> None:
    def without(ctx: StepContext) -> float:
        return 1.0

    old = flow(Step("score", without, read_keys=[]))
    assert (None, "backward", "refuted") in told(old, flow(reads(str, key="limit")))


def test_an_input_that_is_gone_breaks_who_passes_it() -> None:
    step = Step("score", lambda ctx: 1, read_keys=[])
    found = told(flow(step, inputs=["a", "b"]), flow(step, inputs=["a"]))
    assert found == [(None, "backward", "refuted")]


def test_an_input_contract_is_held_to_all_that_a_step_saw() -> None:
    def judging(contract: Any) -> Workflow:
        step = Step("judge", lambda ctx: 1, depends_on=["fetch"], input_contract=contract)
        return flow(returns(Doc), step)

    old, new = judging(Schema({"fetch": Doc})), judging(Schema({"fetch": Needier}))
    (change,) = between(old, new)
    assert (change.step, change.breaks, change.answer) == ("judge", "backward", "refuted")
    assert change.witness == {"fetch": {"title": "", "body": ""}}


def test_a_contract_that_came_or_went_cannot_be_told() -> None:
    bare = Step("fetch", lambda ctx: None, read_keys=["topic"])
    assert told(flow(bare), flow(returns(Doc))) == [("fetch", "backward", "unknown")]
    assert told(flow(returns(Doc)), flow(bare)) == [("fetch", "forward", "unknown")]


@pytest.mark.parametrize(
    "options",
    [
        {"when": lambda ctx: True},
        {"failure_policy": FailurePolicy(on_execution_fail=FailureAction.SKIP)},
    ],
    ids=["when", "policy"],
)
def test_an_output_that_may_be_missing_now_breaks_who_reads_it(options: dict[str, Any]) -> None:
    assert ("fetch", "forward", "refuted") in told(
        flow(returns(Doc)), flow(returns(Doc, **options))
    )
    assert ("fetch", "backward", "refuted") not in told(
        flow(returns(Doc)), flow(returns(Doc, **options))
    )


# --- structure


def step(name: str, *after: str, **options: Any) -> Step:
    return Step(name, lambda ctx: 1, depends_on=after, **{"read_keys": [*after], **options})


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ([step("a")], [step("a", foreach="xs", read_keys=["xs"])], (  # no contract: one break
            "a", "backward", "refuted")),
        ([step("a", foreach="xs", read_keys=["xs"])], [step("a")], ("a", "backward", "refuted")),
        ([step("a", foreach="xs", read_keys=["xs"])],
         [step("a", foreach="ys", read_keys=["ys"])], ("a", "backward", "refuted")),
        ([step("a"), step("b")], [step("a")], (None, "forward", "refuted")),
        ([step("a")], [step("a"), step("b", "a")], (None, "forward", "refuted")),
        ([step("a")], [step("a", read_keys=["secret"])], ("a", None, "proved")),
        ([step("a")], [step("a", read_keys=None)], ("a", None, "proved")),
        ([step("a")], [step("a", write_keys=["a", "b"])], ("a", None, "proved")),
        ([step("a"), step("b"), step("c", "a", "b")], [step("a"), step("b", "a"),
          step("c", "a", "b")], ("b", None, "proved")),
    ],
)  # fmt: skip
def test_what_no_contract_tells_of_is_told(
    old: list[Step], new: list[Step], expected: tuple[str | None, str | None, str]
) -> None:
    assert expected in told(flow(*old), flow(*new))


def test_a_foreach_with_a_contract_breaks_old_readers_too() -> None:
    found = told(flow(returns(Doc)), flow(returns(Doc, foreach="topic")))
    assert ("fetch", "backward", "refuted") in found
    assert ("fetch", "forward", "refuted") in found


def test_a_step_of_another_name_that_does_the_same_is_taken_for_renamed() -> None:
    old = flow(returns(Doc), reads(Doc))
    new = flow(returns(Doc), reads(Doc, name="rate"))
    (change,) = between(old, new)
    assert change.step == "score"
    assert "'rate' is like it" in change.message
    assert change.breaks is None


def test_a_scope_that_grew_says_by_what() -> None:
    (change,) = between(flow(step("a", read_keys=["x"])), flow(step("a", read_keys=["x", "y"])))
    assert change.message == "may read more now: y"


# --- what is an error


@pytest.mark.parametrize(
    "compatibility, errors",
    [
        ("backward", {"KRS122"}),
        ("forward", {"KRS121"}),
        ("full", {"KRS121", "KRS122"}),
        ("none", set()),
    ],
)
def test_the_mode_says_what_is_an_error(compatibility: str, errors: set[str]) -> None:
    old = flow(returns(Doc), reads(Doc))
    new = flow(returns(create_model("Doc", title=(int, ...))), reads(Doc))
    found = findings_of_changes(
        between(old, new), new.scene, compatibility=Compatibility(compatibility)
    )
    assert {each.code for each in found if each.severity == "error"} == errors
    assert {each.severity for each in found} <= {"error", "note"}


# --- predicates


LIMIT = 3


def short(value: str) -> str:
    assert len(value) < LIMIT
    return value


def also_short(value: str) -> str:
    """Say the same in another function."""
    assert len(value) < LIMIT
    return value


def closing_over(limit: int) -> Any:
    def check(value: str) -> str:
        assert len(value) < limit
        return value

    return check


def source_of(body: str, tmp_path: Path, name: str) -> Any:
    path = tmp_path / f"{name}.py"
    path.write_text(body, encoding="utf-8")
    space: dict[str, Any] = {"__name__": name}
    exec(compile(body, str(path), "exec"), space)  # noqa: S102 - as an import would
    return space["check"]


BODY = "LIMIT = 3\ndef check(v):\n    assert len(v) < LIMIT\n    return v\n"


@pytest.mark.parametrize(
    "changed, same",
    [
        (BODY.replace("def", "\n# why\ndef").replace("assert", "'''Say.'''; assert"), True),
        (BODY.replace("< LIMIT", "<= LIMIT"), False),
        (BODY.replace("LIMIT = 3", "LIMIT = 4"), False),
        (BODY.replace("def check(v)", "def check(v, w=1)"), False),
        ("check = lambda v: v or 1, lambda v: v or 2\ncheck = check[0]\n", False),
    ],
)  # fmt: skip
def test_a_function_is_told_by_what_it_does(changed: str, same: bool, tmp_path: Path) -> None:
    one = fingerprint(source_of(BODY, tmp_path, "one"))
    other = fingerprint(source_of(changed, tmp_path, "one"))
    assert one is not None
    assert (one == other) is same


def test_functions_alike_in_place_are_told_apart() -> None:
    pair = (lambda v: v > 1), (lambda v: v > 2)
    assert fingerprint(pair[0]) != fingerprint(pair[1])
    assert fingerprint(closing_over(3)) == fingerprint(closing_over(3))
    assert fingerprint(closing_over(3)) != fingerprint(closing_over(4))
    outer: Any = lambda v: lambda w: w > 1  # noqa: E731 - the case
    assert fingerprint(outer(0)) != fingerprint(outer)


def test_what_has_no_like_elsewhere_has_no_fingerprint() -> None:
    assert fingerprint(object()) is None
    assert fingerprint(iter(())) is None


def test_a_changed_validator_makes_it_unknown_and_the_same_one_is_proved() -> None:
    def titled(check: Any) -> Any:
        return create_model("Doc", title=(Annotated[str, AfterValidator(check)], ...))

    same = flow(returns(titled(closing_over(3)))), flow(returns(titled(closing_over(3))))
    assert told(*same) == []
    other = flow(returns(titled(closing_over(3)))), flow(returns(titled(closing_over(4))))
    found = between(*other)
    assert {each.answer for each in found} == {"unknown"}
    assert all(each.reason for each in found)
    scene = other[1].scene
    assert {each.severity for each in findings_of_changes(found, scene)} == {"note"}


def test_types_at_odds_break_though_a_validator_that_is_gone_cannot_be_asked() -> None:
    def titled(kind: Any) -> Any:
        return create_model("Doc", title=(Annotated[kind, AfterValidator(closing_over(3))], ...))

    old, new = flow(returns(titled(str)), reads(Doc)), flow(returns(titled(int)), reads(Doc))
    found = between(old, new)
    assert [(each.breaks, each.answer) for each in found] == [
        ("backward", "refuted"),
        ("forward", "refuted"),
    ]
    assert "validators of the lock's version" in str(found[0].reason)


def test_a_validator_that_cannot_be_recognised_is_told_even_of_an_equal_text() -> None:
    held = object()

    def check(value: str) -> str:
        assert held is not None
        return value

    workflow = flow(returns(Annotated[str, AfterValidator(check)]))
    (change,) = between(workflow, workflow)
    assert (change.answer, change.step) == ("unknown", "fetch")


# --- secrets


def test_no_secret_is_in_a_lock_and_it_compares_still() -> None:
    locked = lock_text({"reviews": lock_of(flow(returns(Secretive)))})
    assert "hunter2" not in locked
    assert "swordfish" not in locked
    assert "fast" in locked
    assert told(flow(returns(Secretive)), flow(returns(Secretive))) == []

    class Wider(BaseModel):
        api_key: Literal["hunter2", "swordfish", "letmein"]
        mode: Literal["fast", "slow"] = "fast"

    found = told(flow(returns(Secretive)), flow(returns(Wider)))
    assert ("fetch", "backward", "unknown") not in found
    assert ("fetch", "backward", "refuted") not in found


def test_a_definition_that_a_secret_field_refers_to_is_masked_too() -> None:
    document = {
        "type": "object",
        "properties": {"password": {"$ref": "#/$defs/Word"}, "note": {"const": "plain"}},
        "$defs": {"Word": {"enum": ["hunter2"], "examples": ["hunter2"]}},
    }
    locked = lock_of(flow(returns(Schema.from_json_schema(document))))
    assert "hunter2" not in json.dumps(locked)
    again = lock_of(flow(returns(Schema.from_json_schema(document)), sensitive_keys=["note"]))
    assert "plain" not in json.dumps(again)


def test_no_path_or_address_is_in_a_lock() -> None:
    text = lock_text({"reviews": lock_of(flow(returns(Branch), reads(Branch)))})
    assert str(ROOT) not in text
    assert "0x" not in text
    assert "#/$defs/Branch" in text


# --- the file

MODULE = """
from typing import Annotated, Literal
from pydantic import AfterValidator, BaseModel, field_validator, model_validator
from kairos import Schema, Workflow, step
from kairos.verify.lock import lock_of, lock_text

LIMIT = {3, 5, 8}

def member(value: int) -> int:
    assert value in {1, 2, 3} or value in LIMIT
    return value

class Doc(BaseModel):
    title: str
    tags: set[Literal["x", "y", "z"]]
    number: Annotated[int, AfterValidator(member)]
    children: "list[Doc]" = []

    @field_validator("title")
    @classmethod
    def clean(cls, value: str) -> str:
        return value if value else f"{cls.__name__}"

    @model_validator(mode="after")
    def whole(self) -> "Doc":
        return self

@step
def fetch(topic: str) -> Doc: ...

@step
def score(fetch: Doc, limit: dict[str, int | None]) -> Schema({"a": int, "b": list[str]}): ...

wf = Workflow("reviews", [fetch, score])
print(lock_text({"reviews": lock_of(wf)}), end="")
"""


def written_by(python: str, tmp_path: Path, seed: str) -> str:
    (tmp_path / "module.py").write_text(MODULE, encoding="utf-8")
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, "module.py"], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout


def test_the_same_contracts_make_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    first, second = (
        written_by(sys.executable, folder, seed) for folder, seed in zip(folders, "17", strict=True)
    )
    assert first == second
    assert read_lock(first)["reviews"]["ends"] == ["score"]
    assert max(map(len, first.splitlines())) <= 110


def test_a_lock_reads_back_as_it_was() -> None:
    locked = lock_of(flow(returns(Branch), reads(Secretive, key="other")))
    text = lock_text({"reviews": locked})
    assert read_lock(text) == {"reviews": locked}
    assert lock_text(read_lock(text)) == text
    assert changes(locked, read_lock(text)["reviews"]) == []


def edited(**places: Any) -> str:
    lock = json.loads(lock_text({"reviews": lock_of(flow(returns(Doc)))}))
    for path, value in places.items():
        part = lock
        *way, last = path.split("__")
        for name in way:
            part = part[name]
        part[last] = value
    return json.dumps(lock)


ACCEPTS = "workflows__reviews__steps__fetch__output__accepts"


@pytest.mark.parametrize(
    "text, told",
    [
        ("", "line 1, column 1"),
        ("\x00", "no JSON"),
        ("[]", "no lock of contracts"),
        ('{"a": 1}', "no lock of contracts"),
        ('{"kairos_lock": 2, "workflows": {}}', "another version"),
        ('{"kairos_lock": true, "workflows": {}}', "another version"),
        ('{"kairos_lock": 1}', "workflows"),
        ('{"kairos_lock": 1, "workflows": {}, "x": 1}', "x"),
        ('{"kairos_lock": 1, "kairos_lock": 1, "workflows": {}}', "stands twice"),
        ('{"kairos_lock": 1, "workflows": {"a": {}}}', "workflows.a"),
        ('{"kairos_lock": 1,\n<<<<<<< HEAD\n', "a merge that was not finished"),
        (lock_text({"reviews": lock_of(flow(returns(Doc)))})[:-40], "no JSON"),
        ("[" * 10_000, "nests too deep"),
        ('{"a":' * 10_000, "nests too deep"),
        ('{"kairos_lock": ' + "9" * 5000 + "}", "no JSON that can be read"),
        (" " * (33 * 1024 * 1024), "too long"),
        (edited(**{ACCEPTS: {"$ref": "#/$defs/Gone"}}), "leads nowhere"),
        (edited(**{ACCEPTS: {"$ref": "#"}}), "leads to itself"),
        (edited(**{ACCEPTS: {"type": 5}}), "output of fetch"),
        (edited(**{ACCEPTS: {"properties": []}}), "output of fetch"),
        (edited(**{ACCEPTS: {"anyOf": "x"}}), "output of fetch"),
        (edited(**{ACCEPTS: {"pattern": "("}}), "output of fetch"),
        (edited(**{ACCEPTS: {"x-kairos-opaque": [{}]}}), "no list of names"),
        (edited(**{ACCEPTS: {"format": []}}), "output of fetch"),
        (edited(**{ACCEPTS: None}), "output of fetch"),
        (edited(workflows__reviews__steps__fetch__after="x"), "steps.fetch.after"),
        (edited(workflows__reviews__steps__fetch__may_be=["gone"]), "may_be"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_lock_that_is_none_is_refused_with_what_and_where(text: str, told: str) -> None:
    with pytest.raises(LockError) as refused:
        read_lock(text)
    assert told in str(refused.value)
    assert len(str(refused.value)) < 2000


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "properties", "$ref", "anyOf", "enum", "format", "not", "items",
                         "x-kairos-opaque", "required", "$id", "$defs"]), inner, max_size=4),
    max_leaves=12,
))  # fmt: skip
def test_whatever_stands_for_a_contract_is_refused_or_compared(document: Any) -> None:
    try:
        lock = read_lock(edited(**{ACCEPTS: document}))["reviews"]
    except LockError:
        return
    found = changes(lock, lock_of(flow(returns(Doc))))
    assert all(each.answer in {"proved", "refuted", "coerced", "unknown"} for each in found)


# --- the same verdicts


@settings(max_examples=60)
@given(st.integers(0, 10**9))
@example(251)  # a text of JSON that is "2" whatever happens, and a number that it converts to
def test_what_is_read_back_is_judged_as_the_live_contracts_are(seed: int) -> None:
    two = fuzz_models.pair(seed)
    if two is None:
        return
    locked = [locked_contract(one, redactor_with(())) for one in (two.gives, two.takes)]
    gives, takes = json.loads(json.dumps(locked))
    verdict = compare_locked(gives, takes)
    live = compare_contracts(two.gives, two.takes, assume_closed=True)
    if verdict.answer == "proved":
        fault, _ = fuzz_models.fault_in(verdict, two, 50)
        assert fault is None
    elif live.answer == "proved":
        # two contracts that are one are proved without a look; a lock never compares these
        assert are_same(two.gives, two.takes) or verdict.answer in {"coerced", "unknown"}
    if verdict.answer == "refuted":
        assert live.answer in {"refuted", "unknown"}


def made_of(one: Any, least: int) -> Any:
    return create_model("Made", a=(one, ...), n=(Annotated[int, Field(ge=least)], 9))


SCALARS: list[Any] = [
    None, True, False, 0, 1, -1, 2.0, 2.5, 1e300, "", "0", " 1 ", "+1", "1_000", "1.0", "1e5",
    "inf", "NaN", "yes", "OFF", "T", "x", "a", "P1D", "-P1DT2H", "2024-05-06", "07:08", "::1",
    "2024-05-06T07:08:09Z", "1700000000", "550e8400-e29b-41d4-a716-446655440000", "1.2.3.4",
    "http://a.b", "{}", "[1]",
]  # fmt: skip


@settings(max_examples=60)
@given(st.integers(0, 10**9))
def test_what_a_contract_takes_is_covered_by_what_the_lock_says_it_may_take(seed: int) -> None:
    two = fuzz_models.pair(seed)
    if two is None:
        return
    locked = locked_contract(two.takes, redactor_with(()))
    reader = Comparer().reader(LockedContract(accepts=locked.get("takes", locked["accepts"])))
    rng = random.Random(seed)  # noqa: S311 - chance, not secrecy
    drawn = [two.made.draw(rng) for _ in range(5)]
    values = [json.loads(two.gives.check_output(one)) for one in drawn if gives(two, one)]
    for value in [*SCALARS, *([one] for one in SCALARS), *({"a": one} for one in SCALARS), *values]:
        try:
            two.takes.check_json(json.dumps(value).encode())
        except ContractBroken:
            continue
        assert reader.pass_on is not None
        with contextlib.suppress(ValueError):  # a validator would have to say
            assert reader.pass_on(value) == value


def gives(two: Any, value: Any) -> bool:
    try:
        two.gives.check_output(value)
    except (ContractBroken, TypeError):
        return False
    return True


PLAIN = st.recursive(
    st.sampled_from([int, str, bool, None, float, Literal["a", "b"], Literal["a"], Doc, Optional]),
    lambda inner: st.builds(lambda one: list[one], inner)  # type: ignore[valid-type]
    | st.builds(lambda one: dict[str, one], inner)  # type: ignore[valid-type]
    | st.builds(lambda one: one | None if one is not None else one, inner)
    | st.builds(made_of, inner, st.integers(0, 3)),
    max_leaves=3,
)  # fmt: skip


@settings(max_examples=80)
@given(PLAIN, PLAIN)
def test_of_plain_types_the_answers_are_the_same(old: Any, new: Any) -> None:
    gives, takes = (compile_contract(each) if each is not None else None for each in (old, new))
    if gives is None or takes is None:
        return
    locked = [locked_contract(one, redactor_with(())) for one in (gives, takes)]
    verdict = compare_locked(*json.loads(json.dumps(locked)))
    live = compare_contracts(gives, takes, assume_closed=True)
    # that a value surely cannot be converted is known to the code alone
    same = {"coerced": {"coerced"}, "refuted": {"refuted", "coerced"}}
    assert verdict.answer in same.get(live.answer, {live.answer})


# --- the command

FLOW = """
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


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("CI", raising=False)
    (tmp_path / "flow.py").write_text(FLOW, encoding="utf-8")
    return tmp_path


def validate(*options: str, module: str = "flow.py") -> Result:
    return CliRunner().invoke(
        app, ["validate", module, "--lock", "contracts.lock", *options], catch_exceptions=False
    )


def change(here: Path, before: str, after: str, file: str = "flow.py") -> None:
    text = (here / file).read_text(encoding="utf-8")
    assert before in text
    (here / file).write_text(text.replace(before, after), encoding="utf-8")


def test_a_lock_is_written_once_then_compared_and_updated_when_asked(here: Path) -> None:
    assert validate().exit_code == 0
    first = (here / "contracts.lock").read_bytes()
    assert b'"module": "flow.py"' in first
    assert validate().exit_code == 0
    change(here, "title: str", "title: str\n    body: str")
    broken = validate()
    assert broken.exit_code == 1
    assert "KRS122" in broken.stdout
    assert "fetch.body" in broken.stdout
    assert (here / "contracts.lock").read_bytes() == first
    assert validate("--update").exit_code == 0
    assert (here / "contracts.lock").read_bytes() != first
    assert validate("--strict").exit_code in {0, 1}
    assert "KRS12" not in validate("--strict").stdout


def test_the_mode_is_an_option_and_notes_count_when_strict(here: Path) -> None:
    validate()
    change(here, "title: str", "title: str\n    body: str = ''")
    assert validate().exit_code == 0
    assert "KRS123" in validate("--strict").stdout
    change(here, "title: str", "title: str | None")
    assert validate().exit_code == 1
    assert validate("--compat", "backward").exit_code == 0
    assert validate("--compat", "none").exit_code == 0
    assert validate("--compat", "some").exit_code == 2


def test_in_a_pipeline_no_lock_is_written(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    missing = validate()
    assert missing.exit_code == 1
    assert "KRS120" in missing.stdout
    assert not (here / "contracts.lock").exists()
    assert validate("--update").exit_code == 0


@pytest.mark.parametrize("asked", [["--update"], ["--compat", "backward"]])
def test_what_is_asked_of_no_lock_is_wrong_usage(here: Path, asked: list[str]) -> None:
    done = CliRunner().invoke(app, ["validate", "flow.py", *asked])
    assert done.exit_code == 2


def test_a_lock_of_other_workflows_and_one_that_is_none_are_findings(here: Path) -> None:
    validate()
    change(here, '"reviews"', '"others"')
    assert "the lock is of other workflows" in validate(module="flow.py:wf").stdout
    (here / "contracts.lock").write_text("no lock", encoding="utf-8")
    broken = validate()
    assert broken.exit_code == 1
    assert "KRS120" in broken.stdout
    (here / "contracts.lock").write_bytes(b"\xff\xfe")
    assert "KRS120" in validate().stdout


def test_modules_share_a_lock_and_what_is_gone_is_found(here: Path) -> None:
    (here / "other.py").write_text(FLOW.replace('"reviews"', '"other"'), encoding="utf-8")
    validate()
    validate("--update", module="other.py")
    assert [*read_lock((here / "contracts.lock").read_text())] == ["other", "reviews"]
    assert validate().exit_code == 0
    change(here, '"other"', '"third"', file="other.py")
    gone = validate(module=".")
    assert gone.exit_code == 1
    assert "'other' is in contracts.lock and not in its module" in gone.stdout
    validate("--update", module=".")
    assert [*read_lock((here / "contracts.lock").read_text())] == ["reviews", "third"]


def test_no_lock_is_written_of_what_could_not_all_be_read(here: Path) -> None:
    (here / "other.py").write_text("from kairos import Workflow\n1 / 0\n", encoding="utf-8")
    begun = validate(module=".")
    assert begun.exit_code == 2
    assert "contracts.lock is not written" in begun.stderr
    assert not (here / "contracts.lock").exists()

    assert validate().exit_code == 0
    old = (here / "contracts.lock").read_bytes()
    change(here, "title: str", "title: int")
    assert validate("--update", module=".").exit_code == 2
    assert (here / "contracts.lock").read_bytes() == old


def test_two_workflows_of_one_name_cannot_share_a_lock(here: Path) -> None:
    (here / "other.py").write_text(FLOW, encoding="utf-8")
    done = validate(module=".")
    assert done.exit_code == 2
    assert "a lock knows them by name" in done.stderr


def test_a_comment_allows_what_a_lock_finds(here: Path) -> None:
    validate()
    change(here, "title: str", "title: str | None")
    change(here, "@step\ndef fetch", "@step  # kairos: allow KRS121: nobody reads it\ndef fetch")
    allowed = validate()
    assert allowed.exit_code == 0, allowed.stdout
    assert "KRS121" not in allowed.stdout
    assert "KRS302" not in CliRunner().invoke(app, ["validate", "flow.py"]).stdout


FULL_DISK = """
import resource, sys
from kairos.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
sys.argv = ["kairos", "validate", "flow.py", "--lock", "contracts.lock", "--update"]
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX's")
def test_what_cannot_be_written_leaves_the_old_lock(here: Path) -> None:
    validate()
    old = (here / "contracts.lock").read_bytes()
    change(here, "title: str", "title: int")
    done = subprocess.run(
        [sys.executable, "-B", "-c", FULL_DISK], cwd=here, capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert "contracts.lock cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert (here / "contracts.lock").read_bytes() == old
    assert [each.name for each in here.glob(".contracts*")] == []


def test_a_folder_that_is_none_is_told_in_words(here: Path) -> None:
    done = CliRunner().invoke(app, ["validate", "flow.py", "--lock", "flow.py/contracts.lock"])
    assert done.exit_code in {1, 2}
    assert "Traceback" not in done.output
