"""Claude, really: a foreach over topics, a contract for each answer, and what a failure costs.

    python examples/real_claude.py              # with ANTHROPIC_API_KEY, a few cents
    python examples/real_claude.py --fake       # this machine answers

With `--fake` one topic is answered with a 529 at first: the step waits and asks again, alone.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from kairos import Budget, FailurePolicy, Step, Workflow
from kairos.adapters.claude import claude
from kairos.testing import Answer, Status
from model_parts import providers

TOPICS = ["honey bees", "tardigrades", "octopuses"]
FAKED_CALLS = len(TOPICS) + 2  # one of them again, and the story


class Fact(BaseModel):
    """One fact, and how sure the model is of it."""

    subject: str
    fact: str = Field(min_length=5)
    certainty: float = Field(ge=0, le=1)


def build() -> Workflow:
    return Workflow(
        "real-claude",
        steps=[
            Step(
                "facts",
                claude("Give one surprising fact about {item}.", max_tokens=400),
                foreach="topics",
                output_contract=Fact,
                failure_policy=FailurePolicy(max_retries=3, retry_delay=0.05, retry_backoff=2),
            ),
            Step("story", claude("Tell a story of two sentences with these facts: {facts}")),
        ],
        budget=Budget(llm_calls=20, usd=0.50, unknown_prices="allow"),
    )


def main() -> None:
    with providers("ANTHROPIC_API_KEY") as fake:
        if fake is not None:
            for number, topic in enumerate(TOPICS):
                if number == 1:
                    fake.reply(Status(529))
                fact = {"subject": topic, "fact": "They dance.", "certainty": 0.8}
                fake.reply(Answer(fact))
            fake.reply("They met and danced. Nobody led.")
        result = build().run({"topics": TOPICS})
    print(result.output or result.error)
    for item in result.step_results["facts"].items or ():
        print(f"  {TOPICS[item.index]}: {item.output}, {len(item.attempts)} attempt(s)")
    assert result.error is None, result.error
    assert len(result.step_results["facts"].output) == len(TOPICS)
    assert fake is None or result.llm_calls == FAKED_CALLS


if __name__ == "__main__":
    main()
