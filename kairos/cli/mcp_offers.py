"""What a server of ours offers: workflows, and tools, each as a tool of MCP.

Whatever comes of a call is an `Answer`.  Its words are ours or the author's: no value that somebody
gave, no message of an exception, no stack.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import re
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kairos.agents.desk import ToolContext
from kairos.agents.engagement import joined
from kairos.agents.tools import Tool, ToolError
from kairos.agents.waiting import on_a_thread, place
from kairos.cli.output import Stop, clean, tell
from kairos.contracts.contract import ContractBroken
from kairos.contracts.encoding import encode
from kairos.enums import StepStatus, WorkflowStatus
from kairos.events import RunStarted, StepCompleted, StepFailed, StepSkipped
from kairos.exceptions import KairosError
from kairos.security import sanitize_exception, sanitize_untrusted_text, scrub_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kairos.contracts.contract import Contract
    from kairos.contracts.field_errors import FieldValidationError
    from kairos.events import Event
    from kairos.run import Run
    from kairos.workflow import Workflow
    from kairos.workflow_result import WorkflowResult

__all__ = ["Answer", "Offer", "Tell", "offers_of"]

_OTHER_SIGNS = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST_NAME = 64
_TOLD = 500
_MOST_FAULTS = 20


class Answer(NamedTuple):
    """What came of a call: a text, with it the same as an object where there is one."""

    text: str
    structured: dict[str, Any] | None = None
    failed: bool = False


class Tell(Protocol):
    """Takes how far a call is; from any thread."""

    def __call__(self, progress: float, total: float | None, message: str) -> None:
        """Take it."""
        ...


class Offer(Protocol):
    """One tool of the server."""

    name: str
    description: str
    parameters: dict[str, Any]
    result: dict[str, Any] | None
    effect: str

    async def call(self, arguments: dict[str, Any], tell: Tell) -> Answer:
        """Carry out a call; cancelling it ends what was begun."""
        ...


def offers_of(found: Iterable[tuple[str, Workflow | Tool, bool]]) -> dict[str, Offer]:
    """Return what is offered, by name, of values with where they stand and whether they were named.

    A workflow that does not say what it is given is left out with a word on standard error.  Raises
    Stop where it was asked for by name, for two offers of one name, and where nothing is left.
    """
    offers: dict[str, Offer] = {}
    left: list[str] = []
    for where, value, named in found:
        if isinstance(value, Tool):
            offer: Offer = _ToolOffer(value)
        elif value.declared_inputs is None:
            why = f"workflow '{clean(value.name)}' in {where} does not say what it is given"
            fix = "declare it: Workflow(..., inputs=Schema({...}))"
            if named:
                raise Stop(why, expected="a contract of its inputs", fix=fix)
            left.append(why)
            tell(f"kairos: left out: {why}\n  fix: {fix}")
            continue
        else:
            offer = _WorkflowOffer(value)
        if offer.name in offers:
            raise Stop(f"two of what is to be served are named '{offer.name}'")
        offers[offer.name] = offer
    if not offers:
        raise Stop(
            "there is nothing to serve",
            expected="a workflow that declares its inputs, or a tool",
            found=left[0] if left else None,
        )
    return offers


def _name(given: str) -> str:
    return _OTHER_SIGNS.sub("_", given)[:_LONGEST_NAME]


# --- a workflow


_telling: contextvars.ContextVar[Tell | None] = contextvars.ContextVar("telling", default=None)


class _Watch:
    """Tells how far a run is to whoever asked for that very run."""

    def __init__(self) -> None:
        self._far = threading.local()

    def observe(self, event: Event) -> None:
        """Take note of one event; all of a run's come on one thread, which has its context."""
        far, telling = self._far, _telling.get()
        if telling is None:
            return
        if isinstance(event, RunStarted):
            far.done, far.all = 0, len(event.plan)
        elif isinstance(event, StepCompleted | StepSkipped | StepFailed):
            far.done += 1
            telling(far.done, max(far.all, far.done), f"{event.step}: {_ENDED[type(event)]}")


_ENDED: dict[Any, str] = {StepCompleted: "done", StepSkipped: "skipped", StepFailed: "failed"}


class _WorkflowOffer:
    """A workflow as a tool: a run for each call."""

    effect = "write"

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        workflow.add_hook(_Watch())
        self.name = _name(workflow.name)
        described = workflow.metadata.get("description")
        self.description = described if isinstance(described, str) else f"Runs {workflow.name}."
        contract = workflow.input_contract
        if contract is None:
            names = sorted(workflow.declared_inputs or ())
            self.parameters: dict[str, Any] = {
                "type": "object",
                "properties": {name: {} for name in names},
                "additionalProperties": False,
            }
        else:
            self.parameters = _object(contract.json_schema("validation"))
        self._output = self._output_contract()
        self.result, self._wrapped = _result_schema(self._output)

    def _output_contract(self) -> Contract | None:
        """Return the contract of the one output there is; a foreach's is that of an element."""
        terminal = self._workflow.graph.terminal
        last = [step for step in self._workflow.steps if step.name in terminal]
        if len(last) != 1 or last[0].config.foreach is not None:
            return None
        return last[0].contracts.output

    async def call(self, arguments: dict[str, Any], tell: Tell) -> Answer:
        """Run the workflow; cancelling it cancels the run."""
        token = _telling.set(tell)
        try:
            contract = self._workflow.input_contract
            if contract is not None:
                contract.check_json(encode(arguments, key=self.name))
            run = self._workflow.start(arguments)
        except ContractBroken as broken:
            return _invalid(broken.errors)
        except KairosError as error:
            return _failure("invalid_arguments", message=_words(error))
        finally:
            _telling.reset(token)
        try:
            result = await _ended(run)
        except asyncio.CancelledError:
            run.cancel("the client cancelled the call")
            raise
        if result.status is not WorkflowStatus.COMPLETE:
            return _run_failed(result)
        return self._told(result.output)

    def _told(self, output: Any) -> Answer:
        if self._output is not None:
            try:
                self._output.check_output(output)
            except ContractBroken:  # it is what the contract says, but for what was redacted
                why = "the last step was skipped" if output is None else "it holds what is secret"
                return _failure("no_result", message=f"there is no result to show: {why}")
        return _answer(output, wrapped=self._wrapped)


