"""What a docstring tells a model of a tool and its parameters."""

from __future__ import annotations

import functools
import inspect
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from kairos.agents import Tool, ToolContext
from kairos.agents.docstrings import read_docstring

GOOGLE = """Find orders
    of a customer.

    The newest come first.

    Args:
        customer (str): Who ordered,
            by number.
        since: From when on: an ISO date.
        *rest (dict[str, (int, str)], optional): Not used.

    Returns:
        The orders.

    Raises:
        KeyError: if there is none.

    They are never more than ten.
    """

NUMPY = """Find orders
    of a customer.

    The newest come first.

    Parameters
    ----------
    customer : str
        Who ordered,
        by number.
    since, rest : {'a', 'b'}, optional
        From when on: an ISO date.

    Returns
    -------
    list
        The orders.

    Examples
    --------
    >>> find(1)
    """

SPHINX = """Find orders
    of a customer.

    The newest come first.

    :param str customer: Who ordered,
        by number.
    :param since: From when on: an ISO date.
    :type since: str
    :returns: The orders.
    :raises KeyError: if there is none.
    """


@pytest.mark.parametrize("text", [GOOGLE, NUMPY, SPHINX])
def test_the_three_forms_say_the_same(text: str) -> None:
    found = read_docstring(text)
    first, second, *more = found.description.split("\n\n")
    assert first == "Find orders of a customer."
    assert second == "The newest come first."
    assert found.parameters["customer"] == "Who ordered, by number."
    assert found.parameters["since"] == "From when on: an ISO date."
    assert any(each.startswith("Returns: ") and "The orders." in each for each in more)
    assert "KeyError" not in found.description
    assert ">>>" not in found.description


@pytest.mark.parametrize(
    "text, description",
    [
        (None, ""),
        ("", ""),
        ("   \n  ", ""),
        ("One.", "One."),
        ("Choose:\n\n- red\n- blue", "Choose:\n\n- red\n- blue"),
        ("See\n:class:`Order` for more.", "See :class:`Order` for more."),
        ("Args are not needed here.", "Args are not needed here."),
        ("Args:", "Args:"),
        ("A.\n\nSteps:\n    do this", "A.\n\nSteps:\n    do this"),
        ("A.\n\nNote:\n    It cannot\n    be undone.", "A.\n\nNote: It cannot be undone."),
        ("A.\n\nArgs:\n    x: one\n\nMore.", "A.\n\nMore."),
        ("Title\n-----\n\ntext", "Title\n-----\n\ntext"),
    ],
)
def test_what_is_in_no_form_is_description(text: str | None, description: str) -> None:
    assert read_docstring(text).description == description


def test_a_description_is_as_long_as_every_provider_takes_it() -> None:
    paragraphs = [f"{number} " + "word " * 60 for number in range(9)]
    found = read_docstring("\n\n".join(paragraphs)).description
    assert 600 < len(found) <= 1024
    assert found == "\n\n".join(each.strip() for each in paragraphs[:3])
    assert len(read_docstring("word " * 900).description) <= 1024
    assert len(read_docstring("w" * 9000).description) == 1024


@pytest.mark.parametrize(
    "text",
    [
        "Args:\n    x: one",
        "Args:\n\n    x: one",
        "Args:\n  x (int): one",
        "Arguments:\n    - x: one",
        "Args:\n    * `x` (int, optional): one",
        "Args:\n    ``x``:\n        one",
        "Parameters:\n    x: one",
        "Parameters\n---\nx\n    one",
        "Parameters\n==========\nx: int\n    one",
        "Other Parameters\n----------------\n*x\n    one",
        ":param x: one",
        ":parameter int x: one",
        ":arg x:\n    one",
        ":keyword list[int] x: one",
    ],
)
def test_a_form_is_known_in_its_variants(text: str) -> None:
    assert read_docstring(f"Do.\n\n{text}") == ("Do.", {"x": "one"})


NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,12}", fullmatch=True)
WORDS = st.lists(
    st.from_regex(r"[A-Za-z0-9,.;!?'()]{1,9}", fullmatch=True), min_size=1, max_size=9
).map(" ".join)


def google(known: dict[str, str]) -> str:
    return "Args:\n" + "".join(f"    {name}: {text}\n" for name, text in known.items())


def numpy(known: dict[str, str]) -> str:
    told = "".join(f"{name} : int\n    {text}\n" for name, text in known.items())
    return f"Parameters\n----------\n{told}"


def sphinx(known: dict[str, str]) -> str:
    return "".join(f":param {name}: {text}\n" for name, text in known.items())


