"""One call of a tool, from the model's JSON to what the model is told: a generator as well.

It yields `Do` to have something done that takes time or is somebody else's code, and is sent what
came of it, a `Done`.  It yields `Decided` for the record, and returns a ToolFinished.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from kairos.agents.authority import Allow, Deny, Late, Question, ToolRequest, answers_at_once, judge
from kairos.agents.desk import ToolFailure
from kairos.agents.events import Decided, ToolFinished
from kairos.agents.faults import told_of
from kairos.agents.slots import Slots
from kairos.agents.tools import ToolError
from kairos.contracts.contract import ContractBroken
from kairos.contracts.encoding import encode
from kairos.enums import FailureType
from kairos.exceptions import StateError
from kairos.security import sanitize_exception, sanitize_retry_context, sanitize_untrusted_text

if TYPE_CHECKING:
    from kairos.agents.authority import Decision
    from kairos.agents.desk import Desk
    from kairos.agents.tools import Tool
    from kairos.models import ToolCall

__all__ = ["Do", "Done", "Steps", "carry_out"]

_BUSY = "not run: the tool is busy with as many calls as it takes, and none ended in time"
_SCANNED = 100_000
_TOLD = 500


class Do(NamedTuple):
    """Something to be done: call `function`, and await or iterate what it returns.

    `rule` is code that is called at once, `guard` code that decides and may get stuck, `person`
    waits for one; of these two no other of its kind is beside it.  `tool` may run for long.
    `timeout` is in seconds from when it begins; `slots` is where it has to find a place, within as
    many seconds.
    """

    kind: Literal["rule", "guard", "person", "tool"]
    function: Callable[[], Any]
    timeout: float | None = None
    slots: Slots | None = None


class Done(NamedTuple):
    """What came of it: a value, or an error; `fate` says whether it ended by itself.

    `busy` is that it never began: it found no place within the time that it may take.
    """

    value: Any = None
    error: BaseException | None = None
    fate: Literal["", "timeout", "cancelled", "busy"] = ""
    seconds: float = 0.0


Steps: TypeAlias = Generator[Do | Decided, Done | None, ToolFinished]
Bind: TypeAlias = Callable[["Tool", Mapping[str, Any]], Callable[[], Any]]


def carry_out(call: ToolCall, desk: Desk, bind: Bind, decided: Decided | None = None) -> Steps:
    """Make one call.  `bind` returns what calls a tool's function; `decided` was before a crash."""
    tool = desk.tools.get(call.name)
    if tool is None:
        known = json.dumps({"error": "unknown_tool", "known_tools": sorted(desk.tools)})
        return _finished(call, known, "unknown")
    try:
        raw = _checked(tool, call.arguments)
    except ContractBroken as broken:
        return _finished(call, _what_is_wrong(tool, broken), "invalid")
    earlier = decided if decided is not None and decided.tool == tool.name else None
    if earlier is not None and earlier.verdict != "allow":
        allowed = earlier
    else:
        allowed = yield from _decision(call, tool, raw, desk, earlier)
        telling = allowed.question or allowed.verdict != "allow" or desk.guards
        if telling and (earlier is None or allowed != earlier._replace(at=allowed.at)):
            yield allowed
    if allowed.verdict == "deny":
        return _finished(call, _denial(allowed.reason), "denied")
    if allowed.verdict == "describe":
        told = {"dry_run": True, "tool": tool.name, "arguments": json.loads(allowed.arguments)}
        return _finished(call, json.dumps(told, ensure_ascii=False), "described")
    try:
        finished = yield from _made(call, tool, allowed.arguments.encode(), desk, bind)
    except ContractBroken as broken:  # a decision of another day, about a tool that has changed
        return _finished(call, _what_is_wrong(tool, broken), "invalid")
    if desk.after is not None:
        after = desk.after
        done = yield Do("rule", lambda: after(finished))
        if done is not None and done.error is not None:
            finished = finished._replace(ends=True)
    return finished


