"""Chains whose every output is held to a contract: eight fields and twenty nested records."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter
from typing_extensions import TypedDict

from chains import typed_function
from figures import Row, Target, interleaved
from kairos import Schema, Step, StepContext, Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from figures import Scale

__all__ = ["rows"]

_RECORDS = 20


class Record(BaseModel):
    """One of the nested records."""

    sku: str
    qty: int
    price: float
    tag: str | None = None
    ok: bool = True


class Doc(BaseModel):
    """Seven plain fields, and the records as the eighth."""

    name: str
    id: int
    score: float | None
    active: bool
    ratio: float
    tags: list[str]
    note: str | None
    items: list[Record]


class RecordDict(TypedDict):
    """A record that stays a dict."""

    sku: str
    qty: int
    price: float
    tag: str | None
    ok: bool


class DocDict(TypedDict):
    """The document as a dict, which is what its JSON says."""

    name: str
    id: int
    score: float | None
    active: bool
    ratio: float
    tags: list[str]
    note: str | None
    items: list[RecordDict]


_RECORD_SCHEMA: Any = Schema(
    {"sku": str, "qty": int, "price": float, "tag": str | None, "ok": bool}
)
_SCHEMA = Schema(
    {
        "name": str,
        "id": int,
        "score": float | None,
        "active": bool,
        "ratio": float,
        "tags": list[str],
        "note": str | None,
        "items": list[_RECORD_SCHEMA],
    }
)


def _document() -> dict[str, Any]:
    return {
        "name": "n",
        "id": 7,
        "score": 0.5,
        "active": True,
        "ratio": 1.5,
        "tags": ["a", "b"],
        "note": None,
        "items": [
            {"sku": f"ABC-{place}", "qty": place, "price": 1.5 + place, "tag": None, "ok": True}
            for place in range(_RECORDS)
        ],
    }


def _returning(document: dict[str, Any]) -> Callable[[StepContext], dict[str, Any]]:
    def action(ctx: StepContext) -> dict[str, Any]:
        del ctx
        return document

    return action


def _passing(before: str) -> Callable[[StepContext], dict[str, Any]]:
    def action(ctx: StepContext) -> dict[str, Any]:
        document: dict[str, Any] = ctx.inputs[before]
        return document

    return action


def _chain(
    length: int,
    contract: Any,
    *,
    reads: bool = False,
    checks: bool = False,
    elide: bool = True,
) -> Workflow:
    document = _document()
    steps = []
    for place in range(length):
        before = f"s{place - 1}"
        steps.append(
            Step(
                f"s{place}",
                _passing(before) if reads and place else _returning(document),
                depends_on=[before] if place else [],
                input_contract=Schema({before: contract}) if checks and place else None,
                output_contract=contract,
            )
        )
    return Workflow("contracts", steps, elide=elide)


def _typed_chain(length: int, kind: Any, *, elide: bool = True) -> Workflow:
    steps = [Step("s0", _returning(_document()), output_contract=kind)]
    for place in range(1, length):
        name, before = f"s{place}", f"s{place - 1}"
        source = f"def {name}({before}: Doc) -> Doc:\n    return {before}\n"
        steps.append(Step(name, typed_function(name, source, Doc=kind)))
    return Workflow("typed contracts", steps, elide=elide)


def _timed(workflow: Workflow) -> float:
    length = len(workflow.steps)
    begun = time.process_time()
    result = workflow.run()
    taken = time.process_time() - begun
    assert len(result.output["items"]) == _RECORDS, result.error
    return taken / length * 1e6


def _timed_again(workflow: Workflow) -> float:
    """Time a further run: what is proved of a workflow is proved at its first."""
    _timed(workflow)
    gc.collect()
    return _timed(workflow)


def _pydantic_alone(length: int) -> float:
    adapter, document = TypeAdapter(Doc), _document()
    raw = b""
    begun = time.process_time()
    for _ in range(length):
        raw = adapter.dump_json(adapter.validate_python(document))
    taken = time.process_time() - begun
    assert len(adapter.validate_json(raw).items) == _RECORDS
    return taken / length * 1e6


def rows(scale: Scale) -> Iterator[Row]:
    """Measure the chain under a model, under a Schema, and as typed steps."""
    length = scale.size(500)
    found = interleaved(
        {
            "model": lambda: _timed(_chain(length, Doc)),
            "floor": lambda: _pydantic_alone(length),
            "schema": lambda: _timed(_chain(length, _SCHEMA)),
            "reading": lambda: _timed(_chain(length, Doc, reads=True)),
            "typed": lambda: _timed(_typed_chain(length, Doc)),
            "free": lambda: _timed_again(_chain(length, _SCHEMA)),
            "elided": lambda: _timed_again(_chain(length, _SCHEMA, checks=True)),
            "checked": lambda: _timed_again(_chain(length, _SCHEMA, checks=True, elide=False)),
            "dicts": lambda: _timed_again(_typed_chain(length, DocDict)),
            "parsed": lambda: _timed_again(_typed_chain(length, DocDict, elide=False)),
        },
        scale.rounds(15),
    )
    unit, floor, target = "µs CPU a step", found["floor"], Target(1.5, "ratio")
    named = f"contract chain of {length:,}"
    yield Row("contract_model", f"{named}, model", unit, found["model"], floor, target)
    yield Row("contract_schema", f"{named}, Schema", unit, found["schema"], floor, target)
    yield Row("contract_reading", f"{named}, model, reading", unit, found["reading"], floor)
    yield Row("contract_typed", f"{named}, typed, reading", unit, found["typed"], floor)
    free, inputs = found["free"], f"{named}, inputs, run again"
    dicts = f"{named}, TypedDict, run again"
    yield Row("inputs_elided", inputs, unit, found["elided"], free, Target(1.05, "ratio"))
    yield Row("inputs_checked", f"{inputs}, elide=False", unit, found["checked"], free)
    yield Row("dicts_elided", dicts, unit, found["dicts"], floor)
    yield Row("dicts_parsed", f"{dicts}, elide=False", unit, found["parsed"], floor)
