"""A run log: four sinks, three verbosities, masked secrets, and the record afterwards.

No key and no network are needed.  Run it with `python examples/run_logger.py`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from kairos.failure import FailurePolicy
from kairos.logger import (
    CallbackSink,
    ConsoleSink,
    FileSink,
    JSONLinesSink,
    LogEvent,
    LogLevel,
    LogVerbosity,
    RunLog,
    RunLogger,
)
from kairos.schema import Schema
from kairos.step import Step, StepContext
from kairos.workflow import Workflow

# Put together here so that no scanner takes an invented key for a leaked one.
API_KEY = "sk-" + "example-" + "0123456789abcdef"
PATIENT = "Ada Example"


def fetch(ctx: StepContext) -> dict[str, Any]:
    """Fetch the notes; the first attempt fails, with the key in its message."""
    if ctx.attempt == 1:
        message = f"503 from https://notes.example/?api_key={ctx.inputs['api_key']}"
        raise ConnectionError(message)
    return {"patient_name": PATIENT, "notes": ["slept well", "no fever"], "api_key": API_KEY}


def count(ctx: StepContext) -> dict[str, int]:
    return {"notes": len(ctx.inputs["fetch"]["notes"])}


def report(ctx: StepContext) -> str:
    return f"{ctx.inputs['count']['notes']} notes\nall is well"


def run_with(logger: RunLogger) -> RunLog:
    workflow = Workflow(
        "ward-round",
        [
            Step("fetch", fetch, failure_policy=FailurePolicy(max_retries=1)),
            Step("count", count, depends_on=["fetch"], output_contract=Schema({"notes": int})),
            Step("report", report, depends_on=["count"]),
        ],
        hooks=[logger],
    )
    result = workflow.run({"api_key": API_KEY, "ward": "north"})
    for warning in result.warnings:
        print("  warning:", warning)
    return logger.get_log()


def four_sinks(folder: Path) -> None:
    print("1. One run, four sinks; the console shows it as it happens\n")
    seen: list[LogEvent] = []
    logger = RunLogger(
        sinks=[
            ConsoleSink(sys.stdout),
            JSONLinesSink(folder / "runs" / "output.jsonl"),
            FileSink(folder / "runs" / "output.log"),
            CallbackSink(seen.append),
        ],
        verbosity=LogVerbosity.NORMAL,
    )
    log = run_with(logger)

    lines = [json.loads(line) for line in (folder / "runs" / "output.jsonl").open("rb")]
    text = (folder / "runs" / "output.log").read_text("utf-8").splitlines()
    print(f"\n   JSON lines {len(lines)}, text lines {len(text)}, calls {len(seen)}")
    assert len(lines) == len(text) == len(seen) == len(log.events)
    assert lines == [event.to_dict() for event in log.events]


def three_verbosities() -> None:
    print("\n2. The same run at each verbosity")
    sizes = {}
    for level in (LogLevel.MINIMAL, LogLevel.NORMAL, LogLevel.VERBOSE):
        log = run_with(RunLogger(verbosity=level))
        sizes[level] = len(log.events)
        print(f"   {level.name:8} {len(log.events):2} events:", *sorted(kinds(log)))
    assert sizes[LogLevel.MINIMAL] < sizes[LogLevel.NORMAL] < sizes[LogLevel.VERBOSE]


def masked_secrets() -> None:
    print("\n3. Values are logged at VERBOSE only, and masked")
    log = run_with(RunLogger(verbosity=LogVerbosity.VERBOSE, sensitive_keys=["patient_name"]))
    (retry,) = (event for event in log.events if event.event_type == "step_retry")
    fetched = next(event for event in log.events if event.event_type == "step_complete")
    print("   inputs: ", log.events[0].data["inputs"])
    print("   retry:  ", retry.data["message"])
    print("   output: ", fetched.data["output"])
    everything = json.dumps(log.to_dict())
    assert fetched.data["output"]["api_key"] == "[REDACTED]"
    assert API_KEY not in everything
    assert PATIENT not in everything


def one_file_a_run(folder: Path) -> None:
    print("\n4. A folder with one file for each run")
    logger = RunLogger([JSONLinesSink(base_dir=folder / "each")])
    runs = [run_with(logger).run_id for _ in range(3)]
    files = sorted(path.stem for path in (folder / "each").iterdir())
    print(f"   {len(files)} runs, {len(files)} files")
    assert files == sorted(runs)


def a_sink_that_fails() -> None:
    print("\n5. A sink that fails stops nothing, and is not kept quiet about")

    def broken(event: LogEvent) -> None:
        message = f"cannot send {event.event_type}"
        raise OSError(message)

    logger = RunLogger([CallbackSink(broken)])
    log = run_with(logger)
    assert log.status == "complete"
    assert "OSError" in logger.warnings[0]


def the_record() -> None:
    print("\n6. The record of a run")
    log = run_with(RunLogger())
    summary = log.summary
    print(f"   {log.workflow_name}: {log.status}, {summary.completed_steps} steps")
    print(f"   retries {summary.total_retries}, validations {summary.validations_passed}")
    for step, after in log.initial_plan.items():
        print(f"   {step:8} after {', '.join(after) or 'nothing'}")
    assert log.status == "complete"
    assert (summary.total_steps, summary.completed_steps, summary.total_retries) == (3, 3, 1)
    assert log.initial_plan == {"fetch": (), "count": ("fetch",), "report": ("count",)}


def kinds(log: RunLog) -> set[str]:
    return {event.event_type for event in log.events}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        four_sinks(folder)
        three_verbosities()
        masked_secrets()
        one_file_a_run(folder)
    a_sink_that_fails()
    the_record()
    print("\nAll of it held.")


if __name__ == "__main__":
    main()
