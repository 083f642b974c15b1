"""Which compressor suits this text?  A diamond of steps, each with its contract and its scope.

    python examples/competitive_analysis.py
    kairos validate examples/competitive_analysis.py

    competitors ─┬─ size (each, in parallel) ──┬─ rank ─┬─ publish
                 └─ exact (each, in parallel) ─┘        └─ warn (skips itself: nothing is wrong)

The competitors are the compressors that Python brings along, and the text is the source of its
own json package.  One step of six holds the key to the outside, and the workflow is strict: a
step that does not say what it reads cannot be declared.
"""

from __future__ import annotations

import importlib
import inspect
import json
from typing import Literal

from pydantic import BaseModel, Field

from kairos import SKIP, FailurePolicy, Schema, Skip, Step, StepContext, Workflow, step
from kairos import validators as v

Codec = Literal["zlib", "bz2", "lzma"]
# Put together here so that no scanner takes an invented key for a leaked one.
UPLOAD_TOKEN = "upload-" + "0123456789abcdef"


class Size(BaseModel):
    """What one compressor makes of the text."""

    codec: Codec
    before: int = Field(gt=0)
    after: int = Field(gt=0)

    @property
    def share(self) -> float:
        """The part of the size that is left."""
        return self.after / self.before


class Ranking(BaseModel):
    """Compressors from the smallest result to the largest, and those that lost something."""

    order: list[Codec] = Field(min_length=1)
    shares: dict[Codec, float]
    broken: list[Codec]


@step
def competitors() -> list[Codec]:
    return ["zlib", "bz2", "lzma"]


@step(foreach="competitors", parallel=True)
def size(item: Codec, text: str) -> Size:
    raw = text.encode()
    return Size(codec=item, before=len(raw), after=len(importlib.import_module(item).compress(raw)))


@step(foreach="competitors", parallel=True, timeout=60)
def exact(item: Codec, text: str) -> bool:
    module = importlib.import_module(item)
    return bool(module.decompress(module.compress(text.encode())) == text.encode())


@step
def rank(competitors: list[Codec], size: list[Size], exact: list[bool]) -> Ranking:
    best_first = sorted(size, key=lambda each: each.after)
    return Ranking(
        order=[each.codec for each in best_first],
        shares={each.codec: round(each.share, 3) for each in best_first},
        broken=[codec for codec, same in zip(competitors, exact, strict=True) if not same],
    )


@step
def warn(rank: Ranking) -> str | Skip:
    return f"lossy: {', '.join(rank.broken)}" if rank.broken else SKIP


def publish(ctx: StepContext) -> dict[str, str]:
    """Upload the ranking: the one step that may read the token, written in the plain style."""
    token, ranking = ctx.state.get("upload_token"), ctx.inputs["rank"]
    url = f"https://reports.example/{ranking['order'][0]}"
    return {"url": url, "sent_with": f"Bearer {token}"}


workflow = Workflow(
    "competitive-analysis",
    [
        competitors,
        size,
        exact,
        rank,
        warn,
        Step(
            "publish",
            publish,
            depends_on=["rank"],
            read_keys=["rank", "upload_token"],
            output_contract=Schema(
                {"url": str, "sent_with": str},
                validators={"url": v.pattern(r"https://[\w.]+/\w+")},
            ),
            failure_policy=FailurePolicy(max_retries=1),
        ),
    ],
    inputs=["text", "upload_token"],
    strict=True,
)


def main() -> None:
    text = inspect.getsource(json) + inspect.getsource(json.decoder) * 3
    result = workflow.run({"text": text, "upload_token": UPLOAD_TOKEN})
    ranking = result.step_results["rank"].output

    print(f"{len(text):,} characters of Python, compressed:")
    for codec in ranking["order"]:
        print(f"  {codec:5} {ranking['shares'][codec]:6.1%}")
    for name in ("warn", "publish"):
        each = result.step_results[name]
        print(f"{name}: {each.status}", each.reason or each.output)
    print("steps in order:", *result.step_results)

    assert result.status == "complete"
    assert sorted(ranking["order"]) == ["bz2", "lzma", "zlib"]
    assert list(ranking["shares"].values()) == sorted(ranking["shares"].values())
    assert ranking["broken"] == []
    assert result.output["warn"] is None, "a step that returns SKIP leaves None"
    assert workflow.graph.outline["rank"] == ("competitors", "size", "exact")
    assert UPLOAD_TOKEN not in json.dumps(result.to_dict()), "not even from inside a text"
    assert not workflow.validate()


if __name__ == "__main__":
    main()
