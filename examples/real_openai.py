"""OpenAI, really: a review, a report with a contract, and an answer that first breaks off.

    python examples/real_openai.py              # with OPENAI_API_KEY, a few cents
    python examples/real_openai.py --fake       # this machine answers

With `--fake` the first answer breaks off in the middle: half an answer is a failure, and the step
asks again.  OPENAI_BASE_URL leads to any other server that speaks OpenAI's chat completions.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from kairos import Budget, FailurePolicy, Step, Workflow
from kairos.adapters.openai_adapter import openai_adapter
from kairos.testing import Answer, Cut
from model_parts import providers

FAKED_CALLS = 3  # one of them again


class Report(BaseModel):
    """What a report has to have."""

    title: str
    findings: list[str] = Field(min_length=1)
    score: float = Field(ge=0, le=10)


def build() -> Workflow:
    again = FailurePolicy(max_retries=2, retry_delay=0.05)
    return Workflow(
        "real-openai",
        steps=[
            Step(
                "review",
                openai_adapter("Review in three sentences: {topic}", max_tokens=400),
                failure_policy=again,
            ),
            Step(
                "report",
                openai_adapter("Write a report on: {review}", max_tokens=800),
                output_contract=Report,
                failure_policy=again,
            ),
        ],
        budget=Budget(llm_calls=10, usd=0.50, unknown_prices="allow"),
    )


def main() -> None:
    with providers("OPENAI_API_KEY") as fake:
        if fake is not None:
            fake.reply("Bridges carry, and they connect. They also", Cut(after_events=4))
            fake.reply("Bridges carry, and they connect. They also age.")
            fake.reply(Answer({"title": "Bridges", "findings": ["they age"], "score": 7.5}))
        result = build().run({"topic": "bridges"})
    print(result.output or result.error)
    for name, step in result.step_results.items():
        print(f"  {name}: {len(step.attempts)} attempt(s)")
    assert result.error is None, result.error
    assert sorted(result.step_results["report"].output) == ["findings", "score", "title"]
    assert fake is None or result.llm_calls == FAKED_CALLS


if __name__ == "__main__":
    main()
