"""Secrets: where labels begin, where they get to, and what a step is seen to touch."""

from __future__ import annotations

import functools
import socket
import subprocess
import urllib.request
from itertools import permutations
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, Secret, SecretBytes, SecretStr
from pydantic.dataclasses import dataclass

from kairos import Sensitive, Workflow
from kairos.contracts.contract import compile_contract
from kairos.contracts.labels import Mark, marks_of
from kairos.enums import Severity
from kairos.exceptions import ConfigError, PlanError
from kairos.plan import TaskGraph
from kairos.redaction.redactor import redactor_with
from kairos.schema import Schema
from kairos.step import Step, StepContext
from kairos.validators import CompositeValidator, LLMValidator, StructuralValidator
from kairos.verify.explanation import explain, told
from kairos.verify.flow.labels import Labels
from kairos.verify.flow.secrets import find_leaks
from kairos.verify.scene import Scene
from kairos.verify.touching import seen_touches

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from kairos.verify.findings import Finding

ERROR, WARNING = Severity.ERROR, Severity.WARNING


def act(ctx: StepContext) -> Any:
    return repr(ctx)


def some(name: str, reads: Collection[str] = (), **options: Any) -> Step:
    return Step(name, act, read_keys=reads, depends_on=options.pop("after", ()), **options)


def leaks(
    *steps: Any, inputs: Collection[str] | None = None, contract: Any = None, **options: Any
) -> list[Finding]:
    scene = Scene(
        TaskGraph("plan", steps),
        None if inputs is None else frozenset(inputs),
        contract=None if contract is None else compile_contract(contract),
        **options,
    )
    return list(find_leaks(scene))


def ways(findings: list[Finding]) -> list[tuple[str, str | None, str | None]]:
    return [(f.code, f.step, f.found) for f in findings]


# --- what in a contract is sensitive


class Account(BaseModel):
    pin: Annotated[str, Sensitive("pii")]
    iban: SecretStr
    sub: Account | None = None


class Named(NamedTuple):
    token: str
    plain: int


@dataclass
class Held:
    password: str
    accounts: dict[str, list[Account]]


class Card(BaseModel):
    kind: Literal["card"]
    number: Annotated[str, Sensitive()]


class Cash(BaseModel):
    kind: Literal["cash"]
    secret: int


Either = Annotated[Card | Cash, Field(discriminator="kind")]


class Aliased(BaseModel):
    number: int = Field(alias="api_key")
    passwd: str = Field(alias="p")
    author: str


ACCOUNT = (Mark(("pin",), "pii", ()), Mark(("iban",), "", ()))  # it may hold itself


@pytest.mark.parametrize(
    "declared, marks",
    [
        (str, ()),
        (Annotated[str, Sensitive("pii")], (Mark((), "pii"),)),
        (SecretStr, (Mark(()),)),
        (list[SecretBytes | None], (Mark(()),)),
        (Secret[int], (Mark(()),)),
        (Account, ACCOUNT),
        (list[dict[str, Account]], ACCOUNT),
        (
            Annotated[Account, Sensitive("a"), Sensitive("b")],
            (Mark((), "a"), Mark((), "b"), *ACCOUNT),
        ),
        (Named, (Mark(("token",)),)),
        (
            Held,
            (
                Mark(("password",)),
                Mark(("accounts", "pin"), "pii", ("accounts",)),
                Mark(("accounts", "iban"), "", ("accounts",)),
            ),
        ),
        (Either, (Mark(("number",)), Mark(("secret",)))),
        (Aliased, (Mark(("api_key",)), Mark(("p",)))),
        (Schema({"user": Schema({"pwd": str})}), (Mark(("user", "pwd")),)),
        (Schema({"x": Annotated[str, Sensitive("pii")]}), (Mark(("x",), "pii"),)),
        (tuple[Account, ...], ACCOUNT),
    ],
)
def test_the_sensitive_places_of_a_contract(declared: Any, marks: tuple[Mark, ...]) -> None:
    found = marks_of(compile_contract(declared), redactor_with().is_sensitive)
    assert {*found} == {*marks}


