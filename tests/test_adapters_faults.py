"""Every fault, by each provider's real SDK: what is raised, how often it was asked, what came."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from kairos.adapters.wire import bounded, bounded_async
from kairos.models import Finished, ModelError, ModelResponse, TextDelta, TokenUsage
from kairos.testing import (
    Delay,
    Duplicate,
    FakeProviders,
    Filter,
    NoUsage,
    Refuse,
    Stall,
    Status,
    Swap,
)
from provider_faults import (
    APIS,
    BROKEN,
    HARMLESS,
    MODES,
    REFUSED,
    WORDS,
    Broken,
    Refused,
    adapter,
    ask,
    over,
)
from raw_servers import HEAD, Drip, Kept, Raw, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

KEY = "sk-never-to-be-seen-anywhere-0123456789"
SHORT = 0.4
every_api = pytest.mark.parametrize("api", APIS)
every_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeProviders]:
    with FakeProviders() as one:
        yield one


@pytest.fixture
def fake(server: FakeProviders, monkeypatch: pytest.MonkeyPatch) -> FakeProviders:
    server.clear()
    for name, value in server.environ(KEY).items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.setenv(name, KEY)


def failed(events: list[Any]) -> ModelError:
    assert isinstance(events[-1], ModelError), events[-1]
    return events[-1]


def answer(events: list[Any]) -> ModelResponse:
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1].response


# --- before anything of an answer has come


@every_mode
@pytest.mark.parametrize("api, case", over(REFUSED), ids=str)
def test_what_is_refused_is_told_by_its_kind_and_asked_once(
    fake: FakeProviders, api: str, case: Refused, mode: str
) -> None:
    fake.reply(case.given)

    *before, error = ask(adapter(api), mode)

    assert isinstance(error, ModelError)
    kind = case.unlike.get(api, case.kind)
    assert (error.kind, error.status, error.emitted) == (kind, case.status, False)
    assert before == []
    assert fake.count() == 1


@every_mode
@every_api
def test_a_provider_that_is_not_there_is_a_failed_connection(
    monkeypatch: pytest.MonkeyPatch, api: str, mode: str
) -> None:
    with FakeProviders() as gone:
        for name, value in gone.environ(KEY).items():
            monkeypatch.setenv(name, value)

    error = failed(ask(adapter(api), mode))

    assert (error.kind, error.retryable) == ("connection", True)


@every_mode
@every_api
@pytest.mark.parametrize(
    "url", ["https://nowhere.invalid", "http://[::1]:1", "https://127.0.0.1:1"]
)
@pytest.mark.usefixtures("keys")
def test_an_address_that_leads_nowhere_is_a_failed_connection(
    url: str, api: str, mode: str
) -> None:
    error = failed(ask(adapter(api, base_url=url), mode))

    assert (error.kind, error.retryable, error.usage) == ("connection", True, None)


HEADS = (
    ("a reset within the headers", Raw(HEAD + b"x-more: ", reset=True), "connection"),
    ("an end within the headers", Raw(HEAD + b"x-more: "), "connection"),
    ("no HTTP", Raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "connection"),
    ("nothing of use", Raw(b"\x00\xff" * 100), "connection"),
    ("a header without a name", Raw(HEAD + b": x\r\n\r\n"), "connection"),
    ("headers without end", Raw(HEAD + b"x: " + b"x" * 1_000_000), "connection"),
    ("two lengths", Raw(HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n"), "connection"),
    ("a length that is none", Raw(HEAD + b"content-length: -1\r\n\r\n"), "connection"),
)
BODIES = (
    ("a chunk without a size", b"transfer-encoding: chunked\r\n\r\nzz\r\nabc", "connection"),
    (
        "a trailer of garbage",
        b"transfer-encoding: chunked\r\n\r\n0\r\n\xff\xfe\r\n\r\n",
        "connection",
    ),
    ("less than its length", b"content-length: 100\r\n\r\n: x\n\n", "connection"),
    ("gzip that is none", b"content-encoding: gzip\r\n\r\n: x\n\n", "malformed"),
)


@every_mode
@every_api
@pytest.mark.parametrize(
    "what, kind",
    [
        *(pytest.param(raw, kind, id=name) for name, raw, kind in HEADS),
        *(pytest.param(Raw(HEAD + more), kind, id=name) for name, more, kind in BODIES),
    ],
)
@pytest.mark.usefixtures("keys")
def test_what_is_no_http_is_a_failure_that_may_pass(
    what: Raw, kind: str, api: str, mode: str
) -> None:
    with serving(what) as raw:
        error = failed(ask(adapter(api, base_url=raw.url), mode))

    assert (error.kind, error.retryable, error.emitted) == (kind, True, False)
    assert len(raw.requests) == 1


@every_mode
@every_api
@pytest.mark.usefixtures("keys")
def test_a_server_without_tls_is_a_failed_connection_that_never_sees_the_key(
    api: str, mode: str
) -> None:
    with serving(Raw(HEAD + b"\r\n")) as raw:
        url = raw.url.replace("http:", "https:")
        error = failed(ask(adapter(api, base_url=url, timeout=5.0), mode))

    assert (error.kind, error.retryable) == ("connection", True)
    assert KEY.encode() not in b"".join(raw.requests)


@every_mode
@every_api
@pytest.mark.parametrize("code", [301, 302, 307, 308])
@pytest.mark.usefixtures("keys")
def test_a_redirect_is_not_followed_with_the_key(api: str, mode: str, code: int) -> None:
    with serving(Raw(HEAD + b"\r\n")) as other:
        head = f"HTTP/1.1 {code} Moved\r\nlocation: {other.url}/\r\ncontent-length: 0\r\n\r\n"
        with serving(Raw(head.encode())) as raw:
            error = failed(ask(adapter(api, base_url=raw.url), mode))

    assert (error.kind, error.status) == ("bad_request", code)
    assert (len(raw.requests), other.requests) == (1, [])


@every_mode
@every_api
@pytest.mark.usefixtures("keys")
def test_the_proxy_of_the_environment_is_asked_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, api: str, mode: str
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(Raw(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        # a client is made once for a place, and keeps to the proxy that there was then
        place = f"{api}-{mode.replace('_', '-')}.example.org"
        error = failed(ask(adapter(api, base_url=f"https://{place}"), mode))

    assert error.kind == "connection"
    (asked,) = proxy.requests
    assert asked.startswith(f"CONNECT {place}:443".encode())
    assert KEY.encode() not in asked


@every_mode
@every_api
@pytest.mark.usefixtures("keys")
def test_ipv6_is_a_way_to_this_machine(api: str, mode: str) -> None:
    if not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")
    with serving(Raw(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"), "::1") as raw:
        error = failed(ask(adapter(api, base_url=raw.url), mode))

    assert (error.kind, error.status) == ("not_found", 404)


# --- while it comes


@every_mode
@pytest.mark.parametrize("api, case", over(BROKEN), ids=str)
def test_an_answer_that_breaks_off_is_a_failure_and_never_part_of_a_success(
    fake: FakeProviders, api: str, case: Broken, mode: str
) -> None:
    fake.reply(case.given)

    *before, error = ask(adapter(api), mode)

    assert isinstance(error, ModelError)
    assert (error.kind, error.emitted) == (case.kind, case.text)
    assert not any(isinstance(one, Finished) for one in before)
    if mode.startswith("stream"):
        came = "".join(one.text for one in before if isinstance(one, TextDelta))
        assert bool(came) is case.text
        assert len(came) < 2 * len(WORDS)
    assert fake.count() == 1
    assert WORDS[:8] not in str(error)


@every_mode
@every_api
@pytest.mark.parametrize("case", HARMLESS, ids=lambda case: case[0])
def test_what_a_client_has_to_live_with_changes_nothing(
    fake: FakeProviders, api: str, case: tuple[str, Any], mode: str
) -> None:
    fake.reply((WORDS, case[1]))

    response = answer(ask(adapter(api), mode))

    assert response.text == WORDS
    assert response.usage.output_tokens > 0
    assert response.usage.estimated is False


@every_mode
@every_api
@pytest.mark.parametrize("given", [Duplicate(3), Swap(2)])
def test_events_out_of_order_never_hang(
    fake: FakeProviders, api: str, given: Any, mode: str
) -> None:
    fake.reply((WORDS, given))

    assert ask(adapter(api), mode)


# --- time

SLOW = (
    ("headers that drip", Drip(HEAD + b"x-slow: ", b"x")),
    ("comments now and then", Drip(HEAD + b"\r\n", b": keep-alive\n\n")),
    ("a line that drips", Drip(HEAD + b"\r\ndata: ", b"x")),
    ("drops, then silence", Drip(HEAD + b"\r\n", b": keep-alive\n\n", 5)),
    ("chunks of nothing much", Drip(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n\n\r\n")),
    ("an error that drips", Drip(b"HTTP/1.1 500 No\r\n\r\n", b"x")),
)


@every_mode
@every_api
@pytest.mark.parametrize("what", [pytest.param(drip, id=name) for name, drip in SLOW])
@pytest.mark.usefixtures("keys")
def test_a_call_ends_in_time_while_the_server_still_drips(what: Drip, api: str, mode: str) -> None:
    with serving(what) as raw:
        error = failed(ask(adapter(api, base_url=raw.url, timeout=SHORT), mode))
        assert not raw.over.is_set()

    assert (error.kind, error.retryable) == ("timeout", True)
    assert len(raw.requests) == 1


@every_mode
@every_api
@pytest.mark.parametrize("given", [(WORDS, Delay(60)), (WORDS, Stall(60, at=6))])
def test_a_provider_that_falls_silent_is_waited_for_no_longer_than_was_said(
    fake: FakeProviders, api: str, given: Any, mode: str
) -> None:
    fake.reply(given)

    error = failed(ask(adapter(api, timeout=SHORT), mode))

    assert (error.kind, error.retryable) == ("timeout", True)


_CHOICE = b'{"choices": [{"index": 0, "delta": {"content": "yes"}, "finish_reason": "stop"}]}'
_WHOLE = b"data: " + _CHOICE + b"\n\ndata: [DONE]\n\n"


@every_mode
@pytest.mark.usefixtures("keys")
def test_an_answer_that_is_whole_is_not_waited_for(mode: str) -> None:
    with serving(Drip(HEAD + b"\r\n" + _WHOLE, b": and more\n\n")) as raw:
        response = answer(ask(adapter("chat", base_url=raw.url, timeout=60.0), mode))
        assert not raw.over.is_set()

    assert response.text == "yes"


@pytest.mark.usefixtures("keys")
def test_a_connection_serves_one_call_after_the_other() -> None:
    length = f"content-length: {len(_WHOLE)}\r\n\r\n".encode()
    with serving(Kept(HEAD + length + _WHOLE)) as raw:
        model = adapter("chat", base_url=raw.url)

        async def twice() -> None:
            for _ in range(2):
                assert (await model.call_async("hi")).text == "yes"

        assert [model.call("hi").text for _ in range(3)] == ["yes"] * 3
        assert raw.connections == 1
        asyncio.run(twice())

    assert (len(raw.requests), raw.connections) == (5, 2)


@every_api
def test_who_stops_listening_ends_the_call(fake: FakeProviders, api: str) -> None:
    fake.reply((WORDS, Stall(3600, at=6)))
    model = adapter(api)

    events = model.stream(model.request("hi"))
    first = next(one for one in events if isinstance(one, TextDelta))
    events.close()

    assert WORDS.startswith(first.text)
    assert model.call("again").text == "echo: again"


@every_api
def test_who_stops_listening_on_a_loop_ends_the_call(fake: FakeProviders, api: str) -> None:
    fake.reply((WORDS, Stall(3600, at=6)))
    model = adapter(api)

    async def first_text() -> str:
        async with contextlib.aclosing(model.stream_async(model.request("hi"))) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    return event.text
        return ""

    assert WORDS.startswith(asyncio.run(first_text()))


# --- length


def test_an_answer_has_an_end() -> None:
    from kairos.adapters.vendor import Malformed

    def endless(_: int | None) -> Iterator[bytes]:
        while True:
            yield b"x" * 1_000

    async def endless_async(_: int | None) -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1_000

    async def read() -> None:
        async for chunk in bounded_async(endless_async, 10_000)():
            came.append(chunk)  # noqa: PERF401 - what came before the end is kept

    came: list[bytes] = []
    with pytest.raises(Malformed):
        came.extend(bounded(endless, 10_000)())
    with pytest.raises(Malformed):
        asyncio.run(read())
    assert sum(map(len, came)) == 20_000


def bomb(line: bytes) -> bytes:
    """Return what unpacks to gigabytes, and cannot be told from an answer before."""
    packing = zlib.compressobj(9)
    unit = line * (2**20 // len(line))
    first, again = (packing.compress(unit) + packing.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * 4_000


# the short lines are read to the bound on the whole, the long one to that on a line
@pytest.mark.parametrize("api, mode, line", [
    *((api, "call", b"x" * 1024) for api in APIS),
    *((api, "stream_async", b"x" * 1024) for api in APIS),
    ("gemini", "call", b":" + b"x" * 1022 + b"\n"),
    ("gemini", "call_async", b":" + b"x" * 1022 + b"\n"),
])  # fmt: skip
@pytest.mark.usefixtures("keys")
def test_what_unpacks_to_more_than_any_answer_is_read_no_further(
    api: str, mode: str, line: bytes
) -> None:
    with serving(Raw(HEAD + b"content-encoding: deflate\r\n\r\n" + bomb(line))) as raw:
        error = failed(ask(adapter(api, base_url=raw.url), mode))

    assert (error.kind, error.retryable) == ("malformed", True)


# --- answers that are none, or not as they should be


@every_mode
@every_api
@pytest.mark.parametrize("given", [Refuse(), Filter(), Filter(prompt=True)])
def test_a_refusal_is_told_as_one_and_not_worth_another_try(
    fake: FakeProviders, api: str, given: Any, mode: str
) -> None:
    fake.reply(given)

    error = failed(ask(adapter(api), mode))

    assert error.kind in ("refused", "filtered")
    assert error.retryable is False
    assert fake.count() == 1


@every_mode
@every_api
def test_max_tokens_cut_plain_text_and_say_so(fake: FakeProviders, api: str, mode: str) -> None:
    fake.reply(WORDS, stop="length")

    assert answer(ask(adapter(api), mode)).stop == "length"


@every_mode
@every_api
def test_max_tokens_that_cut_a_structured_answer_are_a_failure(
    fake: FakeProviders, api: str, mode: str
) -> None:
    fake.reply('{"a": "b', stop="length")
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}

    error = failed(ask(adapter(api), mode, output=schema))

    assert (error.kind, error.retryable) == ("cut_off", False)
    assert error.usage is not None
    assert error.usage.output_tokens > 0


@every_mode
@every_api
def test_what_nobody_counted_is_estimated_and_says_so(
    fake: FakeProviders, api: str, mode: str
) -> None:
    fake.reply((WORDS, NoUsage()))

    response = answer(ask(adapter(api), mode))

    assert response.text == WORDS
    assert response.usage.estimated is True
    assert response.usage.input_tokens > 0
    assert response.usage.output_tokens > 0
    assert response.usage.estimated_cost_usd is None


@every_api
def test_what_a_refused_call_consumed_is_counted(fake: FakeProviders, api: str) -> None:
    fake.reply(Refuse("no"), usage=TokenUsage(30, 5, 35))

    error = failed(ask(adapter(api), "call"))

    assert error.usage is not None
    assert error.usage.total_tokens == 35


@every_api
@pytest.mark.parametrize(
    "options, seconds",
    [
        ({"retry_after": 7}, 7.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after_ms": 1500}, 1.5),
        ({"retry_after": 7, "retry_after_ms": 1500}, 1.5),
    ],
)
def test_retry_after_is_passed_on_where_it_can_be_understood(
    monkeypatch: pytest.MonkeyPatch, api: str, options: dict[str, Any], seconds: float | None
) -> None:
    with FakeProviders() as fresh:  # everybody waits at the gate of one that was asked too often
        for name, value in fresh.environ(KEY).items():
            monkeypatch.setenv(name, value)
        fresh.reply(Status(429, **options))

        assert failed(ask(adapter(api), "call")).retry_after == seconds


# --- the key


@every_mode
@every_api
def test_neither_the_key_nor_the_providers_words_are_in_a_failure(
    fake: FakeProviders, api: str, mode: str
) -> None:
    fake.reply(Status(401, f"Incorrect API key provided: {KEY}. You said: PRIVATE-PROMPT"))
    model = adapter(api)

    error = failed(ask(model, mode, "PRIVATE-PROMPT"))

    told = f"{error!s} {error!r} {error.__cause__!r} {vars(error)!r}"
    assert KEY not in told
    assert "PRIVATE" not in told
    assert KEY not in repr(model) + repr(vars(model))
    assert KEY not in repr(fake.requests)
    header = "x-goog-api-key" if api == "gemini" else "authorization"
    assert fake.requests[0].key_header == header
    assert KEY not in repr(fake.requests[0].query)


@every_mode
@every_api
def test_no_log_holds_the_key(
    fake: FakeProviders, api: str, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    caplog.set_level(logging.DEBUG)

    ask(adapter(api), mode)

    assert fake.count() == 1
    assert KEY not in caplog.text
