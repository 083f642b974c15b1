"""Real calls are recorded without a secret, and replayed without a server or a key."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from kairos import ConfigError, Step, Workflow
from kairos.adapters.claude import claude
from kairos.exceptions import SecurityError
from kairos.testing import Body, CallTool, FakeProviders, Gzip, Say, Status, cassette
from kairos.testing.scrubbing import clean_body, clean_headers, clean_url, keys_in
from sdk_calls import APIS, MODES, call

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("vcr")
pytest.importorskip("anthropic")
pytest.importorskip("openai")
pytest.importorskip("google.genai")

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY", "GOOGLE_API_KEY")
SECRET = "hunter2-hunter2-hunter2"


@pytest.fixture(autouse=True)
def _no_key_and_no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KEYS, "GEMINI_API_KEY", "CI"):
        monkeypatch.delenv(name, raising=False)


def record(
    path: Path,
    *replies: Any,
    api: str = "anthropic",
    mode: str = "plain",
    prompt: str = "hi",
    anew: bool = False,
) -> Any:
    with FakeProviders() as fake:
        fake.script(*replies)
        with cassette(path, record="all" if anew else "once"):
            return call(fake.url, api, mode, prompt=prompt)


def ask_for_what_is_not_there(path: Path, api: str, mode: str) -> None:
    with cassette(path):
        error = call("http://127.0.0.1:9", api, mode, prompt="something else").error
        assert error is not None
        raise error


def fail_after_a_call(path: Path) -> None:
    with FakeProviders() as fake, cassette(path):
        call(fake.url, "anthropic")
        raise ZeroDivisionError


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_what_was_recorded_is_replayed_with_the_server_down(
    tmp_path: Path, api: str, mode: str, suffix: str
) -> None:
    path = tmp_path / "deep" / f"call.{suffix}"
    with FakeProviders() as fake:
        fake.reply("Grüße", CallTool("t", {"a": 1}))
        with cassette(path) as tape:
            recorded = call(fake.url, api, mode)
        assert (tape.recording, len(tape), tape.played) == (True, 1, 0)
        with fake.down(), cassette(path) as tape:
            replayed = call(fake.url, api, mode)
        assert fake.count() == 1

    assert recorded.error is None
    assert replayed.error is None
    assert (tape.recording, tape.played) == (False, 1)
    for name in ("text", "calls", "stop", "usage", "ended"):
        assert getattr(replayed, name) == getattr(recorded, name)


@pytest.mark.parametrize("mode", ["plain", "stream"])
def test_several_calls_are_told_apart_by_what_they_ask(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "call.yaml"
    with FakeProviders() as fake:
        with cassette(path):
            for prompt in ("one", "two", "one"):
                call(fake.url, "anthropic", mode, prompt=prompt)
        with fake.down(), cassette(path):
            said = [call(fake.url, "anthropic", mode, prompt=one) for one in ("two", "one", "one")]

    assert ["".join(one.text) for one in said] == ["echo: two", "echo: one", "echo: one"]


def test_errors_and_compressed_replies_are_replayed_too(tmp_path: Path) -> None:
    path = tmp_path / "call.yaml"
    with FakeProviders() as fake:
        fake.script(Status(429, retry_after=3), ("x", Gzip()))
        with cassette(path):
            call(fake.url, "anthropic", prompt="a")
            call(fake.url, "anthropic", prompt="b")
        with fake.down(), cassette(path):
            failed: Any = call(fake.url, "anthropic", prompt="a").error
            zipped = call(fake.url, "anthropic", prompt="b")

    assert failed.status_code == 429
    assert failed.response.headers["retry-after"] == "3"
    assert zipped.text == ["x"]


def test_another_port_of_this_machine_is_the_same_place(tmp_path: Path) -> None:
    path = tmp_path / "call.yaml"
    record(path, "recorded")

    with cassette(path):
        assert call("http://127.0.0.1:9", "anthropic").text == ["recorded"]


# --- what is not written


@pytest.mark.parametrize("api", APIS)
def test_no_key_and_no_identity_is_in_the_file(
    tmp_path: Path, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import anthropic
    import openai
    from google import genai

    path = tmp_path / "call.yaml"
    with FakeProviders() as fake, cassette(path):
        if api == "anthropic":
            with anthropic.Anthropic(api_key=SECRET, base_url=fake.url) as client:
                client.messages.create(
                    model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
                )
        elif api == "gemini":
            options: Any = {"base_url": fake.url}
            with genai.Client(api_key=SECRET, http_options=options) as google:
                google.models.generate_content(model="m", contents="hi")
        else:
            with openai.OpenAI(
                api_key=SECRET,
                base_url=f"{fake.url}/v1",
                organization="org-secretcompany",
                project="proj_secretproject",
            ) as other:
                other.responses.create(model="m", input="hi")

    written = path.read_text(encoding="utf-8")
    assert "hi" in written
    for secret in (SECRET, "org-secretcompany", "secretproject", "org-fake", "req_fake",
                   "00000000-0000-4000", "uthorization", "x-api-key", "x-goog"):  # fmt: skip
        assert secret not in written


@pytest.mark.parametrize(
    "leak",
    [
        SECRET,
        f"the key is {SECRET}.",
        "".join(f"{letter}" for letter in SECRET),
        f'"{SECRET}"',
    ],
)
@pytest.mark.parametrize("mode", ["plain", "stream"])
def test_a_file_that_would_hold_a_key_of_the_environment_is_not_written(
    tmp_path: Path, leak: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_SERVICE_API_KEY", SECRET)
    path = tmp_path / "call.yaml"

    with pytest.raises(SecurityError) as caught:
        record(path, leak, mode=mode)

    assert "SOME_SERVICE_API_KEY" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_that_holds_a_key_of_the_environment_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    path = tmp_path / "call.yaml"

    with pytest.raises(SecurityError):
        record(path, api="openai.responses", prompt=f"my key: {SECRET}")

    assert not path.exists()


def test_a_refused_file_leaves_the_one_before_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "call.yaml"
    record(path, "fine")
    before = path.read_bytes()
    monkeypatch.setenv("MY_TOKEN", SECRET)

    with pytest.raises(SecurityError):
        record(path, SECRET, anew=True)

    assert path.read_bytes() == before


def test_credentials_in_bodies_are_masked_and_the_request_is_known_again(tmp_path: Path) -> None:
    key = "sk-ant-api03-" + "a1B2c3D4" * 8
    path = tmp_path / "call.yaml"
    with FakeProviders() as fake:
        fake.reply(f"your key is {key}")
        with cassette(path):
            call(fake.url, "anthropic", prompt=f"use {key}")
        with fake.down(), cassette(path):
            said = call(fake.url, "anthropic", prompt=f"use {key}")

    assert key not in path.read_text(encoding="utf-8")
    assert "[REDACTED]" in "".join(said.text)


# --- when it is used wrongly


def test_without_a_file_there_is_nothing_to_replay(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="no cassette call"),
        cassette(tmp_path / "call.yaml", record="none"),
    ):
        pass


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_in_ci_nothing_is_recorded(
    tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", value)

    with pytest.raises(ConfigError, match="CI"), cassette(tmp_path / "call.yaml"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("mode", MODES)
def test_a_request_that_is_not_in_the_file_is_an_error_that_says_so(
    tmp_path: Path, api: str, mode: str
) -> None:
    path = tmp_path / "call.yaml"
    record(path, "x", api=api, mode=mode)

    with pytest.raises(ConfigError) as caught:
        ask_for_what_is_not_there(path, api, mode)

    assert "call.yaml" in str(caught.value)
    assert "record='all'" in str(caught.value)
    assert "something else" not in str(caught.value)


def test_an_answer_is_given_once(tmp_path: Path) -> None:
    path = tmp_path / "call.yaml"
    record(path, "x")

    def asks_twice() -> None:
        with cassette(path):
            assert call("http://127.0.0.1:9", "anthropic").error is None
            assert call("http://127.0.0.1:9", "anthropic").error is not None

    with pytest.raises(ConfigError, match="further"):
        asks_twice()


@pytest.mark.parametrize("asks", ["run", "run_async"])
def test_a_workflow_that_asks_for_what_is_not_in_the_file_cannot_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asks: str
) -> None:
    path, other = tmp_path / "call.yaml", {"topic": "ants"}
    with FakeProviders() as fake:
        for name, value in fake.environ().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("KAIROS_ALLOW_LOCALHOST", "1")
        workflow = Workflow("w", [Step("a", claude("About {topic}"), retries=0)])
        with cassette(path, record="all"):
            assert workflow.run({"topic": "bees"}).output == "echo: About bees"
    with cassette(path) as tape:
        assert workflow.run({"topic": "bees"}).output == "echo: About bees"
    assert tape.played == 1

    with pytest.raises(ConfigError, match="further"), cassette(path):
        workflow.run(other) if asks == "run" else asyncio.run(workflow.run_async(other))


def test_what_is_not_asked_for_stays_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "call.yaml"
    record(path, "x")
    before = path.read_bytes()

    with cassette(path):
        pass

    assert path.read_bytes() == before


@pytest.mark.parametrize("before", ["", "old", "{"])
def test_all_records_anew_and_drops_what_was_there(tmp_path: Path, before: str) -> None:
    path = tmp_path / "call.yaml"
    record(path, before)
    if before == "{":
        path.write_text("{", encoding="utf-8")

    record(path, "new", prompt="other", anew=True)

    with cassette(path) as tape:
        assert len(tape) == 1
        assert call("http://127.0.0.1:9", "anthropic", prompt="other").text == ["new"]


@pytest.mark.parametrize(
    "content", ["{", "interactions: 7", "[]", "!!python/object:os.system {}", "null", "\x00"]
)
def test_a_file_that_is_no_cassette_is_said_to_be_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "call.yaml"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(ConfigError, match="cannot be read"), cassette(path):
        pass
    assert path.read_text(encoding="utf-8") == content


@pytest.mark.parametrize("path, record", [("x.txt", "once"), ("x", "once"), ("x.yaml", "maybe")])
def test_a_wrong_name_or_mode_is_refused(tmp_path: Path, path: str, record: Any) -> None:
    with pytest.raises(ConfigError), cassette(tmp_path / path, record=record):
        pass


def test_an_error_of_the_test_itself_stays_what_it_is_and_the_calls_are_kept(
    tmp_path: Path,
) -> None:
    path = tmp_path / "call.yaml"

    with pytest.raises(ZeroDivisionError):
        fail_after_a_call(path)

    assert path.exists()


def test_while_a_file_is_replayed_missing_keys_have_a_placeholder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "call.yaml"
    record(path, "x")
    monkeypatch.setenv("GEMINI_API_KEY", "mine")

    with cassette(path):
        assert os.environ["ANTHROPIC_API_KEY"] == "replayed"
        assert os.environ["OPENAI_API_KEY"] == "replayed"
        assert "GOOGLE_API_KEY" not in os.environ

    assert not set(KEYS) & os.environ.keys()


# --- scrubbing


@pytest.mark.parametrize(
    "url, clean",
    [
        ("https://u:p@x.test/a?key=1&alt=sse#f", "https://x.test/a?key=%5BREDACTED%5D&alt=sse"),
        ("https://x.test/a?api_key=&access_token=2", "https://x.test/a?api_key=%5BREDACTED%5D&access_token=%5BREDACTED%5D"),
        ("https://x.test/a", "https://x.test/a"),
    ],
)  # fmt: skip
def test_an_address_keeps_neither_user_nor_key(url: str, clean: str) -> None:
    assert clean_url(url) == clean


def test_of_headers_only_a_few_are_kept() -> None:
    given = {
        "Content-Type": ["a"],
        "X-New-Secret": ["b"],
        "Set-Cookie": ["c"],
        "Retry-After": ["1"],
    }

    assert clean_headers(given) == {"content-type": ["a"], "retry-after": ["1"]}


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"",
        b"\xff\x00",
        b"plain",
        json.dumps({"text": "Grüße \u2028 data: x"}, ensure_ascii=False).encode(),
        b'data: {"a": "b"}\n\ndata: [DONE]\n\n',
        b'event: x\r\ndata: {"a":   1}\r\n\r\n',
        'data: {"a": "\u2028 \x85 x"}\n\n'.encode(),
    ],
)
def test_a_body_without_a_secret_stays_as_it_is(body: bytes | None) -> None:
    assert clean_body(body) == body


def test_ids_are_masked_in_json_and_in_streams() -> None:
    body = b'{"request_id": "abc", "m": "in organization org-abcdef123 on req_0123456789"}'
    stream = b'event: e\ndata: {"request_id": "abc"}\n\ndata: [DONE]\n'

    assert clean_body(body) == (
        b'{"request_id": "[REDACTED]", "m": "in organization [REDACTED] on [REDACTED]"}'
    )
    assert clean_body(stream) == (b'event: e\ndata: {"request_id": "[REDACTED]"}\n\ndata: [DONE]\n')


@pytest.mark.parametrize(
    "text",
    [
        "p@ss w\\rd/1+2",
        "p%40ss%20w%5Crd%2F1%2B2",
        "p@ss w\\\\rd/1+2",
        "cEBzcyB3XHJkLzErMg==",
        "p@ss\n  w\\\\rd/1+2",
        'data: {"delta": {"text": "p@ss w"}}\n\ndata: {"delta": {"text": "\\\\rd/1+2"}}\n',
    ],
)
def test_a_key_is_found_however_it_is_written(text: str) -> None:
    assert keys_in([text], {"MINE": "p@ss w\\rd/1+2"}) == ["MINE"]
    assert keys_in([text], {"OTHER": "something else"}) == []


def test_html_and_empty_bodies_can_be_recorded(tmp_path: Path) -> None:
    path = tmp_path / "call.yaml"
    with FakeProviders() as fake:
        fake.script(Body("<html>", content_type="text/html"), Body(""), Say("x"))
        with cassette(path):
            for prompt in "abc":
                call(fake.url, "anthropic", prompt=prompt)
        with fake.down(), cassette(path) as tape:
            assert call(fake.url, "anthropic", prompt="a").raw == ["<html>"]
            assert call(fake.url, "anthropic", prompt="b").error is not None
            assert call(fake.url, "anthropic", prompt="c").text == ["x"]
    assert tape.played == 3
