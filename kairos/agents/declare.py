"""How an agent is declared: every option checked before anything is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args, overload

from typing_extensions import TypedDict, TypeVar, Unpack

from kairos.agents.agent import Agent, Settings
from kairos.agents.asking import asked_with, shortfall
from kairos.agents.authority import only_reading, supervised
from kairos.agents.checks import (
    allowed_tools,
    answer_way,
    callable_or_none,
    compaction_of,
    guard_list,
    model_of,
    seconds,
    strategy_of,
    text,
    whole,
    yes_or_no,
)
from kairos.agents.desk import Desk
from kairos.agents.limits import Limits
from kairos.agents.plan import GIVE_UP, Mode, Plan, Via
from kairos.agents.tools import as_tools
from kairos.contracts.contract import compile_contract
from kairos.contracts.placeholders import parse_template
from kairos.exceptions import ConfigError
from kairos.ports import SystemClock
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kairos.agents.authority import Approve, Before, Guard
    from kairos.agents.compaction import Compaction
    from kairos.agents.desk import ErrorHandler, ErrorStrategy
    from kairos.agents.engagement import Said
    from kairos.agents.events import ToolFinished
    from kairos.agents.tools import Tool
    from kairos.failure import FailurePolicy
    from kairos.models import Model
    from kairos.ports import Clock

__all__ = ["agent"]

T = TypeVar("T")


class _Options(TypedDict, total=False):
    tools: Iterable[Any]
    instructions: str
    task: str | None
    mode: Mode
    answer_retries: int
    answer_via: Via | None
    max_iterations: int | None
    max_tool_calls: int | None
    max_input_tokens: int | None
    max_output_tokens: int | None
    max_total_tokens: int | None
    max_usd: float | None
    max_seconds: float | None
    max_repeated_calls: int | None
    max_repeated_texts: int | None
    max_tokens: int | None
    timeout: float | None
    temperature: float | None
    options: Mapping[str, Any] | None
    compaction: Compaction | None
    guards: Iterable[Guard]
    allow: Iterable[str] | None
    read_only: bool
    dry_run: bool
    approve: Approve | Literal["terminal"] | None
    approval_timeout: float
    guard_timeout: float
    on_tool_error: ErrorStrategy | ErrorHandler
    tool_retries: int
    before_tool: Before | None
    after_tool: Callable[[ToolFinished], object] | None
    progress: Callable[[Said], object] | None
    failure_policy: FailurePolicy | None
    clock: Clock | None


@overload
def agent(model: Model, *, output: None = None, **options: Unpack[_Options]) -> Agent[str]: ...


@overload
def agent(model: Model, *, output: type[T], **options: Unpack[_Options]) -> Agent[T]: ...


@overload
def agent(model: Model, *, output: Any, **options: Unpack[_Options]) -> Agent[Any]: ...


def agent(
    model: Model,
    *,
    tools: Iterable[Any] = (),
    instructions: str = "",
    task: str | None = None,
    mode: Mode = "task",
    output: Any = None,
    answer_retries: int = 2,
    answer_via: Via | None = None,
    max_iterations: int | None = 25,
    max_tool_calls: int | None = None,
    max_input_tokens: int | None = None,
    max_output_tokens: int | None = None,
    max_total_tokens: int | None = None,
    max_usd: float | None = None,
    max_seconds: float | None = None,
    max_repeated_calls: int | None = 5,
    max_repeated_texts: int | None = 5,
    max_tokens: int | None = None,
    timeout: float | None = None,
    temperature: float | None = None,
    options: Mapping[str, Any] | None = None,
    compaction: Compaction | None = None,
    guards: Iterable[Guard] = (),
    allow: Iterable[str] | None = None,
    read_only: bool = False,
    dry_run: bool = False,
    approve: Approve | Literal["terminal"] | None = None,
    approval_timeout: float = 300.0,
    guard_timeout: float = 60.0,
    on_tool_error: ErrorStrategy | ErrorHandler = "tell",
    tool_retries: int = 1,
    before_tool: Before | None = None,
    after_tool: Callable[[ToolFinished], object] | None = None,
    progress: Callable[[Said], object] | None = None,
    failure_policy: FailurePolicy | None = None,
    clock: Clock | None = None,
) -> Agent[Any]:
    """Make an agent: the action of a step, or something to run by itself.

    `task` is a prompt whose placeholders name what the step reads; `run(task)` does without.
    `output` is the contract of the answer, which in a step is the step's own output contract.  A
    reply that breaks it is told to the model in sanitised words, `answer_retries` times.
    `answer_via` says how the answer is given: `output` is the model's structured output, `tool` a
    tool for it; None chooses.

    `mode` says when it ends and who watches.  `task`: with the first answer that is no call.
    `autonomous`: when the model calls a tool to say that its goal is reached, with the answer, or
    that it cannot be; it needs a limit that ends it otherwise.  `supervised`: as `task`, and
    `approve` is asked of every call but those of tools that read, once the guards let it pass.

    The limits are those of `Limits`; None is none.  `max_tokens` bounds one answer, `timeout` in
    seconds one call of the model, and `options` are the provider's own, by their names.  What is
    not said here is what the model's adapter was made with; its system prompt comes before the
    `instructions`.

    `compaction` says when a conversation that grows too long for the model is made shorter, and
    how; None is never.

    Every call of a tool passes `guards`, one at a time; one that takes longer than `guard_timeout`
    seconds has denied it, and so has `before_tool`.  `allow` is a list of globs of tool names,
    `read_only` lets only tools pass that read, `dry_run` describes calls that write instead of
    making them, and `approve` answers what a guard wants asked, within `approval_timeout` seconds;
    without it such a call is denied.  `approve="terminal"` asks whoever sits there
    (`ask_on_terminal`).

    `on_tool_error` says what a failing tool leads to: `tell` the model, `retry` it `tool_retries`
    times, `skip` it, `abort` the task, `ask` a person, or a function that says which.
    `before_tool(request)` may deny a call by returning Deny or False, or by raising;
    `after_tool(finished)` and `progress(said)` are told; any of these may be async.
    `failure_policy` says how a failing model is retried outside of a step; inside, the step's
    policy does.

    Raises ConfigError for whatever of this is wrong.
    """
    place = declared_here()
    model = model_of(model)
    approve = _approver(approve)
    made = as_tools(tools)
    autonomous = _mode(mode) == "autonomous"
    asked = asked_with(
        model,
        instructions,
        max_tokens=max_tokens,
        timeout=timeout,
        temperature=temperature,
        options=options,
    )
    plan = Plan(
        asked.system,
        tuple(each.spec for each in made),
        Limits(
            max_iterations,
            max_tool_calls,
            max_input_tokens,
            max_output_tokens,
            max_total_tokens,
            max_usd,
            max_seconds,
            max_repeated_calls,
            max_repeated_texts,
        ),
        via=answer_way(answer_via) or _via(model, bool(made)),
        autonomous=autonomous,
        answer_retries=whole("answer_retries", answer_retries, least=0),
        most_calls={each.name: each.max_calls for each in made if each.max_calls is not None},
        max_tokens=asked.max_tokens,
        timeout=asked.timeout,
        temperature=asked.temperature,
        stop=asked.stop,
        seed=asked.seed,
        options=asked.options,
        compaction=compaction_of(compaction),
    )
    if autonomous:
        _can_end(plan.limits, made, answer_via)
        output = str if output is None else output
    if output is not None:
        plan = plan.answering(compile_contract(output, where=place, label="output= of agent()"))
    shortfall(model, plan)
    before = (only_reading,) if yes_or_no("read_only", read_only) else ()
    listed = allowed_tools(allow, [each.name for each in made])
    desk = Desk(
        {each.name: each for each in made},
        (*before, *listed, *guard_list(guards), *_watch(mode, approve)),
        approve,
        seconds("approval_timeout", approval_timeout),
        yes_or_no("dry_run", dry_run),
        strategy_of(on_tool_error),
        whole("tool_retries", tool_retries, least=0),
        callable_or_none("before_tool", before_tool),
        callable_or_none("after_tool", after_tool),
        seconds("guard_timeout", guard_timeout),
    )
    settings = Settings(
        model,
        plan,
        desk,
        None if task is None else parse_template(text("task", task), where=place, label="task="),
        failure_policy,
        clock or SystemClock(),
        callable_or_none("progress", progress),
    )
    return Agent(settings, task)


def _mode(given: Any) -> Mode:
    if given in get_args(Mode):
        return given  # type: ignore[no-any-return]
    raise ConfigError(
        "mode of agent() is none",
        where=declared_here(),
        expected=" or ".join(get_args(Mode)),
        found=repr(given[:40]) if isinstance(given, str) else type(given).__name__,
    )


def _can_end(limits: Limits, tools: tuple[Tool, ...], via: Via | None) -> None:
    """Refuse what works on its own and has no end, or no way to tell of it."""
    if not limits.bounded:
        raise ConfigError(
            "an autonomous agent has no limit that ends it",
            where=declared_here(),
            expected="iterations, tokens, money or seconds: one of them at least",
            fix="leave max_iterations as it is, or give max_seconds=",
        )
    if via == "output":
        raise ConfigError(
            "an autonomous agent gives its answer by a tool, since what it says ends nothing",
            where=declared_here(),
            found="answer_via='output'",
            fix="leave answer_via away",
        )
    for each in tools:
        if each.name == GIVE_UP:
            raise ConfigError(
                f"a tool is named '{GIVE_UP}', by which an autonomous agent gives up its goal",
                where=each.place,
                fix="give it another name: Tool(function, name='...')",
            )


def _watch(mode: Mode, approve: Any) -> tuple[Guard, ...]:
    """Return the guard of a supervised agent: last of all, so that it asks what has passed."""
    if mode != "supervised":
        return ()
    if approve is None:
        raise ConfigError(
            "a supervised agent has nobody who is asked",
            where=declared_here(),
            expected="approve=, a function of a Question that returns True or False",
            fix="write approve='terminal', or approve=lambda question: ...",
        )
    return (supervised,)


def _via(model: Any, tools: bool) -> Via:  # noqa: FBT001 - read at its one call
    """Choose how the answer is given: some models cannot do it beside tools."""
    return "tool" if tools and not getattr(model, "output_beside_tools", True) else "output"


def _approver(given: Any) -> Callable[..., Any] | None:
    if given != "terminal":
        return callable_or_none("approve", given)  # type: ignore[no-any-return]
    from kairos.agents.terminal import ask_on_terminal  # noqa: PLC0415 - for those who ask there

    return ask_on_terminal
