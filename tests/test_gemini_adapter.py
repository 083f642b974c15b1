"""Gemini by its real SDK over loopback: what is sent, what comes back, every way to fail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from kairos import Schema, Step, Workflow
from kairos.adapters.gemini import GeminiAdapter, gemini
from kairos.exceptions import ConfigError
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
    TokenUsage,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    ToolResult,
    ToolSpec,
)
from kairos.testing import (
    Body,
    CallTool,
    FakeProviders,
    Filter,
    Refuse,
    Status,
    Think,
)
from kairos.testing.providers.gemini_checks import spelled
from provider_faults import MODES, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "AIza-never-to-be-seen-anywhere-0123456789"
MODEL = "gemini-3.8-flash"
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


def adapter(model: str = MODEL, **options: Any) -> GeminiAdapter:
    return GeminiAdapter(model=model, allow_localhost=True, **options)


def answer(events: list[Any]) -> ModelResponse:
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1].response


def sent(fake: FakeProviders) -> Any:
    (received,) = fake.requests
    assert received.refused is None
    return spelled(received.body)


# --- failing


@every_mode
@pytest.mark.parametrize(
    "given, kind",
    [
        (Refuse(), "filtered"),
        (Filter(), "filtered"),
        (Filter(prompt=True), "filtered"),
        *(
            (("so far", reason), kind)
            for reason, kind in (
                ("SAFETY", "filtered"),
                ("RECITATION", "filtered"),
                ("PROHIBITED_CONTENT", "filtered"),
                ("SPII", "filtered"),
                ("MALFORMED_FUNCTION_CALL", "malformed"),
                ("UNEXPECTED_TOOL_CALL", "malformed"),
                ("OTHER", "interrupted"),
                ("MISSING_THOUGHT_SIGNATURE", "bad_request"),
            )
        ),
    ],
)
def test_why_it_stopped_is_a_failure_where_it_is_one(
    fake: FakeProviders, given: Any, kind: str, mode: str
) -> None:
    if isinstance(given, tuple) and not isinstance(given, Refuse | Filter):
        fake.reply(given[0], stop=given[1])
    else:
        fake.reply(given)

    *_, error = ask(adapter(), mode)

    assert isinstance(error, ModelError)
    assert error.kind == kind
    assert error.retryable is (kind in ("malformed", "interrupted"))


@pytest.mark.parametrize(
    "given, seconds",
    [
        (Status(429, retry_after=7), 7.0),
        (Status(429, retry_after="soon"), None),
        (Status(429, retry_after_ms=1500), 1.5),
        (Body('{"error": {"code": 429, "details": [{"@type": "x"}, {"retryDelay": "34s"}]}}', 429),
         34.0),
        (Body('{"error": {"code": 429, "details": [7]}}', 429), None),
    ],
)  # fmt: skip
def test_how_long_to_wait_is_read_from_wherever_it_is_said(
    fake: FakeProviders, given: Any, seconds: float | None
) -> None:
    fake.reply(given)

    (error,) = ask(adapter(), "call")

    assert (error.kind, error.retry_after) == ("rate_limited", seconds)


def test_a_key_that_is_not_accepted_is_told_as_such(fake: FakeProviders) -> None:
    body = {"code": 400, "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}
    fake.reply(Body(json.dumps({"error": body}), 400))

    (error,) = ask(adapter(), "call")

    assert (error.kind, error.status, error.retryable) == ("unauthorized", 400, False)


# --- answering


@every_mode
def test_an_answer_is_told_with_all_that_is_known_of_it(fake: FakeProviders, mode: str) -> None:
    usage = TokenUsage(100, 50, 150, cached_tokens=40, reasoning_tokens=20)
    fake.reply(Think("so", seal=""), "yes", usage=usage)

    events = ask(adapter(), mode)

    response = answer(events)
    assert response.text == "yes"
    assert response.model == MODEL
    assert response.metadata["response_id"]
    found = response.usage
    assert (found.input_tokens, found.output_tokens, found.total_tokens) == (100, 50, 150)
    assert (found.cached_tokens, found.reasoning_tokens) == (40, 20)
    assert found.estimated_cost_usd is None or found.estimated_cost_usd > 0
    assert [type(part) for part in response.parts] == [Reasoning, Text]
    if mode.startswith("stream"):
        assert any(isinstance(one, ReasoningDelta) for one in events)


# --- tools

WEATHER = ToolSpec(
    "weather",
    "Tell the weather.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


@every_mode
def test_calls_and_thoughts_go_back_with_their_signatures(fake: FakeProviders, mode: str) -> None:
    fake.reply(
        Think("first", seal="c2VhbC1vbmU="),
        CallTool("weather", {"city": "Rom"}, "a"),
        CallTool("weather", {"city": "Oslo"}, "b"),
    )
    fake.reply(Think("second", seal="c2VhbC10d28="), "it is fine there")
    model = adapter()

    events = ask(model, mode, tools=[WEATHER])

    response = answer(events)
    assert response.stop == "tools"
    assert response.tool_calls == (
        ToolCall("a", "weather", '{"city": "Rom"}', "c2VhbC1vbmU="),
        ToolCall("b", "weather", '{"city": "Oslo"}'),
    )
    if mode.startswith("stream"):
        started = [one for one in events if isinstance(one, ToolCallStarted)]
        assert [(one.call, one.id) for one in started] == [(0, "a"), (1, "b")]
        told = [one.arguments for one in events if isinstance(one, ToolCallDelta) and one.call]
        assert json.loads("".join(told)) == {"city": "Oslo"}
    results = [
        Message("tool", (ToolResult("a", "weather", "sun"),)),
        Message("tool", (ToolResult("b", "weather", "no such city", failed=True),)),
    ]
    before = [Message("user", (Text("hi"),)), response.message, *results]
    second = model.request("and?", messages=before, tools=[WEATHER])
    said = answer(list(model.stream(second)))
    foreign = Message("assistant", (Reasoning("x", "eA==", "anthropic"), Text("y")))
    model.call("so?", messages=[*second.messages, said.message, foreign], tools=[WEATHER])
    _, then, last = fake.requests
    assert (then.refused, last.refused) == (None, None)
    contents = then.body["contents"]
    assert [one["role"] for one in contents] == ["user", "model", "user", "user"]
    assert [_plain(one) for one in contents[1]["parts"]] == ["c2VhbC1vbmU", ""]
    answers = [part["functionResponse"] for part in contents[2]["parts"]]
    assert [(one["id"], one["name"], one["response"]) for one in answers] == [
        ("a", "weather", {"output": "sun"}),
        ("b", "weather", {"error": "no such city"}),
    ]
    (text,) = last.body["contents"][4]["parts"]
    assert text["text"] == "it is fine there"
    assert _plain(text) == "c2VhbC10d28"
    assert "eA" not in json.dumps(last.body["contents"][5])


def _plain(part: dict[str, Any]) -> str:
    seal: str = part.get("thoughtSignature", "")
    return seal.replace("-", "+").replace("_", "/").rstrip("=")


def test_calls_without_ids_are_told_apart(fake: FakeProviders) -> None:
    call = {"functionCall": {"name": "weather", "args": {"city": "Rom"}}}
    candidate = {"content": {"role": "model", "parts": [call, call]}, "finishReason": "STOP"}
    data = json.dumps({"candidates": [candidate], "responseId": "r1"})
    fake.reply(Body(f"data: {data}\n\n", content_type="text/event-stream"))

    response = adapter().call("hi", tools=[WEATHER])

    assert [one.id for one in response.tool_calls] == ["r1-0", "r1-1"]


# --- asking


def test_a_request_is_sent_as_it_was_said(fake: FakeProviders) -> None:
    adapter(system="Be brief.").call(
        "hi", max_tokens=77, temperature=0.5, stop="END", seed=7, top_p=0.9, top_k=5,
        thinking_config={"thinking_budget": 0},
        extra_body={"generationConfig": {"presencePenalty": 1}},
        extra_headers={"x-note": "seen"},
    )  # fmt: skip

    body = sent(fake)
    config = body["generationConfig"]
    assert body["systemInstruction"]["parts"] == [{"text": "Be brief."}]
    assert body["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    told = ("maxOutputTokens", "temperature", "stopSequences", "seed", "topP", "topK")
    assert [config[name] for name in told] == [77, 0.5, ["END"], 7, 0.9, 5]
    assert config["thinkingConfig"] == {"thinkingBudget": 0}
    assert config["presencePenalty"] == 1
    headers = fake.requests[0].headers
    assert headers["x-note"] == "seen"
    assert headers["x-server-timeout"] == "120"


def test_images_and_documents_are_sent_as_they_are(fake: FakeProviders) -> None:
    adapter().call(
        "look",
        images=[Image("image/png", b"PNG"), Image("image/png", url="https://x.test/a.png")],
        documents=[Document("application/pdf", b"%PDF", name="a.pdf")],
    )

    (message,) = sent(fake)["contents"]
    assert message["parts"] == [
        {"inlineData": {"data": "UE5H", "mimeType": "image/png"}},
        {"fileData": {"fileUri": "https://x.test/a.png", "mimeType": "image/png"}},
        {"inlineData": {"data": "JVBERg==", "mimeType": "application/pdf"}},
        {"text": "look"},
    ]


@pytest.mark.parametrize(
    "options, says",
    [
        ({"api_key": KEY}, "no key in the program"),
        ({"extra_headers": {"X-Goog-Api-Key": KEY}}, "no key in the program"),
        ({"temprature": 1}, "no option 'temprature'"),
        ({"candidate_count": 2}, "does not take 'candidate_count'"),
        ({"response_schema": {}}, "does not take 'response_schema'"),
    ],
)
def test_an_option_that_cannot_be_sent_is_refused_by_name(
    options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        GeminiAdapter(model=MODEL, **options)

    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "keys, wanted",
    [
        ({"GOOGLE_API_KEY": "one", "GEMINI_API_KEY": "two"}, "one"),
        ({"GOOGLE_API_KEY": "", "GEMINI_API_KEY": "two"}, "two"),
    ],
)
def test_the_key_is_googles_and_else_geminis(
    monkeypatch: pytest.MonkeyPatch, keys: dict[str, str], wanted: str
) -> None:
    from kairos.adapters.endpoint import key_of

    for name, value in keys.items():
        monkeypatch.setenv(name, value)

    assert key_of(GeminiAdapter.vendor) == wanted


def test_a_missing_key_is_told_before_any_request(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_API_KEY")
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)

    with pytest.raises(ConfigError, match="GOOGLE_API_KEY or GEMINI_API_KEY"):
        adapter().call("hi")

    assert fake.count() == 0


def test_the_environment_does_not_lead_it_to_another_product_of_google(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_API_KEY", "another-key")

    assert adapter().call("hi").text == "echo: hi"


# --- the contract

SCHEMA = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 1},
        "s": {"type": "string", "minLength": 2},
        "kind": {"const": "a", "type": "string"},
    },
    "required": ["n"],
}


@every_mode
def test_a_schema_is_sent_as_the_providers_own(fake: FakeProviders, mode: str) -> None:
    response = answer(ask(adapter(), mode, output=SCHEMA))

    assert json.loads(response.text)["n"] == 1
    config = sent(fake)["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    properties = config["responseJsonSchema"]["properties"]
    assert properties["n"] == {"type": "integer", "minimum": 1}
    assert properties["kind"] == {"type": "string", "enum": ["a"]}
    assert "minLength" not in properties["s"]
    assert any("minLength" in one for one in response.metadata["warnings"])


@every_mode
def test_a_model_without_schemas_is_asked_for_the_arguments_of_a_tool(
    fake: FakeProviders, mode: str
) -> None:
    events = ask(adapter(model="gemini-1.5-pro"), mode, output=SCHEMA)

    response = answer(events)
    assert response.stop == "end"
    assert json.loads(response.text)["n"] == 1
    body = sent(fake)
    calling = body["toolConfig"]["functionCallingConfig"]
    assert calling == {"mode": "ANY", "allowedFunctionNames": ["answer"]}
    assert "responseJsonSchema" not in body["generationConfig"]


@every_mode
def test_a_structured_answer_that_is_cut_off_is_no_answer(fake: FakeProviders, mode: str) -> None:
    fake.reply('{"n": 1, "s', stop="length")

    *_, error = ask(adapter(), mode, output=SCHEMA)

    assert (error.kind, error.retryable) == ("cut_off", False)


def test_it_is_a_step_action_that_hears_the_contract(fake: FakeProviders) -> None:
    steps = [
        Step("review", gemini("Review {research}", allow_localhost=True)),
        Step(
            "verdict",
            gemini("Judge: {review}", allow_localhost=True),
            output_contract=Schema({"good": bool, "why": str}),
        ),
    ]

    result = Workflow("w", steps).run({"research": "cats"})

    assert result.error is None
    assert result.step_results["review"].output == "echo: Review cats"
    assert sorted(result.step_results["verdict"].output) == ["good", "why"]
    assert KEY not in repr(result.to_dict()) + repr(result.events)