def test_a_mark_changes_nothing_in_what_a_contract_accepts() -> None:
    plain, marked = compile_contract(str), compile_contract(Annotated[str, Sensitive("pii")])
    assert marked.json_schema("validation") == plain.json_schema("validation")
    assert marked.check_json(b'"a"') == "a"
    assert marked.check_output("a") == b'"a"'
    with pytest.raises(ConfigError, match="label"):
        Sensitive(5)  # type: ignore[arg-type]


def test_a_contract_with_too_many_places_is_sensitive_as_a_whole() -> None:
    class Level0(BaseModel):
        pin: Annotated[str, Sensitive("pii")]

    level: Any = Level0
    for nth in range(16):  # 65,536 paths lead to the same field
        level = type(f"Level{nth + 1}", (BaseModel,), {"__annotations__": {"a": level, "b": level}})
    assert marks_of(compile_contract(level), redactor_with().is_sensitive) == (Mark(()),)


# --- where labels begin and get to


def test_a_secret_takes_every_way_to_a_model() -> None:
    found = leaks(
        some("load", ["api_token"]),
        some("enrich", ["load"], after=["load"]),
        some("ask", ["enrich"], after=["enrich"], touches=["model"]),
    )
    (finding,) = found

    assert (finding.code, finding.severity, finding.step) == ("KRS220", ERROR, "ask")
    assert finding.found == "api_token → load → enrich → ask"
    assert finding.source == "api_token"
    assert finding.where is not None
    assert "declassify=['api_token']" in (finding.fix or "")


@pytest.mark.parametrize("at", ["load", "enrich", "ask"])
def test_a_label_ends_where_it_is_declassified_by_name(at: str) -> None:
    def trusting(name: str) -> dict[str, Any]:
        return {"declassify": ["api_token"]} if name == at else {}

    found = leaks(
        some("load", ["api_token"], **trusting("load")),
        some("enrich", ["load"], after=["load"], **trusting("enrich")),
        some("ask", ["enrich"], after=["enrich"], touches=["model"], **trusting("ask")),
    )
    assert found == []


def test_a_step_that_logs_in_is_trusted_with_its_credential_and_its_output_is_clean() -> None:
    login = some("login", ["api_token"], touches=["network"], declassify=["api_token"])
    post = some("post", ["login"], after=["login"], touches=["network"])
    assert leaks(login, post) == []


def load_account(user: str) -> Account:
    raise NotImplementedError(user)


def test_fields_of_contracts_and_marked_parameters_are_where_labels_begin() -> None:
    def ask(account: Account, phone: Annotated[str, Sensitive("pii")]) -> str:
        return account.pin + phone

    (finding,) = leaks(Step("account", load_account), Step("ask", ask, touches=["model"]))

    assert {(d.path, d.found) for d in finding.details} == {
        ("pii", "phone → ask"),
        ("account.iban", "account → ask"),
    }


def test_labels_of_a_step_are_borne_by_all_that_it_writes() -> None:
    people = some("people", labels=["pii"], write_keys=["people", "count"])
    ask = some("ask", ["count"], after=["people"], touches=["network"])
    assert ways(leaks(people, ask)) == [("KRS220", "ask", "people → ask")]


def test_a_written_key_with_a_secret_name_bears_it_alone() -> None:
    login = some("login", write_keys=["login", "session_token"])
    clean = some("clean", ["login"], after=["login"], touches=["network"])
    call = some("call", ["session_token"], after=["login"], touches=["network"])
    assert ways(leaks(login, clean, call)) == [("KRS220", "call", "login → call")]


def test_a_workflow_can_name_further_secrets() -> None:
    ask = some("ask", ["shoe_size"], touches=["model"])
    assert leaks(ask) == []
    assert ways(leaks(ask, sensitive_keys=("shoe_*",))) == [("KRS220", "ask", "shoe_size → ask")]


