"""What may be said of a call, where its key comes from, and that the key goes nowhere else."""

from __future__ import annotations

import importlib
import io
import logging
from typing import TYPE_CHECKING, Any

import pytest

from kairos import Step, Workflow
from kairos.adapters.base import sdk
from kairos.adapters.claude import VENDOR, ClaudeAdapter, claude
from kairos.adapters.clients import _clients
from kairos.adapters.gemini import gemini
from kairos.adapters.openai_adapter import openai_adapter
from kairos.adapters.prompted import Prompted
from kairos.adapters.vendor import Connection
from kairos.exceptions import ConfigError, SecurityError
from kairos.logger import ConsoleSink, LogLevel, RunLogger
from kairos.models import Image, ModelError, ToolSpec
from kairos.testing import FakeProviders, Status, StreamError
from provider_faults import APIS, adapter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sk-ant-api03-" + "Zq9" * 20


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProviders]:
    with FakeProviders() as one:
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        yield one


@pytest.mark.parametrize(
    "options, said",
    [
        ({"temprature": 1}, "temperature"),
        ({"no_such_thing": 1}, "no_such_thing"),
        ({"seed": 3}, "seed"),
        ({"temperature": 0.3}, "temperature"),
        ({"top_p": 0.3}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"stop": [""]}, "stop"),
        ({"stop": [3]}, "stop"),
        ({"system": 3}, "system"),
        ({"images": [3]}, "image"),
        ({"images": ["no-such-file.png"]}, "no-such-file.png"),
        ({"images": "a.png"}, "images"),
        ({"messages": [3]}, "message"),
        ({"messages": [{"role": "system", "content": "x"}]}, "system"),
        ({"tools": [3]}, "ToolSpec"),
        ({"schema_fallback": "maybe"}, "schema_fallback"),
        ({"model": ""}, "model"),
        ({"api_key": KEY}, "ANTHROPIC_API_KEY"),
        ({"auth_token": KEY}, "ANTHROPIC_API_KEY"),
        ({"extra_headers": {"X-Api-Key": KEY}}, "ANTHROPIC_API_KEY"),
    ],
)
def test_an_option_is_sent_or_refused_by_its_name(options: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        claude("Hello", **options)

    assert said in str(caught.value)
    assert KEY not in str(caught.value)
    assert caught.value.where is None or "test_adapters_options" in str(caught.value.where)


MEANINGLESS: list[tuple[dict[str, Any], str]] = [
    ({"prices": {}}, "'prices'"),
    ({"limits": 3}, "'limits'"),
    ({"limits": 0}, "'limits'"),
    ({"allow_localhost": "no"}, "'allow_localhost'"),
    ({"base_url": 3}, "base_url is no address"),
    ({"base_url": f"https://example.org/v1?key={KEY}"}, "base_url ends in a query"),
    ({"base_url": "https://example.org/#x"}, "base_url ends in a query"),
    ({"timeout": 1e10}, "'timeout'"),
    ({"timeout": float("inf")}, "'timeout'"),
    ({"model": "a\nb"}, "no model of such a name"),
    ({"model": "../files?x#y"}, "no model of such a name"),
    ({"model": 3}, "no model without a name"),
    ({"images": [Image("image/png", b"")]}, "image is none"),
    ({"images": [Image("", b"png")]}, "image is none"),
    ({"images": ["http://example.org/a.png"]}, "image is not fetched"),
    ({"documents": [3]}, "document"),
    ({"extra_headers": {"x": 1}}, "'extra_headers'"),
    ({"extra_headers": {"x": "a\r\nb: c"}}, "'extra_headers'"),
    ({"extra_body": {"x": object()}}, "'extra_body'"),
    ({"extra_body": {"api_key": KEY}}, "no key in the program"),
    ({"tools": [ToolSpec("a", "", {}), ToolSpec("a", "", {})]}, "two tools are called 'a'"),
]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("options, said", MEANINGLESS)
def test_what_means_nothing_is_refused_by_every_provider_where_it_is_written(
    api: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Prompted("Hello", adapter(api, **options))

    assert said in caught.value.message
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("prompt", ["", " \n\t"])
def test_a_prompt_that_asks_nothing_is_refused_where_nothing_else_does(
    api: str, prompt: str
) -> None:
    with pytest.raises(ConfigError, match="asked nothing"):
        Prompted(prompt, adapter(api))

    said = [{"role": "user", "content": "Hello"}]
    assert Prompted(prompt, adapter(api, messages=said)).template.names == ()


CIRCULAR: dict[str, Any] = {"type": "object"}
CIRCULAR["properties"] = CIRCULAR


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "prompt, output, said",
    [
        (3, None, "is no text"),
        (["Hello"], None, "is no text"),
        ("Hello", "x", "no schema as output"),
        ("Hello", [], "no schema as output"),
        ("Hello", {}, "no schema as output"),
        ("Hello", {"type": "array"}, "no schema as output"),
        ("Hello", {"type": "object", "x": object()}, "no schema as output"),
        ("Hello", CIRCULAR, "no schema as output"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_any_request(
    fake: FakeProviders, api: str, prompt: Any, output: Any, said: str
) -> None:
    model = adapter(api, base_url=fake.url)

    with pytest.raises(ConfigError, match=said):
        model.call(prompt, output=output)

    assert fake.count() == 0


@pytest.mark.parametrize("api", ["claude", "chat", "responses"])
def test_what_is_no_text_is_not_asked_again(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    for name, value in fake.environ(KEY).items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ModelError) as caught:
        adapter(api).call("half of a pair: \ud800")

    assert (caught.value.kind, caught.value.retryable) == ("bad_request", False)
    assert fake.count() == 0


def test_an_option_of_one_call_is_refused_before_any_request(fake: FakeProviders) -> None:
    model = ClaudeAdapter(model="claude-sonnet-5-5", base_url=fake.url, allow_localhost=True)

    for options in ({"temperature": 1}, {"nonsense": 1}, {"key": KEY}):
        with pytest.raises(ConfigError):
            model.call("Hello", **options)
    with pytest.raises(ConfigError, match="asked nothing"):
        model.call("   ")
    assert fake.count() == 0


def test_a_model_that_has_it_takes_a_temperature(fake: FakeProviders) -> None:
    model = ClaudeAdapter(
        model="claude-haiku-4-5", base_url=fake.url, allow_localhost=True, temperature=0.2
    )

    model.call("Hello")
    model.call("Hello", temperature=0.9, extra_body={"inference_geo": "eu"})

    assert [one.body["temperature"] for one in fake.requests] == [0.2, 0.9]
    assert fake.requests[1].body["inference_geo"] == "eu"


def test_none_is_the_providers_default(fake: FakeProviders) -> None:
    model = ClaudeAdapter(
        model="claude-sonnet-5-5", base_url=fake.url, allow_localhost=True, temperature=None
    )

    model.call("Hello", seed=None)

    assert "temperature" not in fake.requests[0].body


def test_an_image_is_read_where_it_is_named(tmp_path: Path, fake: FakeProviders) -> None:
    (tmp_path / "a.png").write_bytes(b"png")
    model = ClaudeAdapter(
        model="claude-sonnet-5-5",
        base_url=fake.url,
        allow_localhost=True,
        images=[tmp_path / "a.png", Image("image/png", b"more")],
    )
    (tmp_path / "a.png").unlink()

    model.call("What is this?")

    kinds = [block["type"] for block in fake.requests[0].body["messages"][0]["content"]]
    assert kinds == ["image", "image", "text"]


@pytest.mark.parametrize(
    "url, error",
    [
        ("http://example.org", SecurityError),
        ("http://localhost.example.org", SecurityError),
        ("http://127.0.0.1.example.org", SecurityError),
        ("http://127.0.0.2", SecurityError),
        ("http://0.0.0.0:80", SecurityError),
        ("http://localhost@example.org", SecurityError),
        ("https://user:pass@example.org", SecurityError),
        ("ftp://localhost", ConfigError),
        ("localhost:80", ConfigError),
        ("http://localhost:port", ConfigError),
        ("https://", ConfigError),
        ("", ConfigError),
        (3, ConfigError),
    ],
)
def test_a_key_is_sent_nowhere_unsafe(
    url: Any, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(error) as caught:
        claude("Hello", base_url=url, allow_localhost=True)
    assert "pass" not in str(caught.value).replace("passed", "")

    if isinstance(url, str) and url:
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        with pytest.raises(error):
            ClaudeAdapter(model="m", allow_localhost=True).call("Hello")


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"])
def test_an_exact_local_host_has_to_be_allowed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAIROS_ALLOW_LOCALHOST", raising=False)
    ClaudeAdapter(model="m", base_url=url, allow_localhost=True)
    with pytest.raises(SecurityError, match="plain http"):
        ClaudeAdapter(model="m", base_url=url)
    monkeypatch.setenv("KAIROS_ALLOW_LOCALHOST", "1")
    ClaudeAdapter(model="m", base_url=url)


@pytest.mark.parametrize("key", ["", "   ", "sk-\u00e9", "sk-a\nb"])
def test_without_a_key_nothing_is_asked(
    fake: FakeProviders, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    model = ClaudeAdapter(model="m", base_url=fake.url, allow_localhost=True)

    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        model.call("Hello")
    assert fake.count() == 0


def test_a_redirect_does_not_carry_the_key_along(fake: FakeProviders) -> None:
    with FakeProviders() as other:
        fake.reply(Status(307, headers={"location": f"{other.url}/v1/messages"}))
        model = ClaudeAdapter(model="m", base_url=fake.url, allow_localhost=True)

        with pytest.raises(ModelError):
            model.call("Hello")

        assert other.count() == 0


@pytest.mark.parametrize(
    "given",
    [
        "fine",
        Status(401, message=f"bad key {KEY}"),
        Status(400, message=f"{KEY}", type=KEY),
        ("some words to say", StreamError(at=3, message=KEY, type=KEY)),
    ],
)
def test_no_key_and_no_word_of_the_provider_is_found_anywhere(
    fake: FakeProviders, given: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.answer(lambda _: given)
    told = io.StringIO()
    events: list[Any] = []

    class Watching:
        def observe(self, event: Any) -> None:
            events.append(event)

    action = claude("About {topic}", base_url=fake.url, allow_localhost=True)
    logger = RunLogger(sinks=[ConsoleSink(stream=told)], verbosity=LogLevel.VERBOSE)
    result = Workflow("w", [Step("a", action, retries=1)], hooks=[logger, Watching()]).run(
        {"topic": "cats"}
    )

    seen = [
        repr(result.to_dict()), str(result.error), repr(result), told.getvalue(), repr(events),
        caplog.text, repr(action), repr(action.adapter), repr(vars(action.adapter)),
        repr(fake.requests), repr([one.body for one in fake.requests]),
    ]  # fmt: skip
    assert events
    for text in seen:
        assert KEY not in text
        assert "bad key" not in text


def test_what_holds_the_key_does_not_show_it() -> None:
    to = Connection(KEY, "https://api.anthropic.com", 3.0)

    assert KEY not in repr(to)
    assert KEY not in repr((to,))


def test_an_error_raised_in_a_call_does_not_lead_back_to_the_sdks(fake: FakeProviders) -> None:
    fake.reply(Status(401, message=f"bad key {KEY}"))
    model = ClaudeAdapter(model="m", base_url=fake.url, allow_localhost=True)

    with pytest.raises(ModelError) as caught:
        model.call("Hello")

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_adapters_that_reach_the_same_place_share_a_client(fake: FakeProviders) -> None:
    for _ in range(3):
        ClaudeAdapter(model="m", base_url=fake.url, allow_localhost=True).call("Hello")

    assert sum(to[1] == fake.url for to in _clients) == 1


def test_a_new_key_is_used_with_the_next_call(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ClaudeAdapter(model="m", base_url=fake.url, allow_localhost=True)
    model.call("Hello")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY[::-1])

    model.call("Hello")

    assert sum(to[1] == fake.url for to in _clients) == 2


def test_every_exception_of_the_sdk_is_told() -> None:
    import inspect

    module: Any = sdk("anthropic", "anthropic")
    kinds = [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, module.AnthropicError)
    ]

    assert len(kinds) > 15
    for kind in kinds:
        error: Any = kind.__new__(kind)
        if issubclass(kind, module.APIStatusError):
            error.status_code = getattr(kind, "status_code", 500)
            error.response = type("Response", (), {"headers": {}})()
            error.type = error.api_message = None
        assert VENDOR.told(module, error) is not None, kind


# -- what stands for nothing else -----------------------------------------------------------------


@pytest.mark.parametrize("provider", ["claude", "openai_adapter", "gemini"])
def test_a_model_need_not_be_named(provider: str) -> None:
    module = importlib.import_module(f"kairos.adapters.{provider}")
    named = {
        "claude": "ClaudeAdapter",
        "openai_adapter": "OpenAIAdapter",
        "gemini": "GeminiAdapter",
    }
    kind = getattr(module, named[provider])
    assert kind().name == getattr(module, provider)("x").adapter.name == kind.default_model


@pytest.mark.parametrize(
    "make, owner",
    [
        (lambda **more: claude("x", model="gpt-4o", **more), "openai"),
        (lambda **more: gemini("x", model="claude-opus-5-5", **more), "anthropic"),
        (lambda **more: openai_adapter("x", model="gemini-3.8-flash", **more), "gemini"),
    ],
)
def test_a_model_of_another_provider_is_refused_at_its_own_address(
    make: Any, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="has no model") as raised:
        make()
    assert f"adapter of {owner}" in str(raised.value.fix)
    make(base_url="https://gateway.example")  # which may have any model
    for name in ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.setenv(name, "https://gateway.example")
    make()


@pytest.mark.parametrize(
    "options, said",
    [
        ({"temperature": 2.5}, "'temperature' of OpenAI is out of range"),
        ({"temperature": float("nan")}, "'temperature' of OpenAI is out of range"),
        ({"images": [__file__]}, "this image is none"),
    ],
)
def test_what_no_model_takes_is_refused_where_it_is_written(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        openai_adapter("x", model="gpt-4.1", **options)
