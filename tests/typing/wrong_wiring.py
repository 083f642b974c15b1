"""Wiring that is wrong: each marked line is an error to mypy and to pyright, and no other line is.

Checked by tests/test_typing.py, never run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typing_extensions import TypedDict

from kairos import Context, ForeachPolicy, From, Ref, Skip, Step, StepContext, Wiring, step

if TYPE_CHECKING:
    from collections.abc import Sequence


class Product(TypedDict):
    sku: str
    cost: float


class ScoreIn(TypedDict):
    limit: int


def score(ctx: Context[ScoreIn]) -> int:
    text: str = ctx.inputs["limit"]  # error E01: the wrong type for a key of the context
    del text
    return ctx.inputs["limmit"]  # error E02: a misspelt key


def write(ctx: Context[ScoreIn]) -> None:
    ctx.inputs["limit"] = "many"  # error E03: a value that its key does not take
    ctx.atempt  # noqa: B018 # error E04: nothing of that name in a context


def of_a_number(ctx: Context[int]) -> None:  # error E05: a context of no mapping
    del ctx


scored: Step[ScoreIn, str] = Step("score", score)  # error E06: what the step returns
Step("score", score, retrys=3)  # error E07: an unknown option of a step
Step("score", score, retries="3")  # error E08: an option of another type
Step(score, "score")  # error E09: name and action exchanged


def fetch(url: str) -> list[Product]:
    return [{"sku": url, "cost": 1.0}]


async def fetch_later(url: str) -> list[Product]:
    return [{"sku": url, "cost": 1.0}]


def price(product: Product, rate: float = 2.0) -> float:
    return product["cost"] * rate


def sum_up(prices: list[float]) -> float:
    return sum(prices)


def report(products: list[Product], total: float) -> str:
    return f"{len(products)} {total}"


def report_with(products: list[Product], ctx: StepContext) -> str:
    return f"{ctx.step_id} {len(products)}"


def maybe(total: float) -> str | Skip:
    return str(total)


def shout(text: str) -> str:
    return text.upper()


def maybe_shout(text: str | None) -> str:
    return (text or "").upper()


def of_text(item: str) -> bool:
    return item == ""


@step
def renamed(prices: Annotated[list[float], From("price")]) -> float:
    return sum(prices)


renamed(["1"])  # error E10: a parameter with a From is checked as the bare type

wiring = Wiring("pricing")
url = wiring.input("url", str)
products = wiring.add(fetch, url)
prices = wiring.foreach(price, products)
total = wiring.add(sum_up, prices, name="total")
partial = wiring.foreach(price, products, foreach_policy=ForeachPolicy.ALLOW_PARTIAL)

wiring.add(sum_up, products)  # error E11: another type than the parameter's
wiring.add(report, total, products)  # error E12: references exchanged
wiring.add(report, products)  # error E13: too few references
wiring.add(fetch, url, total)  # error E14: too many references
wiring.add(fetch)  # error E15: no reference at all
wiring.add(fetch, "https://kairos.example")  # error E16: a value, where a reference belongs
wiring.add(report, fetch, total)  # error E17: a function, where its reference belongs
wiring.add(report_with, total)  # error E18: another type, beside a context
wiring.add(sum_up, wiring.add(fetch_later, url))  # error E19: what is awaited counts
wiring.foreach(of_text, products)  # error E20: an element of another type
wiring.foreach(price, total)  # error E21: nothing that could be run over
wiring.foreach(price, products, url)  # error E22: another type, beside the element
wiring.add(sum_up, partial)  # error E23: None for an element that failed
wiring.add(shout, wiring.add(shout, url, when=of_text))  # error E24: None where a step is skipped
wiring.add(maybe_shout, wiring.add(maybe, total))  # error E25: SKIP without or_none()
wiring.add(shout, wiring.add(maybe, total).or_none())  # error E26: None where SKIP was returned
wiring.add(sum_up, prices, when=of_text)  # error E27: a predicate of something else
wiring.add(sum_up, prices, when=lambda a, b, c: a == b == c)  # error E28: of too much
wiring.add(sum_up, prices, retrys=3)  # error E29: an unknown option
wiring.add(sum_up, prices, timeout="1s")  # error E30: an option of another type
wiring.add(sum_up, prices, after=["fetch"])  # error E31: a name, where a reference belongs
wrong: Ref[str] = wiring.add(sum_up, prices)  # error E32: another type than is returned
narrow: Ref[list[int]] = products  # error E33: lists of other things
rows: Ref[Sequence[str]] = products  # error E34: sequences of other things
total.nothing  # noqa: B018 # error E35: nothing of that name in a reference
wiring.workflow(1)  # error E36: options go by name
