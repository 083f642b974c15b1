"""The face of the fakes: what is arranged before a test, and what is known after it."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlsplit

from kairos.exceptions import ConfigError
from kairos.models.reply import TokenUsage
from kairos.security import MASK
from kairos.testing.faults import Body, Framing, NoUsage, Status
from kairos.testing.providers import (
    anthropic,
    gemini,
    gemini_checks,
    openai_chat,
    openai_responses,
)
from kairos.testing.providers.dialect import Asked, Dialect, Problem, Said, first_key
from kairos.testing.providers.received import KEY_HEADERS, Received, masked
from kairos.testing.providers.script import Script, natural
from kairos.testing.providers.server import Call, Server
from kairos.testing.providers.wire import Wire, found, of_body, of_problem, of_reply
from kairos.testing.replies import Given, Refuse, Reply, Think, reply_of, tokens_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

__all__ = ["FakeProviders"]

_GEMINI = re.compile(r"/v1(?:beta|alpha)?/models/(?P<model>[^/:]+):(?P<verb>\w+)")
_PATHS = {
    "/v1/messages": anthropic.DIALECT,
    "/v1/chat/completions": openai_chat.DIALECT,
    "/v1/responses": openai_responses.DIALECT,
}
_STREAMS = {"generateContent": False, "streamGenerateContent": True}


class FakeProviders:
    """A local HTTP server that speaks Anthropic Messages, OpenAI chat and Responses, and Gemini.

    ::

        with FakeProviders() as fake:
            fake.reply("Hello", provider="anthropic")
            fake.reply(Status(429, retry_after=1), on=2)
            anthropic.Anthropic(api_key="any", base_url=fake.url)
            openai.OpenAI(api_key="any", base_url=fake.url + "/v1")
            genai.Client(api_key="any", http_options={"base_url": fake.url})

    Without an arranged reply it answers from the request itself: it calls the first tool until a
    result is there, gives a value that satisfies the wanted schema, or echoes the prompt.  What a
    provider would refuse is refused in its own words.  With `models` only those models exist, with
    `keys` only those keys are good; otherwise any are.  When a function that answers raises, the
    call gets a 500, and leaving the block raises the error.
    """

    def __init__(
        self,
        *,
        models: frozenset[str] | set[str] | None = None,
        keys: frozenset[str] | set[str] | None = None,
    ) -> None:
        self._models = _names("models", models)
        self._keys = _names("keys", keys)
        self._script = Script()
        self._server = Server(self._answer, self._finished)
        self._lock = threading.Lock()
        self._requests: list[Received] = []
        self._seen = 0
        self._open = 0
        self._most_open = 0
        self._failure: Exception | None = None
        self._seals: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Start to listen.  Raises ConfigError where it does already."""
        if self._server.listens:
            raise ConfigError(
                "these FakeProviders listen already",
                fix="make others: with FakeProviders() as more",
            )
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the port and every connection; raise what went wrong here meanwhile."""
        self._server.stop()
        if self._failure is not None and error is None:
            raise self._failure

    @property
    def url(self) -> str:
        """Where it listens, without a path: OpenAI's clients want `/v1` behind it.

        Raises ConfigError before it has begun to.
        """
        if not self._server.port:
            raise ConfigError(
                "these FakeProviders do not listen yet", fix="with FakeProviders() as fake: ..."
            )
        return f"http://127.0.0.1:{self._server.port}"

    def environ(self, key: str = "fake-key") -> dict[str, str]:
        """Return the environment variables that lead the SDKs here, keys included."""
        return {
            "ANTHROPIC_API_KEY": key,
            "ANTHROPIC_BASE_URL": self.url,
            "OPENAI_API_KEY": key,
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "GOOGLE_API_KEY": key,
            "GOOGLE_GEMINI_BASE_URL": self.url,
            "NO_PROXY": "127.0.0.1,localhost",
        }

    # --- before

    def reply(
        self,
        *given: Given,
        provider: str | None = None,
        model: str | None = None,
        on: int | None = None,
        stop: str | None = None,
        usage: TokenUsage | None = None,
    ) -> FakeProviders:
        """Arrange one reply, made of texts, contents and faults, and return the fake.

        It is for the next request of that provider and model that nothing else is arranged for,
        or with `on` for exactly the call with that number among them, counted from 1.  Nothing
        given is the answer from the request itself.  Raises ConfigError for what is no reply.
        """
        one = given[0] if len(given) == 1 else given
        if isinstance(one, Reply) and (stop, usage) != (None, None):
            raise ConfigError(
                "a Reply says its own stop and usage", fix="Reply(..., stop=, usage=)"
            )
        self._script.add(reply_of(one, stop=stop, usage=usage), provider, model, on)
        return self

    def script(
        self, *replies: Given, provider: str | None = None, model: str | None = None
    ) -> FakeProviders:
        """Arrange one reply after the other; several contents of one reply stand in a tuple."""
        if len(replies) == 1 and isinstance(replies[0], list):
            raise ConfigError("this is a list of replies", fix="script(*replies)")
        for given in replies:
            self._script.add(reply_of(given), provider, model, None)
        return self

    def answer(
        self,
        function: Callable[[Received], Given | None],
        *,
        provider: str | None = None,
        model: str | None = None,
    ) -> FakeProviders:
        """Have a function answer what no arranged reply does; None leaves it to the next."""
        self._script.answer(function, provider, model)
        return self

    def clear(self) -> None:
        """Forget what was arranged, and what was received."""
        self._script.clear()
        with self._lock:
            self._requests.clear()
            self._seen = 0

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections for a while: the port is closed, and open again behind the block."""
        _ = self.url  # what does not listen cannot stop to
        self._server.stop()
        try:
            yield
        finally:
            self._server.start()

    # --- after

    @property
    def requests(self) -> list[Received]:
        """Everything received, in order, with keys masked."""
        with self._lock:
            return sorted(self._requests, key=lambda one: one.number)

    def count(self, provider: str | None = None, model: str | None = None) -> int:
        """Return how many requests there were, of a provider and for a model."""
        return sum(
            provider in (None, one.provider, one.api) and model in (None, one.model)
            for one in self.requests
        )

    @property
    def left(self) -> int:
        """How many arranged replies nobody has asked for."""
        return self._script.left

    @property
    def most_open(self) -> int:
        """How many requests were being answered at the same time, at most."""
        return self._most_open

    @property
    def hung_up(self) -> int:
        """How many answers a client did not wait for: it closed its connection before their end."""
        return self._server.hung_up

    # --- meanwhile

    def _answer(self, call: Call) -> Wire:
        with self._lock:
            self._seen += 1
            number = self._seen
            self._open += 1
            self._most_open = max(self._most_open, self._open)
        try:
            return self._wire(call, number)
        except Exception as error:  # noqa: BLE001 - in a thread of the server nobody would see it
            self._failure = self._failure or error
            dialect, _ = _dialect(call, urlsplit(call.target).path)
            return of_problem(dialect, Problem(500, "the fake itself failed"), number)

    def _finished(self) -> None:
        with self._lock:
            self._open -= 1

    def _wire(self, call: Call, number: int) -> Wire:
        place = urlsplit(call.target)
        dialect, named = _dialect(call, place.path)
        body = _parsed(call.body)
        problem = _unreadable(dialect, call, place.path, body)
        asked = None
        if problem is None and named is None:
            problem, asked = self._read(dialect, call, place.path, body)
        received = Received(
            number=number,
            api=dialect.name,
            provider=dialect.provider,
            method=call.method,
            path=place.path,
            query={key: MASK if key == "key" else value for key, value in parse_qsl(place.query)},
            headers=masked(call.headers),
            body=body,
            model=asked.model if asked else "",
            stream=asked.stream if asked else False,
            key_header=next((name for name in KEY_HEADERS if call.headers.get(name)), None),
            asked=asked,
            refused=problem.status if problem else None,
        )
        with self._lock:
            self._requests.append(received)
        if problem is None and named is not None:
            return of_body(Body(json.dumps(named(body))), dialect, number, ())
        if problem is not None or asked is None:
            return of_problem(dialect, problem or Problem(404), number)
        wire, said = _reply(dialect, asked, self._script.take(received), number)
        if said is not None and dialect is gemini.DIALECT:
            with self._lock:
                self._seals |= gemini.seals_of(said)
        return wire

    def _read(
        self, dialect: Dialect, call: Call, path: str, body: Any
    ) -> tuple[Problem | None, Asked | None]:
        gemini_path = _GEMINI.fullmatch(path)
        if gemini_path:
            place = {"model": gemini_path["model"], "stream": _STREAMS[gemini_path["verb"]]}
            body = {**gemini_checks.spelled(body), **place}
        try:
            problem = dialect.check(body, call.headers)
            key = first_key(call.headers, *KEY_HEADERS[1:])
            if key and self._keys is not None and key not in self._keys:
                problem = dialect.wrong_key
            if gemini_path and problem is None:
                problem = gemini_checks.unsealed(body, self._seals)
            asked = dialect.read(body) if problem is None else None
        except (AttributeError, KeyError, TypeError, ValueError):
            return Problem(400), None  # a shape that no check expected
        if asked and self._models is not None and asked.model not in self._models:
            return dialect.unknown_model(asked.model), asked
        return problem, asked


