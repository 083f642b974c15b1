"""Contract-first workflows: every step says what it reads and what it returns, and is held to it.

Everything public is here, and is imported when it is first used: `import kairos` costs next to
nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kairos._version import __version__

if TYPE_CHECKING:
    from kairos import validators as validators
    from kairos.budget import Budget as Budget
    from kairos.caching import Cache as Cache
    from kairos.contracts.labels import Sensitive as Sensitive
    from kairos.enums import AttemptStatus as AttemptStatus
    from kairos.enums import FailureAction as FailureAction
    from kairos.enums import FailureType as FailureType
    from kairos.enums import ForeachPolicy as ForeachPolicy
    from kairos.enums import LogLevel as LogLevel
    from kairos.enums import LogVerbosity as LogVerbosity
    from kairos.enums import PlanStrategy as PlanStrategy
    from kairos.enums import Severity as Severity
    from kairos.enums import StepStatus as StepStatus
    from kairos.enums import ValidationLayer as ValidationLayer
    from kairos.enums import WorkflowStatus as WorkflowStatus
    from kairos.exceptions import BudgetExceededError as BudgetExceededError
    from kairos.exceptions import ConfigError as ConfigError
    from kairos.exceptions import ExecutionError as ExecutionError
    from kairos.exceptions import KairosError as KairosError
    from kairos.exceptions import PlanError as PlanError
    from kairos.exceptions import PolicyError as PolicyError
    from kairos.exceptions import SecurityError as SecurityError
    from kairos.exceptions import SessionConflictError as SessionConflictError
    from kairos.exceptions import StateError as StateError
    from kairos.exceptions import StepTimeoutError as StepTimeoutError
    from kairos.exceptions import StoreError as StoreError
    from kairos.exceptions import ValidationError as ValidationError
    from kairos.exceptions import WorkerCrashError as WorkerCrashError
    from kairos.executor import ExecutorHooks as ExecutorHooks
    from kairos.executor import RunInterrupted as RunInterrupted
    from kairos.executor import StepExecutor as StepExecutor
    from kairos.failure import KAIROS_DEFAULTS as KAIROS_DEFAULTS
    from kairos.failure import FailureEvent as FailureEvent
    from kairos.failure import FailurePolicy as FailurePolicy
    from kairos.failure import FailureRouter as FailureRouter
    from kairos.failure import RecoveryDecision as RecoveryDecision
    from kairos.failure import ReplanRequest as ReplanRequest
    from kairos.logger import CallbackSink as CallbackSink
    from kairos.logger import ConsoleSink as ConsoleSink
    from kairos.logger import FileSink as FileSink
    from kairos.logger import JSONLinesSink as JSONLinesSink
    from kairos.logger import LogEvent as LogEvent
    from kairos.logger import RunLog as RunLog
    from kairos.logger import RunLogger as RunLogger
    from kairos.logger import RunSummary as RunSummary
    from kairos.plan import TaskGraph as TaskGraph
    from kairos.references import Ref as Ref
    from kairos.results import AttemptRecord as AttemptRecord
    from kairos.results import ItemResult as ItemResult
    from kairos.results import StepResult as StepResult
    from kairos.run import Run as Run
    from kairos.schema import ContractPair as ContractPair
    from kairos.schema import FieldDefinition as FieldDefinition
    from kairos.schema import FieldValidationError as FieldValidationError
    from kairos.schema import Schema as Schema
    from kairos.schema import SchemaRegistry as SchemaRegistry
    from kairos.schema import ValidationResult as ValidationResult
    from kairos.state import ScopedStateProxy as ScopedStateProxy
    from kairos.state import StateSnapshot as StateSnapshot
    from kairos.state import StateStore as StateStore
    from kairos.step import SKIP as SKIP
    from kairos.step import Context as Context
    from kairos.step import From as From
    from kairos.step import Skip as Skip
    from kairos.step import Step as Step
    from kairos.step import StepConfig as StepConfig
    from kairos.step import StepContext as StepContext
    from kairos.step import step as step
    from kairos.validators import CompositeValidator as CompositeValidator
    from kairos.validators import LLMValidator as LLMValidator
    from kairos.validators import StructuralValidator as StructuralValidator
    from kairos.verify import Finding as Finding
    from kairos.wiring import Wiring as Wiring
    from kairos.workflow import Workflow as Workflow
    from kairos.workflow_result import WorkflowResult as WorkflowResult

_HOME = {
    "budget": ("Budget",),
    "caching": ("Cache",),
    "contracts.labels": ("Sensitive",),
    "enums": (
        "AttemptStatus",
        "FailureAction",
        "FailureType",
        "ForeachPolicy",
        "LogLevel",
        "LogVerbosity",
        "PlanStrategy",
        "Severity",
        "StepStatus",
        "ValidationLayer",
        "WorkflowStatus",
    ),
    "exceptions": (
        "BudgetExceededError",
        "ConfigError",
        "ExecutionError",
        "KairosError",
        "PlanError",
        "PolicyError",
        "SecurityError",
        "SessionConflictError",
        "StateError",
        "StepTimeoutError",
        "StoreError",
        "ValidationError",
        "WorkerCrashError",
    ),
    "executor": ("ExecutorHooks", "RunInterrupted", "StepExecutor"),
    "failure": (
        "KAIROS_DEFAULTS",
        "FailureEvent",
        "FailurePolicy",
        "FailureRouter",
        "RecoveryDecision",
        "ReplanRequest",
    ),
    "logger": (
        "CallbackSink",
        "ConsoleSink",
        "FileSink",
        "JSONLinesSink",
        "LogEvent",
        "RunLog",
        "RunLogger",
        "RunSummary",
    ),
    "plan": ("TaskGraph",),
    "references": ("Ref",),
    "results": ("AttemptRecord", "ItemResult", "StepResult"),
    "run": ("Run",),
    "schema": (
        "ContractPair",
        "FieldDefinition",
        "FieldValidationError",
        "Schema",
        "SchemaRegistry",
        "ValidationResult",
    ),
    "state": ("ScopedStateProxy", "StateSnapshot", "StateStore"),
    "step": ("SKIP", "Context", "From", "Skip", "Step", "StepConfig", "StepContext", "step"),
    "validators": ("CompositeValidator", "LLMValidator", "StructuralValidator"),
    "verify": ("Finding",),
    "wiring": ("Wiring",),
    "workflow": ("Workflow",),
    "workflow_result": ("WorkflowResult",),
}
_MODULE_OF = {name: f"kairos.{module}" for module, names in _HOME.items() for name in names}

__all__ = [
    "KAIROS_DEFAULTS",
    "SKIP",
    "AttemptRecord",
    "AttemptStatus",
    "Budget",
    "BudgetExceededError",
    "Cache",
    "CallbackSink",
    "CompositeValidator",
    "ConfigError",
    "ConsoleSink",
    "Context",
    "ContractPair",
    "ExecutionError",
    "ExecutorHooks",
    "FailureAction",
    "FailureEvent",
    "FailurePolicy",
    "FailureRouter",
    "FailureType",
    "FieldDefinition",
    "FieldValidationError",
    "FileSink",
    "Finding",
    "ForeachPolicy",
    "From",
    "ItemResult",
    "JSONLinesSink",
    "KairosError",
    "LLMValidator",
    "LogEvent",
    "LogLevel",
    "LogVerbosity",
    "PlanError",
    "PlanStrategy",
    "PolicyError",
    "RecoveryDecision",
    "Ref",
    "ReplanRequest",
    "Run",
    "RunInterrupted",
    "RunLog",
    "RunLogger",
    "RunSummary",
    "Schema",
    "SchemaRegistry",
    "ScopedStateProxy",
    "SecurityError",
    "Sensitive",
    "SessionConflictError",
    "Severity",
    "Skip",
    "StateError",
    "StateSnapshot",
    "StateStore",
    "Step",
    "StepConfig",
    "StepContext",
    "StepExecutor",
    "StepResult",
    "StepStatus",
    "StepTimeoutError",
    "StoreError",
    "StructuralValidator",
    "TaskGraph",
    "ValidationError",
    "ValidationLayer",
    "ValidationResult",
    "Wiring",
    "WorkerCrashError",
    "Workflow",
    "WorkflowResult",
    "WorkflowStatus",
    "__version__",
    "step",
    "validators",
]


def __getattr__(name: str) -> Any:
    if name == "validators":
        return importlib.import_module("kairos.validators")
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'kairos' has no attribute '{name}'")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
