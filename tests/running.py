"""Running one step, as the tests of workflows do over and over."""

from __future__ import annotations

from typing import Any

from kairos import FailureAction, FailurePolicy, Step, Workflow, WorkflowResult

NO_RETRY = FailurePolicy(max_retries=0)
ALONE = FailurePolicy(on_execution_fail=FailureAction.SKIP, on_validation_fail=FailureAction.SKIP)


def run_one(action: Any, /, inputs: dict[str, Any] | None = None, **options: Any) -> WorkflowResult:
    options.setdefault("failure_policy", NO_RETRY)
    return Workflow("one", [Step("only", action, **options)]).run(inputs)


def one(result: WorkflowResult) -> Any:
    return result.step_results["only"]
