"""Two providers in one workflow: Claude takes notes, OpenAI judges them under a contract.

    python examples/llm_workflow.py --fake      # this machine answers
    python examples/llm_workflow.py             # with ANTHROPIC_API_KEY and OPENAI_API_KEY

The verdict is a contract: the model is asked for JSON by its schema, and what it says is checked.
With `--fake` the first verdict breaks it, so that the retry can be seen: the model is told which
fields were wrong, and not a word of what it had said.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from kairos import FailurePolicy, Step, Workflow
from kairos.adapters.claude import claude
from kairos.adapters.openai_adapter import openai_adapter
from kairos.testing import Answer
from model_parts import providers

FAKED_CALLS = 3  # the second step needs two


class Verdict(BaseModel):
    """What the second model makes of the first one's notes."""

    verdict: Literal["keep", "rewrite"]
    score: float = Field(ge=0, le=1)
    why: str


def build() -> Workflow:
    return Workflow(
        "llm-workflow",
        steps=[
            Step(
                "notes",
                claude("Three facts about {topic}, one line each.", max_tokens=300),
                failure_policy=FailurePolicy(max_retries=3, retry_delay=0.1),
            ),
            Step(
                "judge",
                openai_adapter("Are these notes right and clear?\n\n{notes}", max_tokens=600),
                output_contract=Verdict,
            ),
        ],
    )


def main() -> None:
    with providers("ANTHROPIC_API_KEY", "OPENAI_API_KEY") as fake:
        if fake is not None:
            fake.reply("1. They sleep. 2. They hunt. 3. They purr.", provider="anthropic")
            fake.reply(Answer({"verdict": "maybe", "score": 7, "why": "?"}), provider="openai")
            good = {"verdict": "keep", "score": 0.9, "why": "short and true"}
            fake.reply(Answer(good), provider="openai")
        result = build().run({"topic": "cats"})
    print(f"{result.status}: {result.output}")
    for name, step in result.step_results.items():
        print(f"  {name}: {len(step.attempts)} attempt(s), {step.duration_ms:.0f} ms")
    print(f"  {result.llm_calls} calls of models")
    assert result.error is None, result.error
    Verdict.model_validate(result.output)
    assert fake is None or result.llm_calls == FAKED_CALLS


if __name__ == "__main__":
    main()
