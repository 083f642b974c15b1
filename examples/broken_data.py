"""Broken data is stopped where it arises: four runs of one pipeline, three of them with a fault.

    python examples/broken_data.py

Records are cleaned one by one and then averaged.  A score of 95 where 0.95 was meant would make
the average 47.975, and nothing would have failed.  Here the contract of `clean` stops it, and
`aggregate` never runs on it.
"""

from __future__ import annotations

from typing import Any

from kairos import FailureAction, FailurePolicy, Schema, Step, StepContext, Workflow
from kairos import validators as v
from kairos.events import AttemptFailed

RECORD = Schema(
    {"name": str, "email": str, "score": float},
    validators={
        "name": [v.not_empty()],
        "email": [v.pattern(r"[\w.+-]+@[\w-]+\.[\w.]+")],
        "score": [v.range(min=0.0, max=1.0)],
    },
)
ADA = {"name": " Ada Lovelace", "email": "Ada@Example.org", "score": 0.95}
GRACE = {"name": "Grace Hopper ", "email": "grace@example.org", "score": 0.9}

SCENARIOS: dict[str, tuple[dict[str, Any], str | None]] = {
    "good data": ({}, None),
    "an email without a domain": ({"email": "grace-at-example.org"}, "email"),
    "a score of 95, not 0.95": ({"score": 95}, "score"),
    "a name of blanks": ({"name": "   "}, "name"),
}


def clean(ctx: StepContext) -> dict[str, Any]:
    record = ctx.item
    return {
        "name": record["name"].strip(),
        "email": record["email"].lower(),
        "score": record["score"],
    }


def aggregate(ctx: StepContext) -> dict[str, float]:
    records = ctx.inputs["clean"]
    mean = sum(record["score"] for record in records) / len(records)
    return {"records": len(records), "mean_score": mean}


workflow = Workflow(
    "broken-data",
    [
        Step(
            "clean",
            clean,
            foreach="records",
            read_keys=["records"],
            output_contract=RECORD,
            failure_policy=FailurePolicy(on_validation_fail=FailureAction.ABORT),
        ),
        Step("aggregate", aggregate, depends_on=["clean"], read_keys=["clean"]),
    ],
    inputs=["records"],
)


def main() -> None:
    for title, (fault, field) in SCENARIOS.items():
        result = workflow.run({"records": [ADA, {**GRACE, **fault}]})
        told = [f for e in result.events if isinstance(e, AttemptFailed) for f in e.faults]
        cleaned, aggregated = result.step_results.values()

        print(f"{title:27} {result.status:9}", end=" ")
        if field is None:
            print(aggregated.output)
            assert result.status == "complete"
            assert aggregated.output == {"records": 2, "mean_score": 0.925}
        else:
            print(f"record 2, {told[0].message}; aggregate {aggregated.status}")
            assert result.status == "failed"
            assert [each.field for each in told] == [field]
            assert (cleaned.status, aggregated.status) == ("failed_final", "skipped")
            assert "clean" not in result.final_state, "nothing of it was stored"


if __name__ == "__main__":
    main()
