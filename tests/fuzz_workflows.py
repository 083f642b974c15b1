"""Random small workflows: whatever `verify` proves of an edge holds in every run of it.

    python tests/fuzz_workflows.py 2000 --seed 7 --runs 20

The producers return random values of random contracts, or SKIP, or raise, as they may; some run
over a list, some have a when=, some a policy that skips.  Their readers hold what they are handed
to contracts that are like the producers', through a parameter, an item, an input contract or a
when=.  A reader that refuses what it is handed on an edge that is proved makes the proof unsound.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import PydanticUserError, create_model

from fuzz_models import pair
from kairos import SKIP, FailureAction, FailurePolicy, FailureType, Step, Workflow
from kairos.events import AttemptFailed, StepFailed
from kairos.exceptions import KairosError

if TYPE_CHECKING:
    from kairos import StepContext, WorkflowResult
    from kairos.verify.edges.edge import Proof
    from random_types import Made

__all__ = ["Count", "fault_in", "run"]

_SKIP, _ABORT = FailureAction.SKIP, FailureAction.ABORT
_SKIPS = FailurePolicy(on_execution_fail=_SKIP, on_validation_fail=_SKIP)
_STOPS = FailurePolicy(on_execution_fail=_ABORT, on_validation_fail=_ABORT)


class Count(NamedTuple):
    """What a run came to; `faults` are the edges that were proved and broken."""

    answers: Counter[str]
    faults: list[str]
    passed: int


class _ChanceError(RuntimeError):
    """What a producer raises, once in a while."""


class _Parts(NamedTuple):
    steps: list[Step]
    fields: dict[str, Any]  # of the workflow's inputs
    draws: dict[str, Callable[[Random], Any]]


def made(seed: int, luck: Random) -> _Parts | None:
    """Return the steps of a random workflow; None where no types come of the seed.

    `luck` is what the producers draw their values with when they run.
    """
    rng = Random(seed)  # noqa: S311 - chance, not secrecy
    parts = _Parts([], {"rows": (list[int], ...)}, {"rows": lambda rng: [1] * rng.randint(0, 3)})
    seen: list[tuple[str, Any]] = []
    for nth in range(rng.randint(1, 3)):
        two = pair(rng.getrandbits(32))
        if two is None:
            return None
        name = f"p{nth}"
        if rng.random() < 0.2:
            parts.fields[name] = (two.made.kind, ...)
            parts.draws[name] = two.made.draw
        else:
            parts.steps.append(_producer(name, two.made, rng, luck))
        seen.append((name, two.takes.declared))
        parts.steps.append(_reader(f"r{nth}", name, two.takes.declared, rng))
    parts.steps.append(_gatherer(seen, rng))
    return parts


def _producer(name: str, contract: Made, rng: Random, luck: Random) -> Step:
    skips, raises = rng.random() < 0.3, rng.random() < 0.3

    def returns_skip(ctx: StepContext) -> Any:
        return SKIP if luck.random() < 0.3 else returns(ctx)

    def returns(ctx: StepContext) -> Any:
        if raises and luck.random() < 0.3:
            raise _ChanceError
        return contract.draw(luck)

    options: dict[str, Any] = {"read_keys": [], "failure_policy": rng.choice([_SKIPS, _STOPS])}
    if rng.random() < 0.3:
        options |= {"foreach": "rows", "read_keys": ["rows"]}
        options["foreach_policy"] = rng.choice(["require_all", "allow_partial"])
    if rng.random() < 0.2:
        options["when"] = lambda ctx: luck.random() < 0.7
    return Step(name, returns_skip if skips else returns, output_contract=contract.kind, **options)


def _reader(name: str, key: str, contract: Any, rng: Random) -> Step:
    through = rng.choice(["parameter", "optional", "item", "when", "list"])
    kind: Any = {"optional": contract | None if isinstance(contract, type) else contract}.get(
        through, list[contract] if through == "list" else contract
    )
    scope: dict[str, Any] = {}
    names = "item" if through == "item" else f"{key}=None" if through == "optional" else key
    exec(f"def read({names}): return None", scope)  # noqa: S102 - a parameter of any name
    read: Any = scope["read"]
    read.__annotations__ = {"item" if through == "item" else key: kind}
    if through == "when":
        return Step(name, _nothing, read_keys=[key], when=read, failure_policy=_STOPS)
    options: dict[str, Any] = {"foreach": key} if through == "item" else {}
    return Step(name, read, failure_policy=_STOPS, **options)


def _nothing(ctx: StepContext) -> None:
    return None


def _gatherer(seen: list[tuple[str, Any]], rng: Random) -> Step:
    fields: dict[str, Any] = {
        name: (kind, ...) if rng.random() < 0.7 else (kind, None) for name, kind in seen
    }
    contract = create_model("Seen", **fields)
    return Step("gathers", _nothing, read_keys=[name for name, _ in seen],
                input_contract=contract, failure_policy=_STOPS)  # fmt: skip


def workflow_of(parts: _Parts) -> Workflow:
    """Put the steps together."""
    names = {step.name for step in parts.steps}
    for step in parts.steps:
        needs = [key for key in step.read_keys or () if key in names]
        step.depends_on = tuple(dict.fromkeys((*step.depends_on, *needs)))
    inputs = create_model("Given", **parts.fields)
    return Workflow("w", parts.steps, inputs=inputs, elide=False)


def fault_in(seed: int, runs: int) -> tuple[str | None, Counter[str], int]:
    """Return what was proved and did not hold, or None; all answers; how many runs there were."""
    luck = Random(seed + 1)  # noqa: S311 - chance, not secrecy
    try:
        parts = made(seed, luck)
        workflow = None if parts is None else workflow_of(parts)
    except (KairosError, TypeError, PydanticUserError):  # two parts that make no whole
        return None, Counter(), 0
    if parts is None or workflow is None:
        return None, Counter(), 0
    proofs = workflow.verify().proofs
    answers = Counter[str](proof.verdict.answer for proof in proofs)
    done = 0
    for _ in range(runs):
        try:
            given = {name: draw(luck) for name, draw in parts.draws.items()}
            result = workflow.run(given)
        except KairosError:  # inputs that their contract refuses
            continue
        done += 1
        broken = next((each for each in proofs if _is_broken(each, workflow, result)), None)
        if broken is not None:
            return f"seed {seed}: {broken}", answers, done
    return None, answers, done


def _is_broken(proof: Proof, workflow: Workflow, result: WorkflowResult) -> bool:
    """Say whether the step refused what it was handed; each reader has one edge and no output."""
    if proof.verdict.answer != "proved" or proof.assuming:
        return False
    name = workflow.graph.steps[proof.edge.step].name
    if name in _producers(workflow):  # which may break contracts of their own
        return False
    for event in result.events:
        if isinstance(event, AttemptFailed) and event.step == name:
            if event.failure is FailureType.VALIDATION:
                return True
        elif isinstance(event, StepFailed) and event.step == name and "it holds" in event.message:
            return True  # no list to run over
    return False


def _producers(workflow: Workflow) -> set[str]:
    return {step.name for step in workflow.graph.steps if step.output_contract is not None}


def run(count: int, seed: int, runs: int) -> Count:
    """Look at so many workflows."""
    found = Count(Counter(), [], 0)
    rng = Random(seed)  # noqa: S311 - chance, not secrecy
    for _ in range(count):
        fault, answers, done = fault_in(rng.getrandbits(32), runs)
        found.answers.update(answers)
        found = found._replace(passed=found.passed + done)
        if fault is not None:
            found.faults.append(fault)
    return found


def main() -> int:
    """Run from the command line; 1 where a proof did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    found = run(asked.count, asked.seed, asked.runs)
    told = [f"{dict(found.answers)}, {found.passed} runs", *found.faults]
    sys.stdout.write("\n".join(told) + "\n")
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
