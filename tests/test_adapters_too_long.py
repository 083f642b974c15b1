"""What is longer than a model's context window: a failure of its own, told by every provider."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from kairos.models import ModelError
from kairos.models.prices import context_window
from kairos.testing import Body, FakeProviders, Status, StreamError
from provider_faults import APIS, MODES, adapter, ask

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[FakeProviders]:
    with FakeProviders() as one:
        yield one


@pytest.fixture
def fake(server: FakeProviders, monkeypatch: pytest.MonkeyPatch) -> FakeProviders:
    server.clear()
    for name, value in server.environ().items():
        monkeypatch.setenv(name, value)
    return server


def body(**error: Any) -> Body:
    return Body(json.dumps({"error": error}), 400)


VLLM = "This model's maximum context length is 8192 tokens. However, your request has 9000."
TOO_LONG: list[tuple[str, str, Any]] = [
    ("Claude's words", "claude", Status(400, "prompt is too long: 207791 tokens > 200000 maximum")),
    ("Claude's other words", "claude",
     Status(400, "input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000")),
    ("Claude's, late", "claude",
     StreamError(0, "invalid_request_error", "prompt is too long: 2 tokens > 1 maximum")),
    ("OpenAI's code", "chat", body(code="context_length_exceeded", message="m")),
    ("OpenAI's code again", "responses", body(code="context_length_exceeded", message="m")),
    ("OpenAI's code, late", "responses", StreamError(2, "context_length_exceeded")),
    ("OpenAI's words", "responses",
     body(code=None, message="Your input exceeds the context window of this model.")),
    ("vLLM", "chat", Body(json.dumps({"object": "error", "message": VLLM, "code": 400}), 400)),
    ("vLLM, of late", "chat", body(message=VLLM, type="BadRequestError", code=400)),
    ("a router", "chat", body(message="This endpoint's maximum context length is 9 tokens.")),
    ("llama.cpp", "chat", body(code=400, type="exceed_context_size_error", message="m")),
    ("Gemini", "gemini",
     Status(400, "The input token count (1196265) exceeds the maximum number of tokens allowed"
                 " (1048575).")),
]  # fmt: skip
MERELY_WRONG: list[tuple[str, str, Any]] = [
    *((f"{api}: {said[:9]}", api, Status(400, said))
      for api in APIS
      for said in ("max_tokens: 1000000 > 64000, the maximum of output tokens", "wrong",
                   "x" * 400 + "prompt is too long")),
    ("a message that is none", "chat", body(message=["prompt is too long"])),
    ("no object", "chat", Body('"prompt"', 400)),
]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", TOO_LONG, ids=lambda case: case[0])
def test_what_is_too_long_for_a_model_is_told_as_such_and_not_tried_again(
    fake: FakeProviders, case: tuple[str, str, Any], mode: str
) -> None:
    _, api, given = case
    fake.reply(given)

    *_, error = ask(adapter(api), mode)

    assert isinstance(error, ModelError)
    assert (error.kind, error.retryable) == ("too_long", False)
    assert fake.count() == 1
    assert "context window" in error.message
    assert "207791" not in str(error)


@pytest.mark.parametrize("case", MERELY_WRONG, ids=lambda case: case[0])
def test_what_is_merely_wrong_is_not_taken_for_too_long(
    fake: FakeProviders, case: tuple[str, str, Any]
) -> None:
    _, api, given = case
    fake.reply(given)

    *_, error = ask(adapter(api), "call")

    assert isinstance(error, ModelError)
    assert error.kind == "bad_request"


@pytest.mark.parametrize(
    "provider, model", [("anthropic", "claude-sonnet-4-5"), ("gemini", "gemini-2.5-flash")]
)
def test_how_much_a_model_reads_is_known_where_the_list_knows_it(provider: str, model: str) -> None:
    window = context_window(provider, model)

    assert window is not None
    assert window >= 100_000


def test_how_much_an_unknown_model_reads_is_unknown() -> None:
    assert context_window("openai", "no-such-model") is None
    assert context_window("openai", "gpt-5-mini", base_url="http://localhost:1/v1") is None
    assert adapter("claude").context_window == context_window("anthropic", "claude-sonnet-5-5")
