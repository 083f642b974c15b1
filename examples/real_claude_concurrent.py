"""Three calls of Claude at once, one that puts them together, and how much that saves.

python examples/real_claude_concurrent.py           # with ANTHROPIC_API_KEY
python examples/real_claude_concurrent.py --fake    # this machine answers, slowly on purpose
"""

from __future__ import annotations

from kairos import Step, Workflow
from kairos.adapters.claude import claude
from kairos.testing import Delay
from model_parts import providers

VIEWS = ("an engineer", "an economist", "a historian")


def build() -> Workflow:
    views = [
        Step(
            who.split()[1],
            claude(f"In two sentences, as {who}: what of {{topic}}?", max_tokens=300),
            parallel=True,
        )
        for who in VIEWS
    ]
    synthesis = claude("Put together:\n\n{engineer}\n\n{economist}\n\n{historian}", max_tokens=500)
    return Workflow("real-claude-concurrent", steps=[*views, Step("synthesis", synthesis)])


def main() -> None:
    with providers("ANTHROPIC_API_KEY") as fake:
        if fake is not None:
            fake.answer(lambda asked: (f"Well, {asked.prompt[:30]} …", Delay(0.3)))
        result = build().run({"topic": "bridges"})
        at_once = None if fake is None else fake.most_open
    print(result.output or result.error)
    took = [step.duration_ms for step in result.step_results.values()]
    print(f"  one after the other {sum(took):.0f} ms, here {result.duration_ms:.0f} ms")
    assert result.error is None, result.error
    assert result.llm_calls == len(VIEWS) + 1
    assert at_once in (None, len(VIEWS))


if __name__ == "__main__":
    main()
