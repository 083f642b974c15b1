"""The commands `agent` and `extensions` and their options; the work is imported when it is done."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from kairos.cli.options import Json, NoColor, WorkflowsDir, leave

__all__ = ["agent_command", "extensions_command"]


class _Mode(StrEnum):
    """When an agent ends, and who watches."""

    task = "task"
    autonomous = "autonomous"
    supervised = "supervised"


def agent_command(  # noqa: PLR0917 - typer calls it by name
    task: Annotated[
        list[str] | None,
        typer.Argument(metavar="TASK", help="What to do, in one part or more; - for stdin."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME[:MODEL]", help="claude, openai:gpt-5.4-mini, ..."),
    ] = None,
    tools: Annotated[
        list[str] | None,
        typer.Option("--tools", metavar="NAMES", help="module:name, file.py:name or extensions."),
    ] = None,
    mcp: Annotated[
        list[str] | None,
        typer.Option(
            "--mcp", metavar="[NAME=]COMMAND", help="Use an MCP server's tools; or a URL."
        ),
    ] = None,
    mcp_env: Annotated[
        list[str] | None,
        typer.Option("--mcp-env", metavar="VARIABLES", help="What such a program may see."),
    ] = None,
    guards: Annotated[
        list[str] | None,
        typer.Option("--guards", metavar="NAMES", help="Guards of calls, named as tools are."),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="GLOB", help="Let only such tools be called."),
    ] = None,
    instructions: Annotated[
        str, typer.Option("--instructions", metavar="TEXT", help="What it is; @FILE reads it.")
    ] = "",
    output_contract: Annotated[
        str | None,
        typer.Option("--output-contract", metavar="MODULE:MODEL", help="What the answer must be."),
    ] = None,
    mode: Annotated[
        _Mode, typer.Option("--mode", help="When it ends, and who watches.")
    ] = _Mode.task,
    interactive: Annotated[
        bool, typer.Option("-I", "--interactive", help="Go on talking after the task.")
    ] = False,
    session: Annotated[
        str | None, typer.Option("--session", metavar="ID", help="Begin or go on with a session.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", metavar="NAME[:PLACE]", help="Where it is kept: sqlite:PATH."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the session's unfinished task.")
    ] = False,
    max_usd: Annotated[float | None, typer.Option("--max-usd", metavar="USD")] = None,
    max_iterations: Annotated[int, typer.Option("--max-iterations", metavar="N")] = 25,
    max_tool_calls: Annotated[int | None, typer.Option("--max-tool-calls", metavar="N")] = None,
    max_seconds: Annotated[float | None, typer.Option("--max-seconds", metavar="S")] = None,
    max_total_tokens: Annotated[
        int | None, typer.Option("--max-total-tokens", metavar="N", help="Of the whole task.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="N", help="Of one answer.")
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Deny every call of a tool that does not only read.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Describe such calls instead of making them.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Make such calls without asking anybody.")
    ] = False,
    approval_timeout: Annotated[
        float | None,
        typer.Option("--approval-timeout", metavar="S", help="How long to wait for a yes: 300."),
    ] = None,
    reasoning: Annotated[
        bool | None, typer.Option("--reasoning/--no-reasoning", help="Show what the model thinks.")
    ] = None,
    workflows_dir: WorkflowsDir = None,
    events: Annotated[
        bool, typer.Option("--events", help="Print each event as a line of JSON, the result last.")
    ] = False,
    as_json: Json = False,
    no_color: NoColor = False,
) -> None:
    """Have a model with tools do a task, or talk with it.

    Calls of tools that do not only read are asked for on the terminal, and denied without one.
    """

    def work() -> int:
        from kairos.cli.agent import AgentOptions, run_agent  # noqa: PLC0415 - as above

        return run_agent(
            AgentOptions(
                tuple(task or ()),
                model,
                tuple(tools or ()),
                tuple(mcp or ()),
                tuple(mcp_env or ()),
                tuple(guards or ()),
                tuple(allow or ()),
                instructions,
                output_contract,
                mode.value,
                interactive,
                session,
                store,
                resume,
                max_usd,
                max_iterations,
                max_tool_calls,
                max_seconds,
                max_total_tokens,
                max_tokens,
                read_only,
                dry_run,
                yes,
                approval_timeout,
                reasoning,
                workflows_dir,
                events,
                as_json,
                no_color,
            )
        )

    leave(work, as_json=as_json or events)


def extensions_command(
    group: Annotated[
        str | None,
        typer.Argument(metavar="GROUP", help="adapters, tools, guards or stores; all of them."),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="GLOB", help="Mark what such an allow list would load."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List what installed packages offer; nothing of it is loaded."""

    def work() -> int:
        from kairos.cli.extensions import list_extensions  # noqa: PLC0415 - as above

        return list_extensions(group, tuple(allow or ()), document=as_json)

    leave(work, as_json=as_json)
