"""OpenAI by its real SDK over loopback: what is sent, what comes back, every way to fail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from kairos.adapters.openai_adapter import CHAT, RESPONSES, OpenAIAdapter, openai_adapter
from kairos.exceptions import ConfigError, SecurityError
from kairos.models import (
    Document,
    Finished,
    Image,
    Message,
    ModelError,
    ModelResponse,
    Reasoning,
    ReasoningDelta,
    Text,
    TextDelta,
    TokenUsage,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    ToolResult,
    ToolSpec,
    UsageSeen,
)
from kairos.testing import (
    Body,
    CallTool,
    Duplicate,
    FakeProviders,
    Filter,
    Garbage,
    Refuse,
    Status,
    StreamError,
    Swap,
    Think,
)
from provider_faults import MODES, WORDS, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk-proj-never-to-be-seen-anywhere-0123456789"
MODEL = "gpt-4.1"
APIS = ("chat", "responses")
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


def adapter(api: Any = "chat", model: str = MODEL, **options: Any) -> OpenAIAdapter:
    return OpenAIAdapter(model=model, api=api, **{"allow_localhost": True, **options})


def answer(events: list[Any]) -> ModelResponse:
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1].response


def sent(fake: FakeProviders) -> Any:
    (received,) = fake.requests
    assert received.refused is None
    return received.body


# --- failing


@every_mode
@pytest.mark.parametrize(
    "given, kind",
    [(Refuse(), "refused"), (Filter(), "filtered"), (Filter(prompt=True), "filtered")],
)
@every_api
def test_a_refusal_is_told_as_one_and_not_worth_another_try(
    fake: FakeProviders, api: str, given: Any, kind: str, mode: str
) -> None:
    fake.reply(given)

    *_, error = ask(adapter(api), mode)

    assert isinstance(error, ModelError)
    assert (error.kind, error.retryable) == (kind, False)
    assert fake.count() == 1


@pytest.mark.parametrize(
    "given, kind, retryable",
    [
        (Status(429, type="insufficient_quota"), "forbidden", False),
        (Body('{"error": {"code": "request_too_large", "message": "m"}}', 400),
         "too_large", False),
        (Body('{"error": {"code": "content_filter", "message": "m"}}', 400), "filtered", False),
        (Body('{"error": {"code": 7, "message": null}}', 400), "bad_request", False),
        (Body('{"error": "a text and no object"}', 500), "server", True),
        (Body("[1, 2]", 500), "server", True),
    ],
)  # fmt: skip
@every_api
def test_an_error_is_told_by_its_code_where_the_status_does_not_tell(
    fake: FakeProviders, api: str, given: Any, kind: str, retryable: bool
) -> None:
    fake.reply(given)

    (error,) = ask(adapter(api), "call")

    assert isinstance(error, ModelError)
    assert (error.kind, error.retryable) == (kind, retryable)


@pytest.mark.parametrize("code, kind", [(502, "server"), (429, "rate_limited"), ("x", "server")])
def test_an_error_that_a_router_puts_beside_the_choices_is_one(
    fake: FakeProviders, code: Any, kind: str
) -> None:
    choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
    event = {"error": {"code": code, "message": "m"}, "choices": [choice]}
    fake.reply(WORDS, Garbage(4, json.dumps(event)))

    (error,) = ask(adapter(), "call")

    assert isinstance(error, ModelError)
    assert error.kind == kind


# --- answering


@every_mode
@every_api
def test_an_answer_is_told_with_all_that_is_known_of_it(
    fake: FakeProviders, api: str, mode: str
) -> None:
    usage = TokenUsage(100, 50, 150, cached_tokens=40, cache_write_tokens=10, reasoning_tokens=20)
    fake.reply(Think("so"), "yes", usage=usage)

    events = ask(adapter(api), mode)

    response = answer(events)
    assert response.text == "yes"
    assert response.model == MODEL
    assert response.latency_ms > 0
    assert response.metadata["id"]
    found = response.usage
    assert (found.input_tokens, found.output_tokens, found.total_tokens) == (100, 50, 150)
    assert (found.cached_tokens, found.cache_write_tokens, found.reasoning_tokens) == (40, 10, 20)
    assert [type(part) for part in response.parts] == [Reasoning, Text]
    if mode.startswith("stream"):
        assert any(isinstance(one, ReasoningDelta) for one in events)
        assert any(isinstance(one, UsageSeen) for one in events)


@pytest.mark.parametrize(
    "stop, told", [("length", "length"), ("end", "end"), ("never_heard_of", "end")]
)
def test_why_it_stopped_is_told(fake: FakeProviders, stop: str, told: str) -> None:
    fake.reply("as far as", stop=stop)

    assert adapter().call("hi").stop == told


# --- tools

WEATHER = ToolSpec(
    "weather",
    "Tell the weather.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


@every_mode
@every_api
def test_several_tools_are_called_in_one_turn_and_told_apart(
    fake: FakeProviders, api: str, mode: str
) -> None:
    fake.reply(
        CallTool("weather", {"city": "Rom"}, "call_a"),
        CallTool("weather", {"city": "Oslo"}, "call_b"),
    )

    events = ask(adapter(api), mode, tools=[WEATHER])

    response = answer(events)
    assert response.stop == "tools"
    assert [(one.id, one.name, json.loads(one.arguments)) for one in response.tool_calls] == [
        ("call_a", "weather", {"city": "Rom"}),
        ("call_b", "weather", {"city": "Oslo"}),
    ]
    if mode.startswith("stream"):
        started = [one for one in events if isinstance(one, ToolCallStarted)]
        assert [(one.call, one.id) for one in started] == [(0, "call_a"), (1, "call_b")]
        told = [one for one in events if isinstance(one, ToolCallDelta) and one.call == 1]
        assert json.loads("".join(one.arguments for one in told)) == {"city": "Oslo"}


@every_api
def test_results_go_back_to_their_calls(fake: FakeProviders, api: str) -> None:
    messages = [
        Message("user", (Text("weather?"),)),
        Message(
            "assistant",
            (
                Text("let me see"),
                ToolCall("call_a", "weather", '{"city": "Rom"}'),
                ToolCall("call_b", "weather", '{"city": "Oslo"}'),
            ),
        ),
        Message(
            "tool",
            (
                ToolResult("call_a", "weather", "sunny"),
                ToolResult("call_b", "weather", "no such city", failed=True),
            ),
        ),
    ]

    reply = adapter(api).call("and?", messages=messages, tools=[WEATHER])

    assert reply.text == "The tool answered: Error: no such city"
    body = sent(fake)
    if api == "chat":
        roles = [one["role"] for one in body["messages"]]
        assert roles == ["user", "assistant", "tool", "tool", "user"]
    else:
        kinds = [one.get("type") or one["role"] for one in body["input"]]
        call, result = ["function_call"] * 2, ["function_call_output"] * 2
        assert kinds == ["user", "assistant", *call, *result, "user"]


# --- asking


def test_a_request_is_sent_as_it_was_said(fake: FakeProviders) -> None:
    adapter(system="Be brief.").call(
        "hi",
        max_tokens=77,
        temperature=0.5,
        stop=["END", "STOP"],
        seed=7,
        top_p=0.9,
        user="u1",
        logit_bias={"5": 1},
    )

    body = sent(fake)
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    told = ("max_tokens", "temperature", "stop", "seed", "top_p", "user", "logit_bias")
    assert [body[name] for name in told] == [77, 0.5, ["END", "STOP"], 7, 0.9, "u1", {"5": 1}]
    assert "max_completion_tokens" not in body


def test_a_bound_is_always_sent_under_the_name_that_the_server_knows(
    fake: FakeProviders,
) -> None:
    import openai

    class Completions:
        def create(self, **given: Any) -> Any:
            seen.append(given)
            return type("Stream", (), {"close": None, "response": None, "__iter__": None})()

    seen: list[dict[str, Any]] = []
    for url in ("https://api.openai.com/v1", "https://openrouter.ai/api/v1"):
        with openai.OpenAI(api_key="k", base_url=url) as client:
            client.chat.completions = Completions()  # type: ignore[assignment, misc]
            CHAT.open(client, {"max_completion_tokens": 5}, 1.0)

    assert [sorted(one) for one in seen] == [
        ["max_completion_tokens", "timeout"],
        ["max_tokens", "timeout"],
    ]


@every_api
def test_images_and_documents_are_sent_as_they_are(fake: FakeProviders, api: str) -> None:
    adapter(api).call(
        "look",
        images=[Image("image/png", b"PNG"), Image("image/png", url="https://x.test/a.png")],
        documents=[
            Document("application/pdf", b"%PDF", name="a.pdf"),
            Document("text/plain", b"plain words"),
        ],
    )

    body = sent(fake)
    (message,) = body["messages" if api == "chat" else "input"]
    assert message["content"] == _ATTACHED[api]


_ATTACHED = {
    "chat": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,UE5H"}},
        {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
        },
        {"type": "text", "text": "plain words"},
        {"type": "text", "text": "look"},
    ],
    "responses": [
        {"type": "input_image", "image_url": "data:image/png;base64,UE5H", "detail": "auto"},
        {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "auto"},
        {
            "type": "input_file",
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,JVBERg==",
        },
        {"type": "input_text", "text": "plain words"},
        {"type": "input_text", "text": "look"},
    ],
}


def test_a_document_behind_a_url_is_refused_where_nobody_would_fetch_it(
    fake: FakeProviders,
) -> None:
    with pytest.raises(ConfigError, match="no document by its URL"):
        adapter().call("look", documents=[Document("application/pdf", url="https://x.test/a.pdf")])

    assert fake.count() == 0


@pytest.mark.parametrize(
    "model, options",
    [
        ("o3", {"temperature": 0.5}),
        ("o4-mini", {"top_p": 0.5}),
        ("gpt-5", {"temperature": 0.0}),
        ("gpt-5-mini", {"stop": "x"}),
        ("gpt-5.2", {"temperature": 0.5, "reasoning_effort": "low"}),
        ("gpt-5.6-luna", {"temperature": 0.5}),
        ("gpt-6-sol", {"logprobs": True}),
    ],
)
def test_what_a_model_does_not_take_is_refused_by_name(
    fake: FakeProviders, model: str, options: dict[str, Any]
) -> None:
    name = next(iter(options))

    with pytest.raises(ConfigError, match=f"{model} takes no {name}"):
        adapter(model=model).call("hi", **options)
    with pytest.raises(ConfigError, match=f"{model} takes no {name}"):
        openai_adapter("hi", model=model, **options)

    assert fake.count() == 0


@pytest.mark.parametrize(
    "model, options",
    [
        ("gpt-5.2", {"temperature": 0.5}),
        ("gpt-5.1", {"temperature": 0.5, "reasoning_effort": "none"}),
        ("gpt-5-chat-latest", {"temperature": 0.5}),
        ("gpt-4o", {"temperature": 0.5, "stop": "x"}),
        ("llama3.2", {"temperature": 0.5}),
        ("openai/o3", {"reasoning_effort": "high"}),
    ],
)
def test_what_a_model_takes_is_sent(
    fake: FakeProviders, model: str, options: dict[str, Any]
) -> None:
    adapter(model=model).call("hi", **options)

    assert options.items() <= {**sent(fake), "stop": options.get("stop")}.items()


@pytest.mark.parametrize(
    "options, says",
    [
        ({"api_key": KEY}, "no key in the program"),
        ({"extra_headers": {"Authorization": KEY}}, "no key in the program"),
        ({"temprature": 1}, "no option 'temprature'"),
        ({"n": 2}, "does not take 'n'"),
        ({"response_format": {}}, "does not take 'response_format'"),
        ({"top_p": "much"}, "takes no str as 'top_p'"),
    ],
)
def test_an_option_that_cannot_be_sent_is_refused_by_name(
    options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        OpenAIAdapter(model=MODEL, **options)

    assert KEY not in str(caught.value)


# --- Responses


@every_mode
def test_what_a_model_thought_goes_back_sealed(fake: FakeProviders, mode: str) -> None:
    fake.reply(
        Think("first", seal="c2VhbC1vbmU="),
        CallTool("weather", {"city": "Rom"}, "call_a"),
        Think("second", seal="c2VhbC10d28="),
        CallTool("weather", {"city": "Oslo"}, "call_b"),
    )
    model = adapter("responses", model="gpt-5.4")

    response = answer(ask(model, mode, tools=[WEATHER]))

    thoughts = [part for part in response.parts if isinstance(part, Reasoning)]
    assert thoughts == [
        Reasoning("first", "c2VhbC1vbmU=", "openai"),
        Reasoning("second", "c2VhbC10d28=", "openai"),
    ]
    results = Message(
        "tool", tuple(ToolResult(one.id, one.name, "sun") for one in response.tool_calls)
    )
    foreign = Message("assistant", (Reasoning("x", "sealed by another", "anthropic"), Text("y")))
    model.call("so?", messages=[*_asked("hi"), response.message, results, foreign])
    first, second = fake.requests
    assert first.body["include"] == ["reasoning.encrypted_content"]
    assert first.body["store"] is False
    assert second.refused is None
    sealed = [one for one in second.body["input"] if one.get("type") == "reasoning"]
    assert [one["encrypted_content"] for one in sealed] == ["c2VhbC1vbmU=", "c2VhbC10d28="]
    assert "sealed by another" not in json.dumps(second.body)


def _asked(words: str) -> list[Message]:
    return [Message("user", (Text(words),))]


def test_responses_are_asked_in_their_own_words(fake: FakeProviders) -> None:
    adapter("responses", system="Be brief.").call(
        "hi", max_tokens=77, temperature=0.5, verbosity="low", store=True, metadata={"a": "b"}
    )

    body = sent(fake)
    assert body["instructions"] == "Be brief."
    assert body["input"] == [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]
    told = ("max_output_tokens", "temperature", "text", "store", "metadata")
    assert [body[name] for name in told] == [77, 0.5, {"verbosity": "low"}, True, {"a": "b"}]
    assert "include" not in body


def test_effort_is_said_alike_on_both_sides(fake: FakeProviders) -> None:
    for api in APIS:
        adapter(api, model="gpt-5.4").call("hi", reasoning_effort="low")

    chat, responses = fake.requests
    assert chat.body["reasoning_effort"] == "low"
    assert responses.body["reasoning"] == {"effort": "low"}


@pytest.mark.parametrize(
    "options, says",
    [
        ({"stop": "x"}, "take no stop"),
        ({"seed": 0}, "take no seed"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"previous_response_id": 7}, "previous_response_id"),
        ({"frequency_penalty": 1}, "no option 'frequency_penalty'"),
        ({"background": True}, "does not take 'background'"),
    ],
)
def test_what_responses_do_not_take_is_refused_by_name(
    fake: FakeProviders, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        adapter("responses").call("hi", **options)

    assert fake.count() == 0


@every_mode
@pytest.mark.parametrize("stop, told", [("length", "length"), ("filtered", None)])
def test_an_incomplete_response_says_why(
    fake: FakeProviders, stop: str, told: str | None, mode: str
) -> None:
    fake.reply(WORDS, stop=stop)

    *_, last = ask(adapter("responses"), mode)

    if told:
        assert answer([last]).stop == told
    else:
        assert isinstance(last, ModelError)
        assert last.kind == "filtered"


@every_mode
@pytest.mark.parametrize("given", [Duplicate(6), Swap(6), StreamError(6, "response.failed")])
def test_pieces_that_are_not_the_whole_are_seen(fake: FakeProviders, given: Any, mode: str) -> None:
    fake.reply(WORDS, given)

    *_, error = ask(adapter("responses"), mode)

    assert isinstance(error, ModelError)
    assert error.kind == ("server" if isinstance(given, StreamError) else "malformed")


# --- where it goes


@pytest.mark.parametrize(
    "address, base_url, path",
    [
        (None, None, "responses"),
        ("https://gateway.test/v1", None, "chat"),
        (None, "https://openrouter.ai/api/v1", "chat"),
        ("https://gateway.test/v1", "https://eu.api.openai.com/v1", "responses"),
    ],
)
def test_openai_itself_is_asked_by_responses_and_others_by_chat(
    monkeypatch: pytest.MonkeyPatch, address: str | None, base_url: str | None, path: str
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    if address:
        monkeypatch.setenv("OPENAI_BASE_URL", address)

    model = OpenAIAdapter(model=MODEL, base_url=base_url)

    assert model.vendor is {"chat": CHAT, "responses": RESPONSES}[path]
    assert model.provider == "openai"


def test_an_api_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="no such API"):
        OpenAIAdapter(model=MODEL, api="completions")  # type: ignore[arg-type]


def test_a_server_on_this_machine_needs_no_key(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    local = OpenAIAdapter(model="llama3.2", base_url=f"{fake.url}/v1", allow_localhost=True)

    assert local.call("hi").text == "echo: hi"

    with pytest.raises(ConfigError, match="no key for OpenAI"):
        OpenAIAdapter(model="llama", base_url="https://openrouter.ai/api/v1").call("hi")


def test_plain_http_goes_nowhere_but_to_this_machine(fake: FakeProviders) -> None:
    with pytest.raises(SecurityError, match="plain http"):
        OpenAIAdapter(model=MODEL, base_url="http://vllm.internal:8000/v1", allow_localhost=True)
    with pytest.raises(SecurityError, match="plain http"):
        OpenAIAdapter(model=MODEL, base_url=f"{fake.url}/v1")

    assert fake.count() == 0


def test_a_missing_key_is_told_before_any_request(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "  ")
    monkeypatch.delenv("OPENAI_BASE_URL")

    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        adapter().call("hi")


# --- the contract


def wanted_format(body: dict[str, Any]) -> Any:
    if "response_format" in body:
        return body["response_format"]["json_schema"]
    return body["text"]["format"]


STRICT = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 1}, "s": {"type": "string", "minLength": 2}},
    "required": ["n", "s"],
    "additionalProperties": False,
}


@every_mode
@every_api
def test_a_schema_is_sent_as_the_providers_own(fake: FakeProviders, api: str, mode: str) -> None:
    response = answer(ask(adapter(api), mode, output=STRICT))

    assert json.loads(response.text)["n"] == 1
    wanted = wanted_format(sent(fake))
    assert wanted["strict"] is True
    assert wanted["schema"]["properties"]["n"] == {"type": "integer", "minimum": 1}
    assert "minLength" not in wanted["schema"]["properties"]["s"]
    assert any("minLength" in one for one in response.metadata["warnings"])


@every_api
@pytest.mark.parametrize(
    "model, schema",
    [
        ("gpt-4-turbo", STRICT),
        (MODEL, {"type": "object", "properties": {"n": {"type": "integer"}}, "required": []}),
        (MODEL, {"type": "object", "additionalProperties": {"type": "integer"}}),
    ],
)
@every_mode
def test_a_schema_that_it_cannot_take_is_asked_for_as_the_arguments_of_a_tool(
    fake: FakeProviders, api: str, model: str, schema: dict[str, Any], mode: str
) -> None:
    events = ask(adapter(api, model=model), mode, output=schema)

    response = answer(events)
    assert response.stop == "end"
    assert isinstance(json.loads(response.text), dict)
    assert not response.tool_calls
    body = sent(fake)
    choice = body["tool_choice"]
    assert choice.get("function", choice)["name"] == "answer"
    assert "response_format" not in body
    assert "text" not in body
    if mode.startswith("stream"):
        came = "".join(one.text for one in events if isinstance(one, TextDelta))
        assert came == response.text


@every_api
def test_a_structured_answer_that_is_cut_off_is_no_answer(fake: FakeProviders, api: str) -> None:
    fake.reply('{"n": 1, "s', stop="length")

    (error,) = ask(adapter(api), "call", output=STRICT)

    assert isinstance(error, ModelError)
    assert (error.kind, error.retryable) == ("cut_off", False)


@every_api
def test_a_reference_with_words_beside_it_is_one_that_the_provider_takes(
    fake: FakeProviders, api: str
) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A", "description": "the first"}},
        "required": ["a"],
        "additionalProperties": False,
        "$defs": {"A": {"type": "string"}},
    }

    answer(ask(adapter(api), "stream", output=schema))

    wanted = wanted_format(sent(fake))["schema"]
    assert wanted["properties"]["a"]["anyOf"] == [{"$ref": "#/$defs/A"}]


def test_it_is_a_step_action_that_hears_the_contract(fake: FakeProviders) -> None:
    from kairos import Schema, Step, Workflow

    steps = [
        Step("review", openai_adapter("Review {topic}", model=MODEL, allow_localhost=True)),
        Step(
            "report",
            openai_adapter("Write a report on: {review}", model=MODEL, allow_localhost=True),
            output_contract=Schema({"title": str, "score": float}),
        ),
    ]

    result = Workflow("w", steps).run({"topic": "cats"})

    assert result.step_results["review"].output == "echo: Review cats"
    assert sorted(result.step_results["report"].output) == ["score", "title"]
    assert fake.requests[1].body["response_format"]["type"] == "json_schema"
    assert KEY not in repr(result.to_dict()) + repr(result.events)