def _names(option: str, given: Any) -> frozenset[str] | None:
    if given is None:
        return None
    if isinstance(given, str) or not all(isinstance(one, str) for one in given):
        raise ConfigError(
            f"{option}= of FakeProviders is no set of names", expected=f"{option}={{'...'}}"
        )
    return frozenset(given)


def _reply(
    dialect: Dialect, asked: Asked, reply: Reply | None, number: int
) -> tuple[Wire, Said | None]:
    faults = reply.faults if reply else ()
    status, body = found(faults, Status), found(faults, Body)
    if status is not None:
        after = status.retry_after
        problem = Problem(
            status.code,
            status.message,
            status.type,
            retry_after=after if isinstance(after, int | float) else None,
        )
        return of_problem(dialect, problem, number, faults), None
    if body is not None:
        return of_body(body, dialect, number, faults), None
    whole = natural(asked, reply)
    said = _said(asked, whole, number)
    if said.filtered and said.filtered.prompt and dialect.blocked is not None:
        return of_problem(dialect, dialect.blocked, number, faults), None
    return of_reply(dialect, asked, said, faults), said


def _said(asked: Asked, reply: Reply, number: int) -> Said:
    said = Said(number, reply.contents, reply.stop or "end", reply.usage)
    if reply.stop is None:
        stop = "tools" if said.calls else "refused" if said.refusal else "end"
        said = replace(said, stop="filtered" if said.filtered else stop)
    if found(reply.faults, NoUsage) is not None:
        said = replace(said, usage=None)
    elif reply.usage is None:
        said = replace(said, usage=_counted_usage(asked, said))
    framing = found(reply.faults, Framing)
    return replace(said, delta=framing.delta) if framing else said