async def _ended(run: Run) -> WorkflowResult:
    """Await a run on a thread of its own: a pool's places would bound how many can run."""
    return await on_a_thread(run.result)  # type: ignore[no-any-return]


def _run_failed(result: WorkflowResult) -> Answer:
    failed: list[dict[str, str]] = []
    for name, step in result.step_results.items():
        if step.status is StepStatus.FAILED_FINAL and len(failed) < _MOST_FAULTS:
            last = step.attempts[-1] if step.attempts else None
            failed.append({"step": name, "error": getattr(last, "error_type", None) or "Error"})
    return _failure("failed", status=result.status.value, steps=failed)


# --- a tool


class _ToolOffer:
    """A tool of kairos as one of MCP."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool
        self.name = tool.name
        self.description = tool.spec.description
        self.parameters = _object(dict(tool.signature.schema))
        self.effect: str = tool.effect
        self.result, self._wrapped = _result_schema(tool.signature.result)

    async def call(self, arguments: dict[str, Any], tell: Tell) -> Answer:
        """Call the tool's function; a sync one on a thread, which is told when it is cancelled."""
        tool, gone = self._tool, threading.Event()
        try:
            values = tool.signature.arguments.check_json(encode(arguments, key=tool.name))
        except ContractBroken as broken:
            return _invalid(broken.errors)
        if tool.signature.context is not None:
            values = {**values, tool.signature.context: _context(gone, tell)}
        await place(tool.slots)
        try:
            async with asyncio.timeout(tool.timeout):
                value = await self._value(values, gone)
            contract = tool.signature.result
            raw = encode(value, key=tool.name) if contract is None else contract.check_output(value)
        except TimeoutError:
            return _failure("timeout")
        except ContractBroken:
            return _failure("failed", message="the result breaks its contract")
        except ToolError as error:
            return _failure("failed", message=_words(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a tool may raise anything at all
            return _failure("failed", type=sanitize_exception(error)[0])
        finally:
            gone.set()
            tool.slots.leave()
        return _answer(json.loads(raw), wrapped=self._wrapped)

    async def _value(self, values: Mapping[str, Any], gone: threading.Event) -> Any:
        kind, function = self._tool.signature.kind, self._tool.function
        if kind == "async":
            return await function(**values)
        if kind == "async_generator":
            return joined([part async for part in function(**values)])
        if kind == "generator":
            return await on_a_thread(lambda: joined(_until(gone, function(**values))))
        return await on_a_thread(lambda: function(**values))


def _until(gone: threading.Event, parts: Any) -> list[Any]:
    found = []
    for part in parts:
        if gone.is_set():
            break
        found.append(part)
    return found


def _context(gone: threading.Event, telling: Tell) -> ToolContext:
    def progress(value: Any) -> None:
        telling(0, None, value if isinstance(value, str) else "")

    return ToolContext({}, None, "", "", read=None, cancelled=gone.is_set, tell=progress)


# --- schemas and answers


def _object(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that says at its root that it is an object's, as the protocol wants it."""
    return {**schema, "type": "object"}


def _result_schema(contract: Contract | None) -> tuple[dict[str, Any] | None, bool]:
    """Return the schema of a result, and whether that is wrapped since it is no object's."""
    if contract is None:
        return None, False
    schema = contract.json_schema("serialization")
    root = schema
    while "$ref" in root and root["$ref"].startswith("#/$defs/"):
        root = schema["$defs"][root["$ref"].removeprefix("#/$defs/")]
    if root.get("type") == "object":
        return _object(schema), False
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    outer = {"type": "object", "properties": {"result": inner}, "required": ["result"]}
    return outer | ({"$defs": schema["$defs"]} if "$defs" in schema else {}), True


def _answer(value: Any, *, wrapped: bool) -> Answer:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    structured = {"result": value} if wrapped else value if isinstance(value, dict) else None
    return Answer(text, structured)


def _failure(error: str, **told: Any) -> Answer:
    return Answer(json.dumps({"error": error, **told}, ensure_ascii=False), failed=True)


def _invalid(errors: Iterable[FieldValidationError]) -> Answer:
    fields = [
        {"field": each.field, "expected": each.expected, "found": each.actual} for each in errors
    ]
    return _failure("invalid_arguments", fields=fields[:_MOST_FAULTS])


def _words(error: KairosError) -> str:
    """Return what an error says, without where in the author's files that is."""
    told = f"{error.message}, expected: {error.expected}" if error.expected else error.message
    return sanitize_untrusted_text(scrub_credentials(told), max_len=_TOLD).text
