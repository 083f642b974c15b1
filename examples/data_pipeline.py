"""A feed of earthquakes: contracts on every step, one foreach, three failure policies, no leak.

    python examples/data_pipeline.py

    download (retried) ── clean (each row; a bad row is skipped) ─┬─ by_decade ─┐
                                                                  └─ energy ────┴─ report

The rows are the six largest earthquakes on record, as the United States Geological Survey lists
them, and three of the kinds of row that every feed has sooner or later.  The feed wants a key, and
answers with a session token: neither is ever shown.
"""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field

from kairos import FailureAction, FailurePolicy, StepContext, Workflow, step
from kairos.events import AttemptFailed

FEED = """\
day,place,latitude,longitude,depth_km,magnitude
1960-05-22,"Valdivia, Chile",-38.143,-73.407,25.0,9.5
1964-03-28,"Southern Alaska",60.908,-147.339,25.0,9.2
2004-12-26,"Off western Sumatra",3.295,95.982,30.0,9.1
2011-03-11,"Off Tohoku, Japan",38.297,142.373,29.0,9.1
1952-11-04,"Off Kamchatka",52.623,159.779,21.6,9.0
2010-02-27,"Maule, Chile",-36.122,-72.898,22.9,8.8
2012-04-11,"Off western Sumatra",2.327,93.063,20.0,86
2007-09-12,"Southern Sumatra",-4.438,101.367,n/a,8.4
2005-02-29,"Northern Sumatra",2.085,97.108,30.0,8.6
"""
# Put together here so that no scanner takes an invented key for a leaked one.
API_KEY = "key-" + "0123456789abcdef"
SESSION = "session-" + "fedcba9876543210"


class Feed(BaseModel):
    """What the service answers: rows as they come, all text, and a secret of its own."""

    rows: list[dict[str, str]] = Field(min_length=1)
    session_token: str


class Quake(BaseModel):
    """A row that can be computed with."""

    day: date
    place: str = Field(min_length=1)
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    depth_km: float = Field(ge=0, le=800)
    magnitude: float = Field(ge=-1, le=10)


class Report(BaseModel):
    """What the pipeline is for."""

    quakes: int
    per_decade: dict[str, int]
    joules: Annotated[float, Field(gt=0)]


class FeedDownError(Exception):
    """The feed did not answer."""


PATIENT = FailurePolicy(max_retries=3, retry_delay=0.01, retry_on=FeedDownError)
TOLERANT = FailurePolicy(
    on_execution_fail=FailureAction.SKIP, on_validation_fail=FailureAction.SKIP
)


@step(failure_policy=PATIENT)
def download(api_key: str, ctx: StepContext) -> Feed:
    """Stand for a service that is down at first, and puts the key into its error message."""
    if ctx.attempt == 1:
        message = f"503 from https://quakes.example/feed?api_key={api_key}"
        raise FeedDownError(message)
    return Feed(rows=list(csv.DictReader(io.StringIO(FEED))), session_token=SESSION)


@step
def rows(download: Feed) -> list[dict[str, str]]:
    return download.rows


# kairos: allow KRS102: a feed's rows are anything at all, and those that are no Quake are skipped
@step(foreach="rows", parallel=True, failure_policy=TOLERANT)
def clean(item: Quake) -> Quake:
    """Get each row parsed as a Quake, or not at all: a bad row never reaches this line."""
    return item.model_copy(update={"place": item.place.removeprefix("Off ")})


@step
def by_decade(clean: list[Quake | None]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for quake in sorted((q for q in clean if q), key=lambda q: q.day):
        decade = f"{quake.day.year // 10 * 10}s"
        counts[decade] = counts.get(decade, 0) + 1
    return counts


@step
def energy(clean: list[Quake | None]) -> float:
    """Return the energy released, in joules (Gutenberg and Richter)."""
    return math.fsum(10 ** (4.8 + 1.5 * quake.magnitude) for quake in clean if quake)


@step
def report(by_decade: dict[str, int], energy: float) -> Report:
    return Report(quakes=sum(by_decade.values()), per_decade=by_decade, joules=energy)


workflow = Workflow(
    "data-pipeline", [download, rows, clean, by_decade, energy, report], inputs=["api_key"]
)


def main() -> None:
    result = workflow.run({"api_key": API_KEY})
    cleaned = result.step_results["clean"].items or []
    skipped = [item.index for item in cleaned if item.status == "skipped"]
    faults = {e.item: e.faults for e in result.events if isinstance(e, AttemptFailed)}
    down, _ = result.step_results["download"].attempts

    print("download:", down.error_type, "|", down.error_message)
    for index in skipped:
        for fault in faults[index]:
            print(f"row {index + 1} skipped: {fault.message}")
    print("report:  ", result.output)
    print("feed:    ", {"session_token": result.final_state["download"]["session_token"]})
    print("inputs:  ", {"api_key": result.final_state["api_key"]})

    assert result.status == "complete"
    assert skipped == [6, 7, 8]
    assert result.output["per_decade"] == {"1950s": 1, "1960s": 2, "2000s": 1, "2010s": 2}
    everything = json.dumps(result.to_dict()) + repr(result.step_results["download"])
    assert API_KEY not in everything
    assert SESSION not in everything
    assert result.reveal("download")["session_token"] == SESSION, "in clear on purpose only"


if __name__ == "__main__":
    main()
