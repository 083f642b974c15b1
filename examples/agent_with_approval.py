"""Old builds, tidied up: an agent finds them, a guard keeps releases, a person says what may go.

    python examples/agent_with_approval.py             # with ANTHROPIC_API_KEY; asks you each time
    python examples/agent_with_approval.py --fake      # this machine answers

The builds lie in a temporary folder.  On a terminal you are asked before anything is removed;
without one the decisions in SIGNED_OFF stand in for you.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel

from kairos.adapters.claude import ClaudeAdapter
from kairos.agents import Allow, Deny, Tool, agent
from kairos.testing import Answer, CallTool
from model_parts import providers

if TYPE_CHECKING:
    from kairos.agents import Question, ToolRequest
    from kairos.agents.agent import Agent
    from kairos.testing import FakeProviders

DAY = 24 * 3600
KEPT_DAYS = 30
AGES = {"build-101": 90, "build-102": 60, "build-103": 3, "release-1.0": 400}
SIGNED_OFF = {"build-101": True, "build-102": False}  # somebody still tests with 102


class Build(NamedTuple):
    """A build in the folder."""

    name: str
    days: int
    bytes: int


class Report(BaseModel):
    """What became of the folder."""

    removed: list[str]
    kept: list[str]


class Folder:
    """The builds, and what may be done with them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for name, days in AGES.items():
            (place / name).write_bytes(b"x" * 1000 * days)
            then = time.time() - days * DAY
            os.utime(place / name, (then, then))

    def builds(self) -> list[Build]:
        """List the builds that there are, with their age in days."""
        found = []
        for each in sorted(self.place.iterdir()):
            about = each.stat()
            found.append(Build(each.name, int((time.time() - about.st_mtime) / DAY), about.st_size))
        return found

    def remove(self, name: str) -> str:
        """Remove a build for good.

        Args:
            name: The build's name, as `builds` tells it.

        """
        (self.place / name).unlink()
        return f"removed {name}"

    def careful(self, request: ToolRequest) -> Allow | Deny:
        """Say what is never removed, whoever wants it; no person is even asked about that."""
        if request.effect == "read":
            return Allow()
        known = {each.name: each for each in self.builds()}
        build = known.get(request.arguments["name"])
        if build is None:
            return Deny("there is no such build")
        if build.name.startswith("release"):
            return Deny("a release is never removed")
        young = build.days < KEPT_DAYS
        return Deny(f"it is younger than {KEPT_DAYS} days") if young else Allow()


def signed_off(question: Question) -> bool:
    """Answer for a person who is not there."""
    return SIGNED_OFF.get(question.arguments["name"], False)


def build(folder: Folder) -> Agent:
    return agent(
        ClaudeAdapter(model=ClaudeAdapter.default_model),
        tools=[Tool(folder.builds, effect="read"), Tool(folder.remove, effect="write")],
        instructions=f"Remove builds older than {KEPT_DAYS} days. Take a no for an answer.",
        output=Report,
        mode="supervised",
        approve="terminal" if sys.stdin.isatty() else signed_off,
        guards=[folder.careful],
        max_iterations=10,
        max_total_tokens=60_000,
    )


def arrange(fake: FakeProviders) -> None:
    """Have the fake try what it should, and what it should not."""
    wanted = ("build-101", "build-102", "build-103", "release-1.0", "../secrets")
    fake.reply(CallTool("builds", {}))
    fake.reply(*(CallTool("remove", {"name": name}) for name in wanted))
    fake.reply(Answer({"removed": ["build-101"], "kept": ["build-102", "build-103"]}))


def main() -> None:
    with providers("ANTHROPIC_API_KEY") as fake, tempfile.TemporaryDirectory() as place:
        if fake is not None:
            arrange(fake)
        result = build(Folder(Path(place))).run("Tidy up the builds.")
        gone = set(AGES) - {each.name for each in Path(place).iterdir()}
    for action in result.actions:
        print(f"{action.tool:7} {action.input:24} {action.decision or '-':6} {action.outcome}")
    print(result.answer or result.stop_reason)
    removed = {json.loads(a.input)["name"] for a in result.actions
               if a.tool == "remove" and a.outcome == "done"}  # fmt: skip
    assert result.answered, result.stop_reason
    assert gone == removed, "nothing goes but what was called for"
    assert not gone & {"build-103", "release-1.0"}, "the guard keeps these"
    if not sys.stdin.isatty():
        assert gone <= {name for name, good in SIGNED_OFF.items() if good}, "and a person these"
    if fake is not None:
        assert len(result.actions) == 1 + 5
        assert gone == {"build-101"} or sys.stdin.isatty()


if __name__ == "__main__":
    main()