def _checked(tool: Tool, arguments: str) -> bytes:
    contract = tool.signature.arguments
    text = arguments if arguments.strip() else "{}"
    return contract.check_output(contract.check_json(text.encode("utf-8", "replace")))


# --- what may be done


def _decision(
    call: ToolCall, tool: Tool, raw: bytes, desk: Desk, known: Decided | None
) -> Generator[Do | Decided, Done | None, Decided]:
    """Decide of a call; of one that was allowed before a crash, nobody is asked again.

    The guards are, though: whoever goes on read-only must not find a call let through before.
    """
    decision = yield from _chain(judge(tool, raw, desk.guards), desk)
    made = Decided(
        call.id,
        tool.name,
        decision.verdict,
        decision.hash,
        decision.arguments.decode("utf-8", "replace"),
        decision.reason,
        decision.question,
    )
    if desk.before is not None and made.verdict != "deny":
        request = ToolRequest(tool.name, tool.effect, json.loads(made.arguments), made.hash)
        said = _ruled((yield Do("guard", partial(desk.before, request), desk.guard_timeout)))
        if isinstance(said, Late):
            return made._replace(verdict="deny", reason="before_tool did not answer in time")
        if said is not None and said is not True and not isinstance(said, Allow):
            return made._replace(verdict="deny", reason=_reason(said, "before_tool denied it"))
    if made.verdict != "deny" and desk.dry_run and tool.effect != "read":
        return made._replace(verdict="describe", question="")
    if made.verdict == "ask":
        if known is not None and known.answered and known.hash == made.hash:
            return made._replace(verdict="allow", answered=True)  # the same question
        return (yield from _asked(made, tool.effect, desk))
    return made


def _chain(
    judging: Generator[partial[Any], Any, Decision], desk: Desk
) -> Generator[Do | Decided, Done | None, Decision]:
    """Have each guard asked, and return what the chain decided."""
    try:
        question = next(judging)
        while True:
            kind: Literal["rule", "guard"] = "rule" if answers_at_once(question.func) else "guard"
            done = yield Do(kind, question, None if kind == "rule" else desk.guard_timeout)
            question = judging.send(_ruled(done))
    except StopIteration as ended:
        decision: Decision = ended.value
        return decision


def _asked(made: Decided, effect: str, desk: Desk) -> Generator[Do | Decided, Done | None, Decided]:
    approve = desk.approve
    if approve is None:
        return made._replace(verdict="deny", reason="nobody is there to approve it")
    question = Question(
        made.tool, effect, json.loads(made.arguments), made.hash, made.question, made.call
    )
    done = yield Do("person", lambda: approve(question), desk.approval_timeout)
    if done is None or done.fate:
        return made._replace(verdict="deny", reason="nobody answered in time")
    said = _answer(done)
    if said is True or isinstance(said, Allow):
        return made._replace(verdict="allow", answered=True)
    return made._replace(
        verdict="deny", reason=_reason(said, "it was not approved"), answered=done.error is None
    )


def _ruled(done: Done | None) -> Any:
    return Late() if done is not None and done.fate else _answer(done)


def _answer(done: Done | None) -> Any:
    if done is None:
        return RuntimeError()
    return done.value if done.error is None else done.error


def _reason(said: Any, otherwise: str) -> str:
    reason = said.reason if isinstance(said, Deny) else ""
    return reason if isinstance(reason, str) and reason else otherwise


def _denial(reason: str) -> str:
    told = {"error": "denied", "reason": reason[:_TOLD] or "this call is not allowed"}
    return json.dumps(told, ensure_ascii=False)


# --- what is done