@given(WORDS, st.dictionaries(NAMES, WORDS, min_size=1), st.sampled_from([google, numpy, sphinx]))
def test_what_is_written_in_a_form_is_read_from_it(
    prose: str, known: dict[str, str], form: Any
) -> None:
    found = read_docstring(f"{prose}\n\n{form(known)}")
    assert found.parameters == known
    assert found.description == prose


PIECES = st.sampled_from(
    ["Args:", "Parameters", "----", "===", ":param x:", ":param", "x:", "x (", ")", "*", "**k:",
     "\n", "\n\n", "    ", "\t", "Returns:", ":returns:", "Raises", "text", "\x00", "\ud800", "é",
     "\u2028", "\r", "\x0c", ",", "a, b : int", "- one", ">>>"]
)  # fmt: skip


@settings(max_examples=400)
@given(st.text() | st.lists(PIECES, max_size=30).map("".join))
def test_no_docstring_does_any_harm(text: str) -> None:
    found = read_docstring(text)
    assert all(
        name and value == " ".join(value.split()) for name, value in found.parameters.items()
    )
    assert len(found.description) <= 1024


@pytest.mark.parametrize(
    "piece", [" ", "x (", "*", ":param ", "a,", "-", "\n", "Args:\n ", "    x: y\n", "x,\n"]
)
def test_a_docstring_of_any_size_is_read(piece: str) -> None:
    for head in ("Args:\n    ", "Parameters\n----\n", ":param x", ""):
        read_docstring(head + piece * 50_000)


# --- from there into the schema


def told(function: Any) -> dict[str, str]:
    properties = Tool(function, name="t").spec.parameters["properties"]
    return {
        name: shown["description"] for name, shown in properties.items() if "description" in shown
    }


class Order(BaseModel):
    """An order."""

    number: int


def find(customer: str, since: Annotated[str, Field(description="Said here.")] = "") -> None:
    """Find.

    Args:
        customer: Who ordered.
        since: Not this.
        ctx: Nobody's business.
        gone: Was removed.
    """


def test_a_parameter_is_described_by_the_docstring_unless_it_says_so_itself() -> None:
    assert told(find) == {"customer": "Who ordered.", "since": "Said here."}
    assert Tool(find).spec.description == "Find."


def test_a_parameter_of_a_type_that_is_referred_to_is_described_too() -> None:
    def take(order: Order, more: list[Order] | None = None, near: int = Field(3, ge=1)) -> None:
        """Take.

        :param order: Which.
        :param more: Others.
        :param near: How near.
        """

    assert told(take) == {"order": "Which.", "more": "Others.", "near": "How near."}


def test_the_context_is_not_described() -> None:
    def take(ctx: ToolContext, number: int) -> None:
        """Take.

        Args:
            ctx: What there is.
            number: Which.
        """

    assert told(take) == {"number": "Which."}


class Archive:
    """An archive."""

    def find(self, word: str) -> str:
        """Find a word.

        Args:
            word: Which.
        """
        return word

    @classmethod
    def of(cls, word: str) -> str:
        """Find a word.

        Args:
            word: Which.
        """
        return word

    @staticmethod
    def any(word: str) -> str:
        """Find a word.

        Args:
            word: Which.
        """
        return word

    def __call__(self, word: str) -> str:
        """Find a word.

        Args:
            word: Which.
        """
        return word


class Silent:
    """Find a word.

    Args:
        word: Which.
    """

    def __call__(self, word: str) -> str:
        return word


class Made:
    """Find a word."""

    def __init__(self, word: str) -> None:
        """Begin.

        Args:
            word: Which.
        """


class Later(Archive):
    def find(self, word: str) -> str:
        return word


def wrapped(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    "function",
    [
        Archive().find, Archive.of, Archive.any, Archive(), Silent(), Made, Later().find,
        functools.partial(Archive().find), wrapped(Archive().find), wrapped(wrapped(Archive.any)),
        functools.partial(wrapped(Archive.any)), functools.lru_cache(Archive.any),
    ],
)  # fmt: skip
def test_every_callable_is_described_by_what_it_calls(function: Any) -> None:
    made = Tool(function, name="t")
    assert made.spec.description == "Find a word."
    assert told(function) == {"word": "Which."}


@pytest.mark.parametrize(
    "function", [functools.partial(lambda: 1), functools.lru_cache(lambda: 1), Order]
)
def test_what_says_nothing_is_not_described_by_its_kind(function: Any) -> None:
    description = Tool(function, name="t").spec.description
    assert description in ("", inspect.getdoc(Order))
