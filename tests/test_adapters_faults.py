"""Every fault of a provider, by the real SDK: what is raised, how often it was asked, what came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kairos.adapters.claude import ClaudeAdapter
from kairos.models import Finished, ModelError, TextDelta
from kairos.testing import (
    Cut,
    Delay,
    Duplicate,
    End,
    FakeProviders,
    Filter,
    Garbage,
    NoUsage,
    Refuse,
    Stall,
    Status,
    StreamError,
    Swap,
    Truncate,
)
from provider_faults import HARMLESS, MODES, REFUSED, WORDS, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

# What breaks while the answer comes; (…, whether text came before).
BROKEN: list[tuple[str, Any, str, bool]] = [
    ("a reset after three events", (WORDS, Cut(after_events=3)), "interrupted", False),
    ("a reset after text", (WORDS, Cut(after_events=6)), "interrupted", True),
    ("a hang-up after text", (WORDS, Cut(after_events=6, reset=False)), "interrupted", True),
    ("a cut in the middle of an event", (WORDS, Cut(after_bytes=1200)), "interrupted", True),
    ("an early end at once", (WORDS, End(1)), "interrupted", False),
    ("an early end after text", (WORDS, End(6)), "interrupted", True),
    ("an end without its last event", (WORDS, End(-1)), "interrupted", True),
    ("a body that stops short", (WORDS, Truncate(1000)), "interrupted", True),
    ("garbage at first", (WORDS, Garbage(at=0)), "malformed", False),
    ("garbage later", (WORDS, Garbage(at=5)), "malformed", True),
    ("bytes that are no text", (WORDS, Garbage(at=5, data="\x00")), "malformed", True),
    ("an array in place of an event", (WORDS, Garbage(at=5, data="[1]")), "malformed", True),
    ("a number in place of an event", (WORDS, Garbage(at=5, data="3")), "malformed", True),
    ("overloaded at first", (WORDS, StreamError(at=0)), "overloaded", False),
    ("overloaded later", (WORDS, StreamError(at=6)), "overloaded", True),
    ("an error of the server", (WORDS, StreamError(at=6, type="api_error")), "server", True),
    ("a limit within", (WORDS, StreamError(at=2, type="rate_limit_error")), "rate_limited", False),
    ("an error unheard of", (WORDS, StreamError(at=6, type="new_error")), "server", True),
]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProviders]:
    with FakeProviders() as one:
        yield one


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch, fake: FakeProviders) -> None:
    fake.clear()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-only-for-tests")


def adapter(fake: FakeProviders, **options: Any) -> ClaudeAdapter:
    return ClaudeAdapter(
        model="claude-sonnet-5-5", base_url=fake.url, allow_localhost=True, **options
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[0])
def test_what_is_refused_is_told_by_its_kind_and_asked_once(
    fake: FakeProviders, case: tuple[str, Any, str, int | None], mode: str
) -> None:
    _, given, kind, status = case
    fake.reply(given)

    *before, error = ask(adapter(fake), mode)

    assert isinstance(error, ModelError)
    assert (error.kind, error.status, error.emitted) == (kind, status, False)
    assert before == []
    assert fake.count() == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case[0])
def test_an_answer_that_breaks_off_is_a_failure_and_never_part_of_a_success(
    fake: FakeProviders, case: tuple[str, Any, str, bool], mode: str
) -> None:
    _, given, kind, text = case
    fake.reply(given)

    *before, error = ask(adapter(fake), mode)

    assert isinstance(error, ModelError)
    assert (error.kind, error.emitted) == (kind, text)
    assert not any(isinstance(one, Finished) for one in before)
    if mode.startswith("stream"):
        came = "".join(one.text for one in before if isinstance(one, TextDelta))
        assert bool(came) is text
        assert WORDS.startswith(came)
    assert fake.count() == 1
    assert WORDS[:8] not in str(error)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", HARMLESS, ids=lambda case: case[0])
def test_what_a_client_has_to_live_with_changes_nothing(
    fake: FakeProviders, case: tuple[str, Any], mode: str
) -> None:
    fake.reply((WORDS, case[1]))

    *_, last = ask(adapter(fake), mode)

    assert isinstance(last, Finished)
    assert last.response.text == WORDS
    assert last.response.usage.output_tokens > 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("given", [(WORDS, Delay(5)), (WORDS, Stall(5, at=5))])
def test_a_provider_that_falls_silent_is_waited_for_no_longer_than_was_said(
    fake: FakeProviders, given: Any, mode: str
) -> None:
    fake.reply(given)

    *_, error = ask(adapter(fake, timeout=0.3), mode)

    assert isinstance(error, ModelError)
    assert error.kind == "timeout"
    assert error.retryable


@pytest.mark.parametrize("mode", MODES)
def test_a_provider_that_is_not_there_is_a_failed_connection(
    fake: FakeProviders, mode: str
) -> None:
    with FakeProviders() as gone:
        model = adapter(gone)

    *_, error = ask(model, mode)

    assert isinstance(error, ModelError)
    assert (error.kind, error.retryable) == ("connection", True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "given, kind", [(Refuse(), "refused"), (Filter(), "refused"), (Filter(prompt=True), "filtered")]
)
def test_a_refusal_is_told_as_one_and_not_worth_another_try(
    fake: FakeProviders, given: Any, kind: str, mode: str
) -> None:
    fake.reply(given)

    *_, error = ask(adapter(fake), mode)

    assert isinstance(error, ModelError)
    assert (error.kind, error.retryable) == (kind, False)
    assert fake.count() == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_reply_that_says_nothing_of_its_usage_is_still_a_reply(
    fake: FakeProviders, mode: str
) -> None:
    fake.reply((WORDS, NoUsage()))

    *_, last = ask(adapter(fake), mode)

    assert isinstance(last, Finished)
    assert last.response.text == WORDS


@pytest.mark.parametrize("mode", MODES)
def test_max_tokens_cut_plain_text_and_say_so(fake: FakeProviders, mode: str) -> None:
    fake.reply(WORDS, stop="length")

    *_, last = ask(adapter(fake), mode)

    assert isinstance(last, Finished)
    assert last.response.stop == "length"


@pytest.mark.parametrize("mode", MODES)
def test_max_tokens_that_cut_a_structured_answer_are_a_failure(
    fake: FakeProviders, mode: str
) -> None:
    fake.reply('{"a": "b', stop="length")
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}

    *_, error = ask(adapter(fake), mode, output=schema)

    assert isinstance(error, ModelError)
    assert (error.kind, error.retryable) == ("cut_off", False)
    assert error.usage is not None
    assert error.usage.output_tokens > 0


@pytest.mark.parametrize("said, seconds", [(7, 7.0), ("soon", None), ("-1", None), ("inf", None)])
def test_retry_after_is_passed_on_where_it_can_be_understood(
    fake: FakeProviders, said: Any, seconds: float | None
) -> None:
    fake.reply(Status(429, retry_after=said))

    (error,) = ask(adapter(fake), "call")

    assert error.retry_after == seconds


def test_retry_after_in_milliseconds_goes_first(fake: FakeProviders) -> None:
    fake.reply(Status(429, retry_after=7, retry_after_ms=1500))

    (error,) = ask(adapter(fake), "call")

    assert error.retry_after == 1.5


@pytest.mark.parametrize("given", [Duplicate(3), Swap(2)])
@pytest.mark.parametrize("mode", MODES)
def test_events_out_of_order_never_hang(fake: FakeProviders, given: Any, mode: str) -> None:
    fake.reply((WORDS, given))

    assert ask(adapter(fake), mode)
