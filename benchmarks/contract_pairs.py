"""The proof of contracts: how often it is right beside its one peer, and how long it takes."""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, Field, create_model

import peer
from figures import Row, Target
from kairos import Step, StepContext, Workflow
from kairos.contracts.contract import compile_contract
from kairos.verify import compare
from known_pairs import Pair, own_pairs, public_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from figures import Scale

__all__ = ["rows"]

_SAID = {"proved": "inside", "refuted": "outside", "coerced": "outside", "unknown": "silent"}
_VARIANTS = 100
_MODELS = 100
# put together at run time, where no checker can follow
_MAKE: Any = create_model
_LITERAL: Any = Literal
_LIST: Any = list


class _Tally(NamedTuple):
    """What became of the pairs of one set."""

    counts: Counter[str]
    times: list[float]

    @property
    def median(self) -> float:
        """Milliseconds for half of them."""
        return statistics.median(self.times)

    @property
    def p95(self) -> float:
        """Milliseconds for all but one in twenty."""
        return statistics.quantiles(self.times, n=20)[-1]


def _ours(pairs: Iterable[Pair]) -> Iterator[tuple[str, float]]:
    for pair in pairs:
        begun = time.process_time()
        try:
            answer = _SAID[compare(pair.producer, pair.consumer).answer]
        except Exception:  # noqa: BLE001 - counted as what it is
            answer = "crashed"
        yield answer, (time.process_time() - begun) * 1e3


def _tally(pairs: list[Pair], answers: Iterable[tuple[str, float]]) -> _Tally:
    counts: Counter[str] = Counter()
    times = []
    for pair, (answer, taken) in zip(pairs, answers, strict=True):
        right = "inside" if pair.is_inside else "outside"
        told = (
            answer if answer in {"silent", "crashed"} else "right" if answer == right else "wrong"
        )
        counts[told] += 1
        times.append(taken)
    return _Tally(counts, times)


def _rows_of_pairs(name: str, pairs: list[Pair]) -> Iterator[Row]:
    ours = _tally(pairs, _ours(pairs))
    theirs = _tally(pairs, peer.answers(pairs)) if peer.is_here() else None
    named = f"{len(pairs)} {name} pairs"
    for told in ("right", "wrong", "silent", "crashed"):
        target = Target(0.0) if told in {"wrong", "crashed"} else None
        floor = None if theirs is None else float(theirs.counts[told])
        yield Row(f"{name}_{told}", f"{named}: {told}", "pairs", ours.counts[told], floor, target)
    other = (None, None) if theirs is None else (theirs.median, theirs.p95)
    yield Row(f"{name}_median", f"{named}: median", "ms CPU", ours.median, other[0])
    yield Row(f"{name}_p95", f"{named}: p95", "ms CPU", ours.p95, other[1], Target(5.0))


def _variants(count: int, changed: int | None) -> Any:
    make, literal = _MAKE, _LITERAL
    made = [
        make(
            f"Variant{n}",
            kind=(literal[f"k{n}"], ...),
            size=(Annotated[int, Field(ge=0 if n != changed else -1)], ...),
            name=(str, "x"),
        )
        for n in range(count)
    ]
    union: Any = reduce(lambda one, other: one | other, made)
    return Annotated[union, Field(discriminator="kind")]


