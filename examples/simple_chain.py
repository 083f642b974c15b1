"""Three steps in a line: what one returns, the next one reads.

    python examples/simple_chain.py
    kairos run examples/simple_chain.py

A speech is cut into words, the words are counted, and the counts become a report.  The steps are
listed backwards, since `depends_on` and not the list gives the order.
"""

from __future__ import annotations

import re
from collections import Counter

from kairos import Step, StepContext, Workflow

GETTYSBURG = """\
Four score and seven years ago our fathers brought forth on this continent, a new nation,
conceived in Liberty, and dedicated to the proposition that all men are created equal.

Now we are engaged in a great civil war, testing whether that nation, or any nation so conceived
and so dedicated, can long endure. We are met on a great battle-field of that war. We have come
to dedicate a portion of that field, as a final resting place for those who here gave their lives
that that nation might live. It is altogether fitting and proper that we should do this.
"""


def split(ctx: StepContext) -> list[str]:
    """Read an input, and return what everybody downstream may read under the name `split`."""
    return re.findall(r"[a-z]+(?:-[a-z]+)*", ctx.inputs["text"].lower())


def count(ctx: StepContext) -> dict[str, int]:
    """Read the step before, and write a second key besides the output."""
    words = ctx.inputs["split"]
    ctx.state.set("longest", max(words, key=len))
    return dict(Counter(words).most_common(ctx.inputs["top"]))


def report(ctx: StepContext) -> str:
    lines = [f"{word:10} {'#' * times}" for word, times in ctx.inputs["count"].items()]
    return "\n".join([*lines, f"longest: {ctx.inputs['longest']}"])


workflow = Workflow(
    "simple-chain",
    [
        Step("report", report, depends_on=["count"], read_keys=["count", "longest"]),
        Step(
            "count",
            count,
            depends_on=["split"],
            read_keys=["split", "top"],
            write_keys=["count", "longest"],
        ),
        Step("split", split, read_keys=["text"]),
    ],
    inputs=["text", "top"],
)


def main() -> None:
    result = workflow.run({"text": GETTYSBURG, "top": 5})
    print(result.output)
    print()
    for name, each in result.step_results.items():
        print(f"{name:7} {each.status}, {len(each.attempts)} attempt")

    assert list(result.step_results) == ["split", "count", "report"]
    assert result.status == "complete"
    assert result.final_state["count"] == {"that": 7, "a": 5, "and": 4, "nation": 4, "we": 4}
    assert result.final_state["longest"] == "battle-field"
    assert not workflow.validate(), "nothing to find fault with"


if __name__ == "__main__":
    main()