def test_inputs_bear_what_their_contract_says() -> None:
    class Given(BaseModel):
        account: Account
        topic: str

    ask = some("ask", ["account", "topic"], touches=["model"])
    (finding,) = leaks(ask, inputs=["account", "topic"], contract=Given)
    assert {d.path for d in finding.details} == {"pii", "account.iban"}
    assert leaks(some("ask", ["topic"], touches=["model"]), inputs=["account", "topic"],
                 contract=Given) == []  # fmt: skip


def test_a_step_that_may_read_everything_may_read_every_secret() -> None:
    ask = Step("ask", act, touches=["model"])
    login = some("login", labels=["session"])
    late = some("late", labels=["later"], after=["ask"])

    (finding,) = leaks(login, ask, late, inputs=["api_token"])

    assert {(d.path, d.found) for d in finding.details} == {
        ("api_token", "api_token → ask"),
        ("session", "login → ask"),
    }
    assert "say what it reads" in (finding.fix or "")


def test_what_is_made_after_a_step_cannot_reach_it() -> None:
    first = some("first", ["note"], touches=["model"], write_keys=["first", "note"])
    later = some("later", after=["first"], labels=["pii"], write_keys=["note"])
    assert leaks(first, later) == []


def test_a_step_beside_may_have_written_before() -> None:
    ask = some("ask", ["note"], touches=["model"], parallel=True)
    beside = some("beside", labels=["pii"], write_keys=["note"], parallel=True)
    assert ways(leaks(ask, beside)) == [("KRS220", "ask", "beside → ask")]


def prompting(text: str) -> Any:
    def ask(ctx: StepContext) -> str:
        return repr(ctx)

    ask.__kairos_prompt__ = text  # type: ignore[attr-defined]
    ask.__kairos_touches__ = ("model",)  # type: ignore[attr-defined]
    return ask


class Person(BaseModel):
    name: str
    phone: Annotated[str, Sensitive("pii")]
    email: Annotated[str, Sensitive("pii")]
    account: Account


def load_person(user: str) -> Person:
    raise NotImplementedError(user)


@pytest.mark.parametrize(
    "text, labels",
    [
        ("{person.name}", []),
        ("{person.email}", ["pii"]),
        ("{person.account.sub.pin}", ["pii", "person.account.iban"]),
        ("{person.account.sub.sub.iban}", ["pii", "person.account.iban"]),
        ("{person.account}", ["pii", "person.account.iban"]),
        ("{person.account.iban} {person.name}", ["pii", "person.account.iban"]),
        ("{person}", ["pii", "person.account.iban"]),
        ("{token.user}", ["token"]),
    ],
)
def test_of_what_a_prompt_goes_into_only_what_it_takes_is_told(
    text: str, labels: list[str]
) -> None:
    found = leaks(Step("person", load_person), some("token"), Step("ask", prompting(text)))
    several = [detail.path for each in found for detail in each.details]
    assert several == (labels if len(labels) > 1 else [])
    assert len(found) == bool(labels)


def test_a_prompt_over_the_elements_of_a_list_takes_what_it_names_of_each() -> None:
    def people(user: str) -> list[Person]:
        raise NotImplementedError(user)

    def ways_to(text: str) -> list[str | None]:
        asking = Step("ask", prompting(text), foreach="people")
        return [f.found for f in leaks(Step("people", people), asking)]

    assert ways_to("{item.name}") == []
    assert ways_to("{item.phone}") == ["people → ask"]


def test_a_declassification_that_concerns_nothing_is_a_warning() -> None:
    steps = [some("account", labels=["pii"]), some("show", ["account"], declassify=["pij"])]
    (finding,) = leaks(*steps)
    assert (finding.code, finding.severity, finding.step) == ("KRS221", WARNING, "show")
    assert finding.fix == "did you mean 'pii'?"


def test_a_step_may_say_that_its_name_is_no_secret() -> None:
    check = some("auth_check", declassify=["auth_check"])
    ask = some("ask", ["auth_check"], after=["auth_check"], touches=["model"])
    assert leaks(check, ask) == []


