"""Gemini, really: a review with a contract, streamed words, and a wait that Google asks for.

    python examples/real_gemini.py              # with GOOGLE_API_KEY or GEMINI_API_KEY
    python examples/real_gemini.py --fake       # this machine answers

With `--fake` the first call meets a limit and is told how long to wait.
"""

from __future__ import annotations

import os

from pydantic import BaseModel, Field

from kairos import FailurePolicy, Step, Workflow
from kairos.adapters.gemini import gemini
from kairos.models import TextDelta
from kairos.testing import Answer, Status
from model_parts import providers

RESEARCH = "Octopuses have three hearts, and most of their neurons are in their arms."
FAKED_CALLS = 2  # one of them again


class Review(BaseModel):
    """What is made of a piece of research."""

    sound: bool
    remarks: list[str] = Field(min_length=1)


def build() -> Workflow:
    review = Step(
        "review",
        gemini("Review {research}", max_tokens=1000),
        output_contract=Review,
        failure_policy=FailurePolicy(max_retries=2, retry_delay=0.05),
    )
    return Workflow("real-gemini", steps=[review])


def main() -> None:
    wanted = "GEMINI_API_KEY" if os.environ.get("GEMINI_API_KEY") else "GOOGLE_API_KEY"
    with providers(wanted) as fake:
        if fake is not None:
            fake.reply(Status(429, retry_after=0.1))
            fake.reply(Answer({"sound": True, "remarks": ["count the hearts again"]}))
        result = build().run({"research": RESEARCH})
        print(result.output or result.error)
        pieces = [
            event.text
            for event in gemini("Praise {animal} in one sentence.").stream(animal="octopuses")
            if isinstance(event, TextDelta)
        ]
    print(f"  {''.join(pieces)} ({len(pieces)} pieces)")
    assert result.error is None, result.error
    assert result.step_results["review"].output["remarks"]
    assert "".join(pieces)
    assert fake is None or result.llm_calls == FAKED_CALLS


if __name__ == "__main__":
    main()