def _took(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return (time.process_time() - begun) * 1e3


def _rows_of_unions(scale: Scale) -> Iterator[Row]:
    count = scale.size(_VARIANTS)
    one, same = _variants(count, None), _variants(count, None)
    wider = _variants(count, count // 2)

    def asked(producer: Any, consumer: Any, answer: str) -> float:
        contracts = compile_contract(producer), compile_contract(consumer)
        _ = contracts[0].adapter, contracts[1].adapter
        for contract in contracts:
            contract.validate(None)  # it is built once, for the run as for the proof
        found = []
        taken = _took(lambda: found.append(compare(*contracts)))
        assert found[0].answer == answer, found
        return taken

    named, target = f"a union of {count} variants", Target(1_000.0)
    yield Row(
        "union_same", f"{named} in its equal", "ms CPU", asked(one, same, "proved"), None, target
    )
    taken = asked(wider, one, "refuted")
    yield Row("union_changed", f"{named}, one changed", "ms CPU", taken, None, target)


def _contracts(count: int) -> list[Any]:
    """Return models of eight fields, two of them models again, no two the same class."""
    make, several = _MAKE, _LIST
    found = []
    for n in range(count):
        inner = make(f"Part{n}", sku=(str, ...), count=(Annotated[int, Field(ge=0)], ...))
        found.append(
            make(
                f"Doc{n}",
                name=(Annotated[str, Field(min_length=1)], ...),
                id=(int, ...),
                score=(float | None, None),
                active=(bool, True),
                tags=(list[str], []),
                kind=(Literal["a", "b", "c"], "a"),
                first=(inner, ...),
                parts=(several[inner], []),
            )
        )
    return found


def _passing(kind: type[BaseModel]) -> Callable[[StepContext], Any]:
    def action(ctx: StepContext) -> Any:
        del ctx
        return kind

    return action


def _chain_verified(length: int) -> float:
    """Return the milliseconds that a workflow takes which nobody has looked at before."""
    models = _contracts(_MODELS)
    steps = []
    for place in range(length):
        made, before = models[place % _MODELS], f"s{place - 1}"
        read = {before: models[(place - 1) % _MODELS]} if place else {}
        contract = _MAKE(f"In{place}", **{name: (kind, ...) for name, kind in read.items()})
        steps.append(
            Step(
                f"s{place}",
                _passing(made),
                depends_on=[before] if place else [],
                input_contract=contract if read else None,
                output_contract=made,
            )
        )
    workflow = Workflow("chain", steps)
    begun = time.process_time()
    report = workflow.verify()
    taken = (time.process_time() - begun) * 1e3
    assert not [one for one in report.findings if one.code == "KRS102"], report.findings[:3]
    assert report.coverage.proved >= length - 1, report.coverage
    return taken


def _rows_of_workflows(scale: Scale) -> Iterator[Row]:
    length = scale.size(1_000)
    taken = min(_chain_verified(length) for _ in range(scale.rounds(3)))
    what = f"verify() of {length:,} steps, cold"
    yield Row("verify_chain", what, "ms CPU", taken, None, Target(2_000.0))
    yield from _rows_of_many_edges(scale)


def _rows_of_many_edges(scale: Scale) -> Iterator[Row]:
    """Time every model against every model, as a workflow with that many edges asks them."""
    count = max(scale.size(_MODELS * 100) // 100, 2)
    models = _contracts(count)
    readers = 100 if not scale.quick else count
    steps = [
        Step(f"p{n}", _passing(model), output_contract=model) for n, model in enumerate(models)
    ]
    names = [step.name for step in steps]
    for n in range(readers):
        fields: dict[str, Any] = {
            name: (models[(n + at) % count], ...) for at, name in enumerate(names)
        }
        contract = _MAKE(f"In{n}", **fields)
        steps.append(Step(f"c{n}", _passing(models[0]), depends_on=names, input_contract=contract))
    workflow = Workflow("many", steps)
    taken = _took(workflow.verify)
    what = f"verify() of {count * readers:,} edges between {count} models"
    yield Row("verify_edges", what, "ms CPU", taken, None, Target(5_000.0))


def rows(scale: Scale) -> Iterator[Row]:
    """Measure the pairs, the unions, and whole workflows."""
    if not peer.is_here():
        print("jsonsubschema is not installed (the extra `bench` has it): no peer", file=sys.stderr)
    own = own_pairs()
    yield from _rows_of_pairs("own", own[:: scale.rounds(1) if not scale.quick else 40])
    public = public_pairs()
    if public and not scale.quick:
        yield from _rows_of_pairs("public", public)
    yield from _rows_of_unions(scale)
    yield from _rows_of_workflows(scale)