def test_the_elements_of_a_foreach_bear_what_the_list_bears() -> None:
    def ask(item: Annotated[str, Sensitive("pii")]) -> str:
        return item

    names = some("names")
    (finding,) = leaks(names, Step("ask", ask, foreach="names", touches=["model"]))
    assert finding.found == "names → ask"


@pytest.mark.parametrize("option", ["labels", "declassify", "touches"])
def test_labels_are_lists_of_names(option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} of step 'a' is a string"):
        some("a", **{option: "model"})


def test_what_is_touched_has_to_be_something_that_can_be() -> None:
    with pytest.raises(ConfigError, match="touches of step 'a'") as error:
        some("a", touches=["modell"])
    assert error.value.fix == "did you mean 'model'?"
    with pytest.raises(ConfigError):
        some("a", touches=[5])


def test_what_a_step_says_of_itself_stands_in_the_plan_and_comes_back() -> None:
    graph = TaskGraph("p", [some("a", labels=["pii"], declassify=["x"], touches=["files"])])
    (again,) = TaskGraph.from_dict(graph.to_dict()).steps
    assert (again.labels, again.declassify, again.touches) == (("pii",), ("x",), ("files",))


def test_a_validator_that_asks_a_model_is_shown_the_output() -> None:
    judge = LLMValidator("is it polite", lambda prompt: prompt)

    def people(**options: Any) -> list[Finding]:
        return leaks(some("people", labels=["pii"], **options))

    for validators in ([judge], [CompositeValidator([judge])]):
        (finding,) = people(validators=validators)
        assert (finding.code, finding.severity) == ("KRS220", ERROR)
        assert "through its validator LLMValidator" in (finding.found or "")
    assert people(validators=[judge], declassify=["pii"]) == []
    assert people(validators=[StructuralValidator()]) == []


# --- what a step is seen to touch


def fetch_page(url: str) -> bytes:
    return bytes(urllib.request.urlopen(url).read())  # noqa: S310 - it is never called


def through_a_helper(ctx: StepContext) -> Any:
    return fetch_page(ctx.inputs["url"])


def through_a_module(ctx: StepContext) -> Any:
    return socket.create_connection((ctx.inputs["host"], 80))


def inside(ctx: StepContext) -> Any:
    import smtplib

    return smtplib.SMTP(ctx.inputs["host"])


def commands(ctx: StepContext) -> Any:
    return subprocess.run([ctx.inputs["name"]], check=False)


def harmless(ctx: StepContext) -> Any:
    try:
        return socket.gethostname() + ctx.inputs["name"]
    except (TimeoutError, socket.gaierror):
        return urllib.parse.quote("a")


class Calls:
    def __call__(self, ctx: StepContext) -> Any:
        return through_a_module(ctx)


class Client:
    def __init__(self) -> None:
        self.made = socket.socket
        self.name = "a"

    def send(self, ctx: StepContext) -> Any:
        return self._send(ctx.inputs["name"])

    def _send(self, name: str) -> Any:
        return socket.create_connection((name, 1))

    @staticmethod
    def plain(name: str) -> Any:
        return socket.create_connection((name, 1))

    def held(self, ctx: StepContext) -> Any:
        return self.made(ctx.inputs["name"])

    def own_name(self, ctx: StepContext) -> Any:
        return self.name + ctx.inputs["name"]


CLIENT = Client()
BOUND = CLIENT.send


def through_helpers(ctx: StepContext) -> Any:
    return through_a_helper(ctx)


def handed(send: Any, ctx: StepContext) -> Any:
    return send(ctx.inputs["name"])


