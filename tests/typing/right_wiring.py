"""Wiring that is right: neither mypy nor pyright has anything to say.  Checked, never run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired, assert_type

from typing_extensions import TypedDict

from kairos import (
    Context,
    ForeachPolicy,
    From,
    Ref,
    Skip,
    Step,
    StepContext,
    Wiring,
    Workflow,
    step,
)


class Product(TypedDict):
    sku: str
    cost: float


class ScoreIn(TypedDict):
    products: list[Product]
    limit: int
    note: NotRequired[str]


# -- contexts and steps ---------------------------------------------------------------------------


def score(ctx: Context[ScoreIn]) -> dict[str, float]:
    assert_type(ctx.inputs["limit"], int)
    assert_type(ctx.inputs["products"][0]["sku"], str)
    assert_type(ctx.inputs.get("note"), str | None)
    assert_type(ctx.attempt, int)
    return {each["sku"]: each["cost"] for each in ctx.inputs["products"][: ctx.inputs["limit"]]}


async def score_later(ctx: StepContext[ScoreIn]) -> int:
    return ctx.inputs["limit"]


def untyped(ctx: StepContext) -> str:
    assert_type(ctx.inputs, Mapping[str, Any])
    assert_type(ctx.inputs["anything"], Any)
    return "x"


def typed(fetch: list[Product], limit: int = 3) -> bool:
    return len(fetch) > limit


async def typed_later(fetch: list[Product]) -> bytes:
    return b"" if fetch else b"0"


@step(retries=2)
def renamed(prices: Annotated[list[float], From("price")]) -> float:
    return sum(prices)


assert_type(Step("score", score), Step[ScoreIn, dict[str, float]])
assert_type(Step("later", score_later), Step[ScoreIn, int])
assert_type(Step("untyped", untyped), Step[Mapping[str, Any], str])
assert_type(Step("typed", typed, retries=2), Step[Mapping[str, Any], bool])
assert_type(Step("typed_later", typed_later), Step[Mapping[str, Any], bytes])
assert_type(renamed([1.0]), float)
plain: Step = Step("plain", lambda ctx: ctx.inputs["a"])
either: Step[Any, float | str] = Step("either", untyped)
steps: list[Step[Any, Any]] = [Step("score", score), Step("typed", typed), plain]
Workflow("all", [Step("score", score), Step("typed", typed), renamed, plain])
Workflow("more", steps, inputs=["products"])


# -- add ------------------------------------------------------------------------------------------


def fetch(url: str) -> list[Product]:
    return [{"sku": url, "cost": 1.0}]


async def fetch_later(url: str, pages: int = 1) -> list[Product]:
    return [{"sku": url, "cost": pages}]


def start() -> int:
    return 1


def started(ctx: StepContext) -> int:
    return ctx.attempt


def mark_up(rate: int) -> float:
    return rate * 2.0


def report(products: list[Product], total: float, ctx: StepContext) -> str:
    return f"{ctx.step_id} {len(products)} {total}"


async def optional(total: float | None) -> str:
    return "none" if total is None else str(total)


def maybe(total: float) -> str | Skip:
    return str(total)


def after_maybe(text: str | None) -> int:
    return len(text or "")


def is_cheap(products: list[Product]) -> bool:
    return not products


def eight(  # noqa: PLR0917 - the most that `add` is typed for
    a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: str
) -> str:
    return h * (a + b + c + d + e + f + g)


wiring = Wiring("pricing")
url = wiring.input("url", str)
assert_type(url, Ref[str])
limits = wiring.input("limits", list[int], default=[1])
assert_type(limits, Ref[list[int]])
nullable: Ref[float | None] = wiring.input("nullable", float | None)

products = wiring.add(fetch, url, retries=3, timeout=5)
assert_type(products, Ref[list[Product]])
assert_type(wiring.add(fetch_later, url), Ref[list[Product]])
count = wiring.add(start, name="count")
assert_type(count, Ref[int])
assert_type(wiring.add(started), Ref[int])
assert_type(wiring.add(fetch_later, url, count, name="pages"), Ref[list[Product]])
assert_type(wiring.add(score, name="score"), Ref[dict[str, float]])
assert_type(wiring.add(Step("own", score)), Ref[dict[str, float]])
assert_type(wiring.add(mark_up, wiring.add(start)), Ref[float])
assert_type(wiring.add(optional, nullable), Ref[str])
text = wiring.add(maybe, wiring.add(mark_up, count, name="again")).or_none()
assert_type(text, Ref[str | None])
assert_type(wiring.add(after_maybe, text), Ref[int])
wiring.add(eight, count, count, count, count, count, count, count, url, name="eight")
wiring.add(lambda total: total, text, name="lambda")
wider: Ref[float | str] = count
last: Ref[Sequence[Product]] = products


# -- foreach --------------------------------------------------------------------------------------


def price(product: Product, rate: float = 2.0) -> float:
    return product["cost"] * rate


async def price_later(product: Product, ctx: StepContext) -> float:
    return product["cost"] * ctx.attempt


def sum_up(prices: list[float]) -> float:
    return sum(prices)


def sum_some(prices: Sequence[float | None]) -> float:
    return sum(each or 0 for each in prices)


def tags() -> set[str]:
    return {"a"}


def pairs() -> tuple[int, ...]:
    return (1, 2)


def rows() -> Sequence[Product]:
    return ()


def size(tag: str) -> int:
    return len(tag)


prices = wiring.foreach(price, products, parallel=True)
assert_type(prices, Ref[list[float]])
total = wiring.add(sum_up, prices, name="total", after=[count])
assert_type(total, Ref[float])
assert_type(wiring.add(report, products, total), Ref[str])
assert_type(wiring.foreach(price_later, products), Ref[list[float]])
assert_type(wiring.foreach(price, products, total, name="rated"), Ref[list[float]])
some = wiring.foreach(price, products, name="some", foreach_policy=ForeachPolicy.ALLOW_PARTIAL)
assert_type(some, Ref[list[float | None]])
assert_type(wiring.add(sum_some, some), Ref[float])
assert_type(wiring.add(sum_some, prices, name="lists"), Ref[float])
assert_type(wiring.foreach(size, wiring.add(tags)), Ref[list[int]])
assert_type(wiring.foreach(mark_up, wiring.add(pairs)), Ref[list[float]])
assert_type(wiring.foreach(mark_up, limits), Ref[list[float]])
assert_type(wiring.foreach(price, wiring.add(rows)), Ref[list[float]])
assert_type(wiring.foreach(price, products, when=is_cheap), Ref[list[float | None] | None])
cheap = wiring.add(sum_up, prices, name="cheap", when=lambda prices: len(prices) > 1)
assert_type(cheap, Ref[float | None])
assert_type(wiring.add(optional, cheap), Ref[str])
assert_type(wiring.workflow(), Workflow)
