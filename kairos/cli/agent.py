"""`kairos agent`: a model with tools does a task, or talks, on the terminal."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from kairos.agents import AgentResult, Final, agent, event_to_plain
from kairos.agents.authority import supervised
from kairos.agents.terminal import TerminalApproval, can_ask
from kairos.agents.tools import as_tools
from kairos.cli.agent_parts import (
    Modules,
    contract_of,
    foreign,
    guards_of,
    instructions_of,
    mcp_tools_of,
    model_of,
    store_of,
    task_of,
    tools_of,
)
from kairos.cli.agent_result import Asked, closing, document, interrupted, stopped, totals
from kairos.cli.agent_screen import Heard, Screen
from kairos.cli.lines import marks_for
from kairos.cli.output import Stop, as_json, clean, give, stdout_kept, wants_color
from kairos.cli.run import INTERRUPTED, TERMINATED, terminated
from kairos.exceptions import KairosError
from kairos.security import redact_sensitive

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from kairos.agents import Agent, Question
    from kairos.agents.engagement import Said
    from kairos.agents.events import AgentEvent
    from kairos.cli.output import Relay

__all__ = ["AgentOptions", "run_agent"]


_LIMITS = (
    "max_usd",
    "max_iterations",
    "max_tool_calls",
    "max_seconds",
    "max_total_tokens",
    "max_tokens",
    "approval_timeout",
)
_OPTIONS = {"output": "output-contract"}
"""What an argument of agent() is called on the command line, where that is another name."""


class AgentOptions(NamedTuple):
    """The options of `kairos agent`, as they were given."""

    task: Sequence[str] = ()
    model: str | None = None
    tools: Sequence[str] = ()
    mcp: Sequence[str] = ()
    mcp_env: Sequence[str] = ()
    guards: Sequence[str] = ()
    allow: Sequence[str] = ()
    instructions: str = ""
    output_contract: str | None = None
    mode: str = "task"
    interactive: bool = False
    session: str | None = None
    store: str | None = None
    resume: bool = False
    max_usd: float | None = None
    max_iterations: int | None = 25
    max_tool_calls: int | None = None
    max_seconds: float | None = None
    max_total_tokens: int | None = None
    max_tokens: int | None = None
    read_only: bool = False
    dry_run: bool = False
    yes: bool = False
    approval_timeout: float | None = None
    reasoning: bool | None = None
    workflows_dir: str | None = None
    events: bool = False
    as_json: bool = False
    no_color: bool = False


def run_agent(options: AgentOptions) -> int:
    """Do what was asked and return the exit code.  Raises Stop when nothing could be begun."""
    _check(options)
    task = task_of(options.task)
    if options.resume and task.strip():
        raise Stop("--resume goes on with the task that was begun", found="another task")
    if not (task.strip() or options.interactive or options.resume):
        raise Stop("what is to be done?", expected='kairos agent "TASK", or - for standard input')
    with stdout_kept() as (stdout, relay), contextlib.ExitStack() as held:
        try:
            work = _Work(options, stdout, relay, held)
            return work.converse(task) if options.interactive else work.once(task)
        except Stop:
            raise
        except KairosError as error:
            raise _told(error) from None
        except KeyboardInterrupt:  # while it is loaded, or again while it ends
            return INTERRUPTED


def _check(options: AgentOptions) -> None:
    if options.interactive and (options.as_json or options.events):
        raise Stop("--interactive is for people, --json and --events for programs: take one")
    if options.interactive and "-" in options.task:
        raise Stop("with --interactive, standard input is the conversation", found="- as a task")
    if options.session is not None and options.store is None:
        raise Stop(
            "--session needs the store that holds it",
            fix=f"--store sqlite:PATH --session {shlex.quote(clean(options.session))}",
        )
    if options.resume and options.session is None:
        raise Stop("--resume needs a session", fix="--store sqlite:PATH --session ID --resume")
    if options.yes and options.mode == "supervised":
        raise Stop("--yes allows what --mode supervised asks for: take one")
    for name in _LIMITS:
        limit = getattr(options, name)
        if limit is not None and not limit > 0:
            raise Stop(f"{_option(name)} is no limit", expected="more than 0", found=f"{limit:g}")


def _option(name: str) -> str:
    return f"--{_OPTIONS.get(name, name.replace('_', '-'))}"


def _told(error: KairosError) -> Stop:
    """Return an error as a Stop, with its place where that is in a file of the user's own."""
    place = ""
    if error.where is not None:
        file = Path(error.where.file)
        ours = {"site-packages", "dist-packages"} & {*file.parts}
        if not ours and file.is_relative_to(Path.cwd()) and file.suffix == ".py":
            place = f"{error.where}: "
    fields = (error.expected, error.found, error.fix)
    expected, found, fix = (None if text is None else clean(text) for text in fields)
    message = re.sub(r"\b(\w+)= of agent\(\)", lambda found: _option(found[1]), error.message)
    return Stop(clean(f"{place}{message}"), expected=expected, found=found, fix=fix)