@pytest.mark.parametrize(
    "action, touches, evidence",
    [
        (through_helpers, "network", "by fetch_page()"),
        (CLIENT.send, "network", "by _send()"),
        (CLIENT.held, "network", "through socket"),
        (lambda ctx: [CLIENT.send(ctx)], "network", "by _send()"),
        (lambda ctx: [BOUND(ctx)], "network", "by _send()"),
        (lambda ctx: Client.plain(ctx.inputs["name"]), "network", "by plain()"),
        (functools.partial(handed, CLIENT.send), "network", "by _send()"),
        (through_a_module, "network", "through socket, imported in test_labels.py:"),
        (through_a_helper, "network", "by fetch_page()"),
        (inside, "network", "through smtplib, imported in test_labels.py:"),
        (commands, "commands", "through subprocess"),
        (functools.partial(through_a_module), "network", "through socket"),
        (lambda ctx: [socket.socket() for _ in range(2)], "network", "through socket"),
        (Calls(), "network", "by through_a_module()"),
    ],
)
def test_libraries_that_the_code_refers_to_are_seen(
    action: Any, touches: str, evidence: str
) -> None:
    (seen,) = seen_touches(Step("a", action, read_keys=[]))
    assert seen.touches == touches
    assert evidence in seen.evidence


@pytest.mark.parametrize(
    "action", [harmless, act, len, lambda ctx: ctx.inputs["socket"], CLIENT.own_name]
)
def test_code_that_talks_to_nobody_is_not_suspected(action: Any) -> None:
    assert seen_touches(Step("a", action, read_keys=[])) == ()


def test_a_client_made_elsewhere_is_known_by_its_class() -> None:
    client = socket.socket()
    (seen,) = seen_touches(Step("a", lambda ctx: client.send(b""), read_keys=[]))
    client.close()
    assert seen.touches == "network"


def test_an_action_inside_an_action_says_what_it_touches() -> None:
    def model(prompt: str) -> str:
        return prompt

    model.__kairos_touches__ = ("model",)  # type: ignore[attr-defined]
    step = Step("a", lambda ctx: model(ctx.inputs["api_token"]), read_keys=["api_token"])
    assert ways(leaks(step)) == [
        ("KRS220", "a", "api_token → a; it talks to a model through model, which says so")
    ]


def test_what_is_only_seen_is_a_warning() -> None:
    (finding,) = leaks(Step("fetch", through_a_module, read_keys=["host", "api_token"]))
    assert finding.severity is WARNING
    assert "it talks to the network through socket, imported in" in (finding.found or "")


# --- against every order in which a plan may run


class Drawn(NamedTuple):
    needs: tuple[int, ...]
    reads: tuple[str, ...] | None
    writes: tuple[str, ...]
    labels: tuple[str, ...]
    declassify: tuple[str, ...]


KEYS = ("x", "y", "s0", "s1", "s2", "given")
LABELS = ("one", "two", "given_token")


@st.composite
def plans(draw: Any) -> list[Drawn]:
    def some_of(of: tuple[str, ...], most: int) -> tuple[str, ...]:
        return tuple(sorted(draw(st.sets(st.sampled_from(of), max_size=most))))

    return [
        Drawn(
            tuple(sorted(draw(st.sets(st.integers(0, i - 1), max_size=2)))) if i else (),
            None if draw(st.integers(0, 9)) == 0 else some_of((*KEYS, "given_token"), 2),
            some_of(("x", "y"), 1),
            some_of(LABELS[:2], 1) if draw(st.booleans()) else (),
            some_of(LABELS, 1) if draw(st.booleans()) else (),
        )
        for i in range(draw(st.integers(2, 5)))
    ]


def orders(plan: list[Drawn]) -> Iterator[tuple[int, ...]]:
    for order in permutations(range(len(plan))):
        at = {step: nth for nth, step in enumerate(order)}
        if all(at[need] < at[i] for i, each in enumerate(plan) for need in each.needs):
            yield order


def reached(plan: list[Drawn]) -> list[set[str]]:
    """Return what each step may see of labels, over all orders and all choices of what to write."""
    found: list[set[str]] = [set() for _ in plan]
    for order in orders(plan):
        held: dict[str, set[str]] = {"given_token": {"given_token"}}
        for i in order:
            each = plan[i]
            keys = held if each.reads is None else each.reads
            seen = set().union(*(held.get(key, set()) for key in keys if key != f"s{i}"))
            found[i] |= seen
            borne = (seen | {*each.labels}) - {*each.declassify}
            for key in (f"s{i}", *each.writes):
                held.setdefault(key, set()).update(borne)  # it may write, and may leave it
    return found


