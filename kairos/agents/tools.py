"""Tools: typed functions that a model may call.

A tool's arguments are held to its annotations before anything runs, and what it returns to its
return annotation.  Whatever stands in its result is data: it reaches the model as the result of
this call, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypedDict, overload

from typing_extensions import ParamSpec, TypeVar, Unpack

from kairos.agents.plan import FINAL
from kairos.agents.slots import Slots
from kairos.agents.tool_signature import given_tool, name_of, read_tool
from kairos.contracts.contract import Contract
from kairos.contracts.effects import checked_touches
from kairos.enums import WorkflowStatus
from kairos.exceptions import ConfigError, KairosError
from kairos.models import ToolSpec
from kairos.source import declared_here, defined_at

__all__ = ["Effect", "Tool", "ToolError", "as_tools", "tool", "workflow_tool"]

P = ParamSpec("P", default=...)
R = TypeVar("R", default=Any)
Effect: TypeAlias = Literal["read", "write", "external"]
_EFFECTS = ("read", "write", "external")
_CONTEXT = "kairos.context"  # no input has such a name
_LOOK = 0.05
"""How often, in seconds, it is looked whether anybody waits for a nested run."""


class ToolError(KairosError):
    """Raised by a tool, to tell the model in words what went wrong.

    Any other exception is told by its class alone: its message may hold what nobody should read.
    """


class Tool(Generic[P, R]):
    """A function that a model may call.

    Its parameters' annotations are the contract of its arguments and its return annotation that
    of its result; its docstring describes it and its parameters.  A parameter annotated
    `ToolContext`, or named `ctx` without an annotation, is handed what the step may read.  The
    function may be async, or a generator (async or not) of partial results: the texts are joined,
    of other values the last is the result.

    `effect` says what it does to the world: `read`, `write` (the default, since nothing is known
    of it), or `external` for what leaves this system.  `timeout` is in seconds, `max_calls` counts
    within one task, `concurrency` how many run at once in the whole process, until they have really
    ended; who finds no place within `timeout` seconds is not run.  `touches` are words of
    `Step(touches=...)`.  A result longer than `max_chars` is cut; `untrusted=True` defuses
    whatever in it imitates the controls of a conversation.

    `parameters`, and `result` with it, are contracts in place of the annotations, for a function
    that is given everything by name: a workflow, a tool of another system.

    Raises ConfigError for a function without annotations, for a parameter that cannot be filled
    by name, for a name that no provider takes, and for an option that is none.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        effect: Effect = "write",
        timeout: float | None = None,
        max_calls: int | None = None,
        concurrency: int | None = None,
        touches: Iterable[str] = (),
        max_chars: int = 100_000,
        untrusted: bool = False,
        parameters: Contract | None = None,
        result: Contract | None = None,
    ) -> None:
        place = declared_here()
        if isinstance(function, Tool):
            raise ConfigError(
                f"{function!r} is a tool already",
                where=place,
                fix="give tools=[...] the Tool itself, or make another: Tool(it.function, ...)",
            )
        self.place = defined_at(function) or place
        self.function: Callable[..., Any] = function
        self.name = name_of(function, name, self.place)
        if parameters is None:
            self.signature = read_tool(function, self.name, self.place)
        else:
            self.signature = given_tool(function, parameters, result)
        self.effect = _effect(effect, self.name, place)
        self.timeout = _number("timeout", timeout, self.name, whole=False)
        self.max_calls = _number("max_calls", max_calls, self.name, whole=True)
        self.max_chars = _number("max_chars", max_chars, self.name, whole=True)
        self.slots = Slots(_number("concurrency", concurrency, self.name, whole=True))
        self.touches = checked_touches(touches, f"touches= of tool '{self.name}'", place)
        self.untrusted = untrusted
        self.spec = ToolSpec(
            self.name,
            self.signature.description if description is None else description,
            self.signature.schema,
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, as if it were no tool."""
        found: R = self.function(*args, **kwargs)
        return found

    def __repr__(self) -> str:
        return f"Tool({self.name}, effect={self.effect})"


class _Options(TypedDict, total=False):
    name: str | None
    description: str | None
    effect: Effect
    timeout: float | None
    max_calls: int | None
    concurrency: int | None
    touches: Iterable[str]
    max_chars: int
    untrusted: bool


class _Making(Protocol):
    """What `tool(...)` returns: it makes a tool of a function, and keeps its signature."""

    def __call__(self, function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(**options: Unpack[_Options]) -> _Making: ...


def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a tool of a function: `@tool`, or `@tool(effect="read", timeout=5)`."""
    if function is not None:
        return Tool(function)
    return lambda decorated: Tool(decorated, **options)


def as_tools(given: Iterable[Any]) -> tuple[Tool, ...]:
    """Return tools from tools, functions and workflows.

    Raises ConfigError for what is none of these, and for two tools of one name.
    """
    if isinstance(given, str | Tool) or not isinstance(given, Iterable):
        raise ConfigError(
            "tools= is no list of tools",
            where=declared_here(),
            expected="functions, Tools or workflows",
            found=type(given).__name__,
        )
    found: dict[str, Tool] = {}
    for each in given:
        made = _as_tool(each)
        if made.name in found:
            raise ConfigError(
                f"two tools are named '{made.name}'",
                where=declared_here(),
                found=f"the first at {found[made.name].place}, the second at {made.place}",
                fix="give one another name: Tool(function, name='...')",
            )
        if made.name == FINAL:
            raise ConfigError(
                f"a tool is named '{FINAL}', which is how an agent gives its answer",
                where=made.place,
                fix="give it another name: Tool(function, name='...')",
            )
        found[made.name] = made
    return tuple(found.values())


def _as_tool(given: Any) -> Tool:
    if isinstance(given, Tool):
        return given
    if callable(getattr(given, "run", None)) and isinstance(getattr(given, "name", None), str):
        return workflow_tool(given)
    if callable(given):
        return Tool(given)
    raise ConfigError(
        "this is no tool",
        where=declared_here(),
        expected="a typed function, a Tool or a workflow",
        found=type(given).__name__,
    )


def workflow_tool(
    workflow: Any, *, description: str | None = None, effect: Effect = "write", **options: Any
) -> Tool:
    """Return a tool that runs a workflow: anything with `name`, `run` and `input_contract`.

    Its declared inputs are the parameters and its output is the result.  Of a run that fails, or
    completes in part, the model is told nothing but that it failed.  When nobody waits for the call
    any longer, the run is cancelled.  Raises ConfigError for a workflow that does not declare its
    inputs by a contract.
    """
    contract = getattr(workflow, "input_contract", None)
    if not isinstance(contract, Contract):
        raise ConfigError(
            f"workflow '{workflow.name}' does not say what it is given",
            where=getattr(workflow, "place", None) or declared_here(),
            expected="a contract of its inputs, from which a model's arguments are checked",
            fix="declare it: Workflow(..., inputs=Schema({...}))",
        )

    def run(**inputs: Any) -> Any:
        context = inputs.pop(_CONTEXT, None)
        try:
            result = _result_of(workflow, inputs, context)
        except Exception:  # noqa: BLE001 - its words are no more for the model than its events
            result = None
        if result is None or result.status != WorkflowStatus.COMPLETE:
            raise ToolError("the workflow failed")
        return result.output

    made = Tool(
        run,
        name=options.pop("name", workflow.name),
        description=description or f"Runs the workflow {workflow.name}.",
        effect=effect,
        parameters=contract,
        **options,
    )
    made.signature = made.signature._replace(context=_CONTEXT)
    return made


def _result_of(workflow: Any, inputs: dict[str, Any], context: Any) -> Any:
    """Run a workflow to its end, or until nobody waits for it: then it is cancelled."""
    start = getattr(workflow, "start", None)
    if context is None or not callable(start):
        return workflow.run(inputs)
    running: Any = start(inputs)
    while True:
        try:
            return running.result(_LOOK)
        except TimeoutError:
            if not context.cancelled:
                continue
            running.cancel("the call was given up")
            return running.result()
        except KeyboardInterrupt:  # it is not on this thread, and would not hear of it
            running.cancel("interrupted")
            raise


def _effect(given: Any, name: str, place: Any) -> Effect:
    if given in _EFFECTS:
        return given  # type: ignore[no-any-return]
    raise ConfigError(
        f"the effect of tool '{name}' is none",
        where=place,
        expected=" or ".join(_EFFECTS),
        found=repr(given[:40]) if isinstance(given, str) else type(given).__name__,
    )


def _number(option: str, given: Any, name: str, *, whole: bool) -> Any:
    good = isinstance(given, int if whole else (int, float)) and not isinstance(given, bool)
    if given is None or (good and given > 0):
        return given
    raise ConfigError(
        f"{option} of tool '{name}' is none",
        where=declared_here(),
        expected=f"{'a whole number' if whole else 'seconds'} above 0, or None",
        found=str(given) if good else type(given).__name__,
    )
