"""Who may do what: every call of a tool goes through a chain of guards before it is made.

A guard is a function of a ToolRequest that answers `Allow`, `Rewrite`, `Deny` or `Ask`.  One denial
denies, whatever the others say; a guard that fails, or answers anything else, denies: also one that
answers nothing, as one does of which somebody forgot a `return`.  What a guard rewrites is held to
the tool's contract again and goes through the whole chain anew, so that no guard lets pass what it
has not seen.  What is to be asked is asked of a person last, and the answer holds for these very
arguments and no others.
"""

from __future__ import annotations

import copy
import fnmatch
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from kairos.agents.tools import Tool

__all__ = [
    "Allow",
    "Approve",
    "Ask",
    "Before",
    "Decision",
    "Deny",
    "Guard",
    "Late",
    "Question",
    "Rewrite",
    "ToolRequest",
    "allow_list",
    "answers_at_once",
    "canonical",
    "judge",
    "only_reading",
    "supervised",
]

_REWRITES = 8


class ToolRequest(NamedTuple):
    """A call that is to be made: `arguments` are plain JSON, checked, and a copy of their own.

    `hash` is the SHA-256 of their canonical JSON.
    """

    tool: str
    effect: str
    arguments: Mapping[str, Any]
    hash: str


class Allow(NamedTuple):
    """Nothing speaks against it."""

    reason: str = ""


class Rewrite(NamedTuple):
    """It may be made with these arguments instead."""

    arguments: Mapping[str, Any]
    reason: str = ""


class Deny(NamedTuple):
    """It must not be made."""

    reason: str = ""


class Ask(NamedTuple):
    """A person is to decide."""

    question: str = ""


Verdict: TypeAlias = Allow | Rewrite | Deny | Ask
Guard: TypeAlias = Callable[[ToolRequest], Verdict | Awaitable[Verdict]]


class Late(Exception):  # noqa: N818 - what is told of it, and never raised
    """A guard did not answer in time."""


class Question(NamedTuple):
    """What a person is asked: whether a tool may be called with these very arguments."""

    tool: str
    effect: str
    arguments: Mapping[str, Any]
    hash: str
    question: str
    call: str


Approval: TypeAlias = bool | Allow | Deny
Approve: TypeAlias = Callable[[Question], Approval | Awaitable[Approval]]
Before: TypeAlias = Callable[[ToolRequest], Approval | Awaitable[Approval | None] | None]


class Decision(NamedTuple):
    """What the chain decided: `verdict` is `allow`, `deny` or `ask`, of these `arguments`."""

    verdict: str
    arguments: bytes
    hash: str
    reason: str = ""
    question: str = ""


def canonical(raw: bytes) -> tuple[bytes, str]:
    """Return JSON with sorted keys and no blanks, and its SHA-256."""
    text = json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    written = text.encode("utf-8", "surrogatepass")
    return written, hashlib.sha256(written).hexdigest()


def judge(
    tool: Tool, raw: bytes, guards: Sequence[Guard]
) -> Generator[partial[Any], Any, Decision]:
    """Put a call to the chain; yields each guard with what it is asked, to be sent its answer.

    The answer of a guard that raised is the exception, and of one that is too slow `Late`.
    """
    written, digest = canonical(raw)
    for _ in range(_REWRITES):
        asked: list[str] = []
        rewritten: Rewrite | None = None
        rewriter: Guard | None = None
        for guard in guards:
            request = ToolRequest(tool.name, tool.effect, json.loads(written), digest)
            said = yield partial(guard, request)
            if isinstance(said, Allow):
                continue
            if isinstance(said, Ask):
                asked.append(str(said.question))
            elif isinstance(said, Rewrite):
                rewritten, rewriter = said, guard
                break
            else:
                return Decision("deny", written, digest, _why(said))
        if rewritten is None:
            verdict = "ask" if asked else "allow"
            return Decision(verdict, written, digest, "", "; ".join(filter(None, asked)))
        before = digest
        try:
            checked = tool.signature.arguments.check_output(copy.deepcopy(rewritten.arguments))
        except Exception:  # noqa: BLE001 - what a guard gives may be anything at all
            return Decision("deny", written, digest, "a guard rewrote it to what the tool refuses")
        written, digest = canonical(checked)
        if digest == before:
            guards = [one for one in guards if one is not rewriter]  # it says so already
    return Decision("deny", written, digest, "the guards rewrite it without end")


def _why(said: object) -> str:
    if isinstance(said, Deny):
        return said.reason if isinstance(said.reason, str) else ""
    if isinstance(said, Late):
        return "a guard did not answer in time"
    if isinstance(said, BaseException):
        return "a guard failed"
    return "a guard did not answer"


def only_reading(request: ToolRequest) -> Allow | Deny:
    """Let nothing pass but tools that read."""
    return Allow() if request.effect == "read" else Deny("only reading is allowed")


def supervised(request: ToolRequest) -> Allow | Ask:
    """Have a person asked of every call but those of tools that read."""
    return Allow() if request.effect == "read" else Ask("may this call be made?")


def allow_list(patterns: Iterable[str]) -> Guard:
    """Return a guard that lets pass the tools whose names match one of the globs."""
    return _AllowList(tuple(patterns))


@dataclass(frozen=True, slots=True)
class _AllowList:
    globs: tuple[str, ...]

    def __call__(self, request: ToolRequest) -> Allow | Deny:
        if any(fnmatch.fnmatchcase(request.tool, glob) for glob in self.globs):
            return Allow()
        return Deny("this tool is not on the list of those allowed")


def answers_at_once(guard: Guard) -> bool:
    """Whether a guard is one of these, which nobody has to wait for."""
    return guard is only_reading or guard is supervised or isinstance(guard, _AllowList)