def _counted_usage(asked: Asked, said: Said) -> TokenUsage:
    thought = sum(tokens_of(one.text) for one in said.contents if isinstance(one, Think))
    words = said.text + "".join(one.text + one.name for one in said.calls)
    words += "".join(one.text for one in said.contents if isinstance(one, Refuse))
    output = tokens_of(words) + thought
    return TokenUsage(asked.tokens, output, asked.tokens + output, reasoning_tokens=thought)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return body.decode(errors="replace")


def _dialect(call: Call, path: str) -> tuple[Dialect, Callable[[Any], dict[str, Any]] | None]:
    """Return who is meant, and what counts tokens or lists models where that is asked."""
    if path == "/v1/messages/count_tokens":
        return anthropic.DIALECT, lambda body: {"input_tokens": tokens_of(body)}
    place = _GEMINI.fullmatch(path)
    if place and place["verb"] == "countTokens":
        return gemini.DIALECT, lambda body: {"totalTokens": tokens_of(body)}
    if path in _PATHS:
        return _PATHS[path], None
    if place or "x-goog-api-key" in call.headers or "key=" in call.target:
        return gemini.DIALECT, None
    known = "anthropic-version" in call.headers
    return (anthropic.DIALECT if known else openai_chat.DIALECT), None


def _unreadable(dialect: Dialect, call: Call, path: str, body: Any) -> Problem | None:
    place = _GEMINI.fullmatch(path)
    counts = path == "/v1/messages/count_tokens" or (place and place["verb"] == "countTokens")
    if not counts and path not in _PATHS and not (place and place["verb"] in _STREAMS):
        message = f"Invalid URL ({call.method} {path})" if dialect.provider == "openai" else None
        return Problem(404, message)
    if call.method != "POST":
        return Problem(405, f"Not allowed to {call.method} on {path}.", "invalid_request_error")
    if not isinstance(body, dict):
        return Problem(400, "We could not parse the JSON body of your request.")
    return None
