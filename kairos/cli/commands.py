"""The commands and their options; what they do is imported when one is called."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from kairos.cli.agent_command import agent_command, extensions_command
from kairos.cli.options import Json as _Json
from kairos.cli.options import NoColor as _NoColor
from kairos.cli.options import WorkflowsDir as _WorkflowsDir
from kairos.cli.options import leave as _exit

__all__ = ["app"]

app = typer.Typer(
    name="kairos",
    help="Run, check and inspect contracted workflows.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _Compatible(StrEnum):
    """Whom a change of contracts may not break."""

    backward = "backward"
    forward = "forward"
    full = "full"
    none = "none"


class _LogFormat(StrEnum):
    """How log events are written to standard error."""

    console = "console"
    jsonl = "jsonl"


_Module = Annotated[
    str,
    typer.Argument(
        metavar="MODULE", help="my_workflow.py, my_workflow.py:NAME or package.module[:NAME]"
    ),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from kairos.cli.version import print_version  # noqa: PLC0415 - as the others

        raise typer.Exit(print_version())


@app.callback()
def _kairos(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, hidden=True),
    ] = False,
) -> None:
    """Run, check and inspect contracted workflows."""


@app.command("run")
def _run(  # noqa: PLR0917 - typer calls it by name
    module: _Module,
    inputs: Annotated[
        str | None,
        typer.Option("-i", "--input", metavar="JSON", help="The inputs, as a JSON object."),
    ] = None,
    input_file: Annotated[
        str | None,
        typer.Option("--input-file", metavar="FILE", help="A file with the inputs; - for stdin."),
    ] = None,
    workflows_dir: _WorkflowsDir = None,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Tell of every start and every item.")
    ] = False,
    log_format: Annotated[
        _LogFormat | None,
        typer.Option("--log-format", help="Write log events instead of progress."),
    ] = None,
    log_dir: Annotated[
        str | None,
        typer.Option("--log-file", metavar="DIR", help="Keep a log of the run in this folder."),
    ] = None,
    as_json: _Json = False,
    no_color: _NoColor = False,
) -> None:
    """Run a workflow and print its result."""

    def work() -> int:
        from kairos.cli.run import RunOptions, run  # noqa: PLC0415 - for this command only

        form = None if log_format is None else log_format.value
        return run(
            RunOptions(
                module,
                inputs,
                input_file,
                workflows_dir,
                verbose,
                form,
                log_dir,
                as_json,
                no_color,
            )
        )

    _exit(work, as_json=as_json)


@app.command("validate")
def _validate(  # noqa: PLR0917 - typer calls it by name
    modules: Annotated[
        list[str],
        typer.Argument(metavar="MODULE", help="Modules, as for `run`, or folders of them."),
    ],
    workflows_dir: _WorkflowsDir = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail on warnings and notes too.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Show every note and every field, however many.")
    ] = False,
    explain: Annotated[
        str | None,
        typer.Option("--explain", metavar="STEP", help="Show what a step can read, and why."),
    ] = None,
    mermaid: Annotated[
        bool, typer.Option("--mermaid", help="Draw a Mermaid flowchart, faulty edges marked.")
    ] = False,
    sarif: Annotated[
        str | None,
        typer.Option("--sarif", metavar="FILE", help="Write SARIF 2.1.0; - for stdout."),
    ] = None,
    lock: Annotated[
        str | None,
        typer.Option("--lock", metavar="FILE", help="Compare the contracts with a lock."),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Accept what changed: write the lock anew.")
    ] = False,
    compatible: Annotated[
        _Compatible, typer.Option("--compat", help="What a change must stay compatible with.")
    ] = _Compatible.full,
    as_json: _Json = False,
    no_color: _NoColor = False,
) -> None:
    """Check workflows without running them."""

    def work() -> int:
        from kairos.cli.validate import ValidateOptions, validate  # noqa: PLC0415 - as above

        asked = None
        if lock is not None or update or compatible.value != "full":
            from kairos.cli.lock import asked_of_lock  # noqa: PLC0415 - it loads the proof

            asked = asked_of_lock(lock, compatible.value, update=update)
        return validate(
            ValidateOptions(
                tuple(modules),
                workflows_dir,
                strict=strict,
                as_json=as_json,
                no_color=no_color,
                every=every,
                sarif=sarif,
                mermaid=mermaid,
                explain=explain,
                lock=asked,
            )
        )

    _exit(work, as_json=as_json)


@app.command("inspect")
def _inspect(  # noqa: PLR0917 - typer calls it by name
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="A run's log, a folder of logs (the latest), or a workflow."
        ),
    ],
    failures: Annotated[
        bool, typer.Option("-f", "--failures", help="Show what failed, attempt by attempt.")
    ] = False,
    step: Annotated[
        str | None, typer.Option("-s", "--step", metavar="NAME", help="Show one step in full.")
    ] = None,
    workflows_dir: _WorkflowsDir = None,
    mermaid: Annotated[
        bool, typer.Option("--mermaid", help="Draw a workflow as a Mermaid flowchart.")
    ] = False,
    as_json: _Json = False,
    no_color: _NoColor = False,
) -> None:
    """Show what a run did, from its log; or the plan of a workflow."""

    def work() -> int:
        from kairos.cli.inspect import InspectOptions, inspect  # noqa: PLC0415 - as above

        return inspect(
            InspectOptions(target, failures, step, workflows_dir, mermaid, as_json, no_color)
        )

    _exit(work, as_json=as_json)


_mcp = typer.Typer(help="The Model Context Protocol.", no_args_is_help=True)
app.add_typer(_mcp, name="mcp")


@_mcp.callback()
def _of_mcp() -> None:
    """Offer workflows to clients of the Model Context Protocol."""


@_mcp.command("serve")
def _mcp_serve(
    modules: Annotated[
        list[str], typer.Argument(metavar="MODULE", help="Modules, as for `run`: MODULE[:NAME].")
    ],
    workflows_dir: _WorkflowsDir = None,
    http: Annotated[
        int | None,
        typer.Option(
            "--http",
            metavar="PORT",
            min=0,
            max=65_535,
            help="Serve on 127.0.0.1 instead of standard input and output; 0: any free port.",
        ),
    ] = None,
) -> None:
    """Serve workflows and tools as MCP tools."""

    def work() -> int:
        from kairos.cli.mcp import ServeOptions, serve  # noqa: PLC0415 - for this command only

        return serve(ServeOptions(tuple(modules), workflows_dir, http))

    _exit(work)


app.command("agent")(agent_command)
app.command("extensions")(extensions_command)


@app.command("version")
def _version(as_json: _Json = False) -> None:
    """Print the version."""
    from kairos.cli.version import print_version  # noqa: PLC0415 - as the others

    raise typer.Exit(print_version(as_json=as_json))