class _Work:
    """An agent, where it is seen, and what it brought."""

    def __init__(
        self,
        options: AgentOptions,
        stdout: TextIO,
        relay: Relay,
        held: contextlib.ExitStack,
    ) -> None:
        stderr: TextIO = relay.target
        self._options = options
        self._stdout = stdout
        self._between = marks_for(stderr).between
        color = wants_color(stderr, no_color=options.no_color)
        quiet = options.as_json or options.events or options.output_contract is not None
        reasoning = color and not quiet if options.reasoning is None else options.reasoning
        # a stream that was closed before the program began is None, whatever its type says
        seen = stdout is not None and stdout.isatty() and not quiet
        text = stdout if seen else None
        self._screen = Screen(text, stderr, color=color, reasoning=reasoning)
        self._approve = _Approving(self._screen, stderr)
        relay.target = Heard(self._screen, stderr)
        held.callback(self._screen.end)
        model = model_of(options.model)
        self._agent = self._made(model, held)
        self._asked = Asked(str(model.provider), str(model.name), None)
        self._session: Any = None
        if options.interactive or options.store is not None:
            store = store_of(options.store)
            if callable(close := getattr(store, "close", None)):
                held.callback(close)
            self._session = self._agent.session(options.session, store=store)
            held.callback(self._session.close)
            if self._session.unfinished and not options.resume:
                self._screen.note(
                    "its last task did not come to its end, and is broken off; "
                    "--resume goes on with it"
                )
            self._asked = self._asked._replace(session=str(self._session.id))

    def _made(self, model: Any, held: contextlib.ExitStack) -> Agent:
        options = self._options
        modules = Modules(options.workflows_dir)
        tools = tools_of(options.tools, modules)
        guards = guards_of(options.guards, modules)
        output = contract_of(options.output_contract, modules)
        tools += mcp_tools_of(options.mcp, options.mcp_env, held)
        tools = list(as_tools(tools))
        if not options.yes and options.mode != "supervised":
            guards.append(supervised)
        if not (options.yes or options.dry_run or options.read_only or can_ask()) and any(
            tool.effect != "read" for tool in tools
        ):
            self._screen.note(
                "nobody can be asked here: calls of tools that do not only read are denied; "
                "--yes allows them"
            )
        more: dict[str, Any] = {"mode": options.mode, "output": output}
        for name in ("max_tokens", "approval_timeout"):
            if (said := getattr(options, name)) is not None:
                more[name] = said
        return agent(
            model,
            tools=tools,
            guards=guards,
            instructions=instructions_of(options.instructions),
            allow=list(options.allow) or None,
            read_only=options.read_only,
            dry_run=options.dry_run,
            approve=self._approve,
            max_usd=options.max_usd,
            max_iterations=options.max_iterations,
            max_tool_calls=options.max_tool_calls,
            max_seconds=options.max_seconds,
            max_total_tokens=options.max_total_tokens,
            **more,
        )

    # --- one task

    def once(self, task: str) -> int:
        """Do one task, and give what came of it."""
        result, code = self._done(task)
        options = self._options
        if result is not None and (options.as_json or options.events):
            told = document(result, self._asked, code)
            self._give_line({"type": "result", **told}) if options.events else give(
                self._stdout, as_json(told, self._stdout)
            )
        elif result is not None:
            self._give(result)
        elif options.as_json or options.events:
            told = {"version": 1, "ok": False, "exit": code, "error": None}
            told |= {"stop_reason": "cancelled", "session": self._asked.session}
            give(self._stdout, as_json(told, self._stdout, indent=None))
        return code

    def _stream(self, task: str, record: Callable[[AgentEvent], None] | None) -> Generator[Said]:
        """Begin with a task; without one, go on with the one that is unfinished."""
        if self._session is None:
            return self._agent.stream(task, record=record)
        if not task.strip():
            return self._session.resume_stream(record=record)  # type: ignore[no-any-return]
        return self._session.stream(task, record=record)  # type: ignore[no-any-return]

    def _done(self, task: str) -> tuple[AgentResult | None, int]:
        """Do one task under somebody's eyes; no result says that it was interrupted."""
        screen = self._screen
        screen.begin()
        result: AgentResult | None = None
        record = self._event if self._options.events else None
        try:
            with terminated() as told:
                try:
                    stream = self._stream(task, record)
                    with contextlib.closing(stream):
                        for said in stream:
                            screen.show(said)
                            if isinstance(said, Final):
                                result = said.result
                except KeyboardInterrupt:
                    result = None
        except KairosError as error:
            raise self._broken(error) from None
        except Exception as error:  # noqa: BLE001 - a model may be anybody's code
            raise self._broken(foreign("the model is broken", error)) from None
        finally:
            screen.end()
        if result is None:
            seen = (screen.iterations, screen.calls, screen.tokens)
            screen.line(interrupted(*seen, between=self._between))
            if not self._options.interactive and (following := self._following()):
                screen.line(f"next: {following}")
            return None, TERMINATED if told else INTERRUPTED
        self._close(result)
        return result, 0 if result.answered else 1

    def _broken(self, error: KairosError) -> Stop:
        stop = _told(error)
        if self._screen.iterations:
            stop.code = 1  # something was done
        return stop

    def _close(self, result: AgentResult) -> None:
        screen = self._screen
        why = stopped(result)
        if why is not None:
            screen.line(f"{marks_for(sys.stderr).failed} {why}", "1;31")
            fix = None if result.error is None else result.error.fix
            if fix:
                screen.line(f"  fix: {clean(fix)}")
        told = closing(result, between=self._between)
        following = "" if self._options.interactive else self._following()
        wide = shutil.get_terminal_size().columns
        gap = (
            "\nnext: "
            if len(told) + len(following) + 8 > wide and sys.stderr.isatty()
            else "  next: "
        )
        screen.line(told + (gap + following if following else ""))

    def _following(self) -> str:
        options = self._options
        if options.store is None or self._asked.session is None:
            return ""
        store, session = shlex.quote(clean(options.store)), shlex.quote(clean(self._asked.session))
        what = "--interactive" if options.interactive else '"..."'
        if self._session.unfinished:
            what = "--resume"
        return f"kairos agent {what} ... --store {store} --session {session}"

    def _give(self, result: AgentResult) -> None:
        """Write the answer, unless it was seen as it came."""
        answer = result.answer if result.answered else (result.output or None)
        if answer is None:
            return
        text = answer if isinstance(answer, str) else as_json(_plain(answer), self._stdout)
        if text.strip() != self._screen.streamed.strip():
            give(self._stdout, clean(text) if isinstance(answer, str) else text)

    def _event(self, event: AgentEvent) -> None:
        self._give_line(redact_sensitive(event_to_plain(event)))

    def _give_line(self, told: dict[str, Any]) -> None:
        give(self._stdout, as_json(told, self._stdout, indent=None))

    # --- a conversation

    def converse(self, task: str) -> int:
        """Do one task after another, until somebody has had enough."""
        from kairos.cli.agent_prompt import Prompt  # noqa: PLC0415 - for people only

        prompt = Prompt(self._stdout)
        tasks = 0
        if prompt.is_terminal:
            told = f"{self._asked.model}{self._between}session {clean(str(self._asked.session))}"
            self._screen.line(f"{told}{self._between}/exit or Ctrl-D leaves", "2")
        try:
            while True:
                said = task if task.strip() else prompt.read()
                task = ""
                if said is None:
                    break
                result, code = self._done(said)
                if code == TERMINATED:
                    return code
                tasks += 1
                if result is not None:
                    self._give(result)
        except Stop as stop:
            if tasks:
                stop.code = 1  # something was done
                self._leave(tasks)
            raise
        self._leave(tasks)
        return 0

    def _leave(self, tasks: int) -> None:
        """Say what a conversation took, and how it is gone on with."""
        session = self._session
        self._screen.line(totals(tasks, session.usage, session.cost, between=self._between))
        if self._options.store is not None:
            self._screen.line(f"next: {self._following()}")


class _Approving:
    """Asks on the terminal, while nothing else is shown there."""

    def __init__(self, screen: Screen, stream: TextIO) -> None:
        self._screen = screen
        self._ask = TerminalApproval(stream=stream)

    async def __call__(self, question: Question) -> Any:
        with self._screen.paused():
            return await self._ask(question)


def _plain(value: Any) -> Any:
    return json.loads(value.model_dump_json()) if hasattr(value, "model_dump_json") else value
