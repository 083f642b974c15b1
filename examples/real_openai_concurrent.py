"""Eight calls of OpenAI, no more than four at once, and one summary of them all.

python examples/real_openai_concurrent.py           # with OPENAI_API_KEY
python examples/real_openai_concurrent.py --fake    # this machine answers, slowly on purpose
"""

from __future__ import annotations

from kairos import Step, Workflow
from kairos.adapters.openai_adapter import openai_adapter
from kairos.testing import Delay
from model_parts import providers

CITIES = ["Oslo", "Rome", "Lima", "Cairo", "Kyoto", "Perth", "Quito", "Riga"]
AT_ONCE = 4


def build() -> Workflow:
    return Workflow(
        "real-openai-concurrent",
        steps=[
            Step(
                "sights",
                openai_adapter("Name one sight of {item}, in five words.", max_tokens=200),
                foreach="cities",
                max_concurrency=AT_ONCE,
            ),
            Step("tour", openai_adapter("Make one sentence of: {sights}", max_tokens=500)),
        ],
    )


def main() -> None:
    with providers("OPENAI_API_KEY") as fake:
        if fake is not None:
            fake.answer(lambda asked: (f"Well, {asked.prompt[:30]} …", Delay(0.1)))
        result = build().run({"cities": CITIES})
        at_once = None if fake is None else fake.most_open
    print(result.output or result.error)
    assert result.error is None, result.error
    assert len(result.step_results["sights"].output) == len(CITIES)
    assert result.llm_calls == len(CITIES) + 1
    print(f"  {result.llm_calls} calls in {result.duration_ms:.0f} ms")
    assert at_once is None or at_once <= AT_ONCE


if __name__ == "__main__":
    main()