def _made(call: ToolCall, tool: Tool, raw: bytes, desk: Desk, bind: Bind) -> Steps:
    seconds, attempt = 0.0, 0
    while True:
        attempt += 1
        values = tool.signature.arguments.check_json(raw)  # anew: a tool may change them
        done = yield Do("tool", bind(tool, values), tool.timeout, tool.slots)
        if done is None:
            return _finished(call, _cut_short("cancelled"), "cancelled")
        seconds += done.seconds
        if done.fate == "cancelled":
            return _finished(call, _cut_short("cancelled"), "cancelled", seconds)
        error, written = _error(done), ""
        if error is None:
            try:
                written = _written(tool, done.value)
            except (ContractBroken, StateError) as broken:
                error = broken
        if error is None:
            return _result(call, tool, written, seconds)
        strategy = yield from _strategy(tool, error, attempt, desk)
        if strategy == "retry" and attempt <= desk.retries:
            continue
        if strategy == "skip":
            return _finished(call, '{"skipped": true}', "skipped", seconds)
        outcome = "timeout" if done.fate else "failed"
        ends = strategy == "abort"
        return _finished(call, _failure(error, attempt), outcome, seconds, ends=ends)


def _error(done: Done) -> BaseException | None:
    if done.fate == "busy":
        return ToolError(_BUSY)
    return TimeoutError() if done.fate == "timeout" else done.error


def _strategy(
    tool: Tool, error: BaseException, attempt: int, desk: Desk
) -> Generator[Do | Decided, Done | None, str]:
    chosen: Any = desk.on_error
    name, message = sanitize_exception(error)
    if callable(chosen):
        handler = chosen
        failure = ToolFailure(tool.name, name, message, attempt)
        chosen = _answer((yield Do("rule", lambda: handler(failure))))
        if chosen not in ("tell", "retry", "skip", "abort", "ask"):
            return "abort"  # a handler that fails must not be taken for one that forgives
    if chosen != "ask":
        return str(chosen)
    approve = desk.approve
    if approve is None:
        return "abort"
    question = Question(tool.name, tool.effect, {}, "", f"{name}: go on without it?", "")
    done = yield Do("person", lambda: approve(question), desk.approval_timeout)
    said = None if done is None or done.fate else _answer(done)
    return "tell" if said is True or isinstance(said, Allow) else "abort"


def _written(tool: Tool, value: Any) -> str:
    """Return a result as the model reads it: a text as it is, anything else as JSON."""
    contract = tool.signature.result
    raw = encode(value, key=tool.name) if contract is None else contract.check_output(value)
    if raw[:1] == b'"':
        text: str = json.loads(raw)
        return text
    return raw.decode()


def _result(call: ToolCall, tool: Tool, written: str, seconds: float) -> ToolFinished:
    seen = sanitize_untrusted_text(written[:_SCANNED], max_len=_SCANNED)
    content = seen.text if tool.untrusted else written
    if len(content) > tool.max_chars:
        content = f"{content[: tool.max_chars]}\n[cut: {len(content) - tool.max_chars} more]"
    return ToolFinished(
        call.id, call.name, content, flags=tuple(sorted(seen.flags)), seconds=seconds
    )


def _finished(
    call: ToolCall, content: str, outcome: str, seconds: float = 0.0, *, ends: bool = False
) -> ToolFinished:
    return ToolFinished(call.id, call.name, content, outcome, ends=ends, seconds=seconds)


def _what_is_wrong(tool: Tool, broken: ContractBroken) -> str:
    known = tool.signature.schema.get("properties", {})
    return json.dumps({"error": "invalid_arguments", **told_of(broken.errors, known, 1)})


def _failure(error: BaseException, attempt: int) -> str:
    if isinstance(error, ToolError):
        said = sanitize_untrusted_text(sanitize_exception(error)[1], max_len=_TOLD).text
        return json.dumps({"error": "failed", "message": said}, ensure_ascii=False)
    faults = list(error.errors) if isinstance(error, ContractBroken) else None
    told = sanitize_retry_context(None, error, attempt, FailureType.EXECUTION, faults)
    return json.dumps({"error": "failed", **told})


def _cut_short(why: str) -> str:
    return json.dumps({"error": why})