@given(plans())
def test_no_order_of_a_plan_brings_a_label_where_it_is_not_seen_to_get(plan: list[Drawn]) -> None:
    steps = [
        Step(
            f"s{i}",
            act,
            depends_on=[f"s{need}" for need in each.needs],
            read_keys=each.reads,
            write_keys=each.writes,
            labels=each.labels,
            declassify=each.declassify,
        )
        for i, each in enumerate(plan)
    ]
    scene = Scene(TaskGraph("plan", steps), frozenset(["given_token", "given"]))
    labels = Labels(scene)
    seen = [{*labels.told(bits)} for bits in labels.reads]
    truth = reached(plan)
    for mine, real in zip(seen, truth, strict=True):
        assert real <= mine
    if in_line(plan):
        assert seen == truth
    for name in labels.names:
        came = labels.ways(name)
        for i, held in enumerate(seen):
            assert (i in came and bool(labels.way(came, i))) or name not in held


def in_line(plan: list[Drawn]) -> bool:
    """Tell whether each step that reads a key depends on all its writers: no order changes much."""
    above: list[set[int]] = []
    for each in plan:
        above.append(set(each.needs).union(*(above[need] for need in each.needs)))
    return all(
        each.reads is not None
        and all(
            j in above[i]
            for j, other in enumerate(plan)
            for key in each.reads
            if key in (f"s{j}", *other.writes) and j != i
        )
        and not ({*each.reads} & {*each.writes})
        for i, each in enumerate(plan)
    )


# --- a step explained


def summarise(account: Account, topic: str) -> str:
    return account.pin + topic


def test_a_step_is_explained_from_all_that_is_declared() -> None:
    class Given(BaseModel):
        user: str
        topic: str

    workflow = Workflow(
        "w",
        [
            Step("account", load_account),
            Step("summary", summarise, touches=["model"], declassify=["pii"], retries=1),
        ],
        inputs=Given,
    )
    found = explain(workflow.scene, "summary")

    account, topic = found.reads
    assert account.key == "account"
    assert [(o.kind, o.name, o.contract) for o in account.origins] == [
        ("step", "account", "Account")
    ]
    assert account.through == "its parameter 'account'"
    assert account.needs == "Account"
    assert account.verdict is not None
    assert account.labels == ("pii", "account.iban")
    assert [(o.kind, o.name) for o in topic.origins] == [("input", "topic")]
    assert [each.key for each in found.writes] == ["summary"]
    assert found.writes[0].labels == ("account.iban",)
    assert [(each.what, each.evidence) for each in found.touches] == [("model", "declared")]
    assert found.trusted_with == ("pii",)
    assert found.on_failure == "up to 2 attempts, then abort"
    assert found.policy_from == "its retries, else the defaults"
    assert found.to_dict()["reads"][0]["origins"][0]["kind"] == "step"

    text = told(found, color=False)
    assert "may read" in text
    assert "bears pii, account.iban" in text
    assert "\x1b[" in told(found, color=True)


def test_an_unscoped_step_is_explained_with_all_that_there_may_be() -> None:
    graph = TaskGraph("p", [some("a", ["api_key"]), Step("b", act), some("c", after=["b"])])
    found = explain(Scene(graph), "b")
    assert found.everything
    assert {each.key: each.labels for each in found.reads} == {
        "api_key": ("api_key",),
        "a": ("api_key",),
    }
    assert "everything" in told(found, color=False)


def test_only_a_step_of_a_sound_plan_can_be_explained() -> None:
    with pytest.raises(PlanError, match="no step"):
        explain(Scene(TaskGraph("p", [some("a")])), "b")
    with pytest.raises(PlanError):
        explain(Scene(TaskGraph("p", [some("a", after=["a"])])), "a")


def test_what_is_told_cannot_move_the_cursor() -> None:
    graph = TaskGraph("p", [some("a", ["k\x1b[2Jey"])])
    assert "\x1b" not in told(explain(Scene(graph), "a"), color=False)
