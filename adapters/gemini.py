"""Gemini, by Google's generateContent."""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.adapters.core import Adapter
from kairos.adapters.gemini_lines import readable, readable_async
from kairos.adapters.gemini_parts import END, Failed, GeminiDecoder, gemini_arguments
from kairos.adapters.options import Option
from kairos.adapters.prompted import Prompted
from kairos.adapters.retry_after import retry_after_of
from kairos.adapters.schemas import Dialect
from kairos.adapters.too_long import says_too_long
from kairos.adapters.vendor import Arguments, Connection, Opened, Told, Vendor
from kairos.adapters.wire import held
from kairos.models.errors import kind_of_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import ModuleType

    from kairos.models.request import Request

__all__ = ["DEFAULT_MODEL", "VENDOR", "GeminiAdapter", "gemini"]

DEFAULT_MODEL = "gemini-3.8-flash"
_NO_SCHEMA = ("gemini-1", "gemini-2.0", "gemini-pro", "gemma")
_NO_SCHEMA_WITH_TOOLS = (*_NO_SCHEMA, "gemini-2")


def _enums(schema: Any) -> Any:
    """Write a constant as the one value of an enum: there is no `const` here."""
    if isinstance(schema, list):
        return [_enums(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _enums(one) for name, one in schema.items()}
    if "const" in made and not isinstance(made["const"], dict):
        made["enum"] = [made.pop("const")]
    return made


_FITTING = Dialect(
    keywords=frozenset(
        {
            "type", "enum", "const", "anyOf", "oneOf", "$ref", "$defs", "description", "title",
            "properties", "required", "additionalProperties", "items", "prefixItems", "format",
            "minItems", "maxItems", "minimum", "maximum",
        }
    ),
    formats=frozenset({"date-time", "date", "time"}),
    closed=False,
    mend=_enums,
)  # fmt: skip


def _native(request: Request, model: str) -> bool:
    return not model.startswith(_NO_SCHEMA_WITH_TOOLS if request.tools else _NO_SCHEMA)


# --- the SDK

_HTTP_OPTIONS = (("extra_headers", "headers"), ("extra_body", "extra_body"))
_LEAST_SECONDS = 10
"""Google refuses a shorter deadline of its own; ours holds all the same."""

_last: ContextVar[Any] = ContextVar("kairos_gemini_response", default=None)
"""The response that was begun last: the SDK keeps it, and does not always close it."""


class _Held(NamedTuple):
    """A client, and the HTTP client under it.  The SDK's closes itself when nobody holds it."""

    client: Any
    http: Any
    is_async: bool

    def __repr__(self) -> str:
        return "_Held()"


def _connect(sdk: ModuleType, to: Connection, is_async: bool) -> Any:  # noqa: FBT001 - as Vendor has it
    import httpx2  # noqa: PLC0415 - the SDK has it loaded

    # clients of our own: its other transport retries by itself, and both follow redirects
    given: dict[str, Any] = {"timeout": to.timeout, "follow_redirects": False}
    plain = held(httpx2.Client(event_hooks={"response": [_begun]}, **given), is_async=False)
    on_loop = held(
        httpx2.AsyncClient(event_hooks={"response": [_begun_async]}, **given), is_async=True
    )
    client = sdk.Client(
        api_key=to.key,
        vertexai=False,
        http_options={
            "base_url": to.base_url,
            "timeout": math.ceil(to.timeout * 1000),
            "headers": {"X-Server-Timeout": str(max(_LEAST_SECONDS, math.ceil(to.timeout)))},
            "httpx_client": plain,
            "httpx_async_client": on_loop,
        },
    )
    return _Held(client, on_loop if is_async else plain, is_async)


def _begun(response: Any) -> None:
    if response.is_success:
        response.iter_bytes = readable(response.iter_bytes)
    _last.set(response)


async def _begun_async(response: Any) -> None:
    if response.is_success:
        response.aiter_bytes = readable_async(response.aiter_bytes)
    _last.set(response)


def _disconnect(held: _Held) -> Any:
    return held.http.aclose() if held.is_async else held.http.close()


def _open(held: _Held, given: Arguments, _timeout: float) -> Any:
    # the client has the timeout of its calls, and each option of a call's own costs it time
    config = given["config"]
    options = {ours: config[theirs] for theirs, ours in _HTTP_OPTIONS if theirs in config}
    if options:
        own = {name: value for name, value in config.items() if name not in dict(_HTTP_OPTIONS)}
        given = {**given, "config": {**own, "http_options": options}}
    if held.is_async:
        return _open_async(held, given)
    _last.set(None)
    stream = held.client.models.generate_content_stream(**given)
    try:
        first = next(stream, END)  # the request is made with the first event, and not before
    except BaseException:
        _close(_last.get())
        raise
    response = _last.get()
    _last.set(None)
    return Opened(_events(held, first, stream), lambda: _close(response))


def _close(response: Any) -> None:
    if response is not None:
        response.close()


async def _open_async(held: _Held, given: dict[str, Any]) -> Opened:
    _last.set(None)
    stream = await held.client.aio.models.generate_content_stream(**given)
    try:
        first = await anext(stream, END)
    except BaseException:
        if (response := _last.get()) is not None:
            await response.aclose()
        raise
    response = _last.get()
    _last.set(None)

    async def close() -> None:
        await stream.aclose()
        if response is not None:
            await response.aclose()

    return Opened(_events_async(held, first, stream), close)


def _events(_held: _Held, first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    came = _says(first)
    if came:
        yield first
    for event in rest:
        if _says(event):
            came = True
            yield event
    if came:
        yield END


async def _events_async(_held: _Held, first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    came = _says(first)
    if came:
        yield first
    async for event in rest:
        if _says(event):
            came = True
            yield event
    if came:
        yield END


def _says(event: Any) -> bool:
    """Tell a chunk from `{}`, which the SDK takes for one."""
    return event is not END and bool(
        event.candidates or event.prompt_feedback or event.usage_metadata or event.response_id
    )


def _told(sdk: ModuleType, error: Any) -> Told | None:
    if isinstance(error, Failed):
        return Told(error.kind)
    if not isinstance(error, sdk.errors.APIError):
        return None
    code = error.code if isinstance(error.code, int) else 500
    if code < 300:  # noqa: PLR2004 - HTTP's own: it did not refuse, and sent nothing either
        return Told("malformed", said="it answered with nothing that is a stream")
    kind = kind_of_status(code)
    if hasattr(error.response, "response_stream"):  # it came within a stream
        return Told(kind)
    details = str(error.details)
    if kind == "bad_request" and "API_KEY_INVALID" in details:
        kind = "unauthorized"  # the one provider that has another status for this
    elif kind == "bad_request" and says_too_long(error.message):
        kind = "too_long"
    wait = retry_after_of(error.response.headers) if error.response is not None else None
    return Told(kind, code, _delay(error.details) if wait is None else wait)


def _delay(details: Any) -> float | None:
    """Return the seconds that the error's body asks to wait: "retryDelay": "7s"."""
    try:
        for one in details["error"]["details"]:
            said = one.get("retryDelay", "")
            if said.endswith("s"):
                return max(float(said[:-1]), 0.0)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return None


_DICT, _NUMBER, _TEXT = (dict,), (int, float), (str,)

VENDOR = Vendor(
    name="gemini",
    title="Gemini",
    module="google.genai",
    extra="gemini",
    keys=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    addresses=("GOOGLE_GEMINI_BASE_URL",),
    home="https://generativelanguage.googleapis.com",
    connect=_connect,
    disconnect=_disconnect,
    arguments=gemini_arguments,
    open=_open,
    decoder=GeminiDecoder,
    told=_told,
    native=_native,
    options={
        "top_p": Option(_NUMBER),
        "top_k": Option(_NUMBER),
        "presence_penalty": Option(_NUMBER),
        "frequency_penalty": Option(_NUMBER),
        "thinking_config": Option(_DICT),
        "safety_settings": Option((list,)),
        "tool_config": Option(_DICT),
        "cached_content": Option(_TEXT),
        "media_resolution": Option(_TEXT),
        "service_tier": Option(_TEXT),
        "extra_headers": Option(_DICT),
        "extra_body": Option(_DICT),
        "candidate_count": Option(refused="a call has one answer"),
        "max_output_tokens": Option(refused="it is called max_tokens here, for every provider"),
        "stop_sequences": Option(refused="it is called stop here, for every provider"),
        "system_instruction": Option(refused="it is called system here, for every provider"),
        "response_schema": Option(refused="it follows from the contract of the step"),
        "response_json_schema": Option(refused="it follows from the contract of the step"),
        "response_mime_type": Option(refused="it follows from the contract of the step"),
        "response_modalities": Option(refused="only text is read back"),
    },
    schemas=_FITTING,
)


class GeminiAdapter(Adapter):
    """Gemini by name of model; see `Adapter` for the options that all providers share.

    The key is GOOGLE_API_KEY, or else GEMINI_API_KEY.
    """

    vendor = VENDOR
    default_model = DEFAULT_MODEL


def gemini(
    prompt_template: str,
    *,
    model: str = DEFAULT_MODEL,
    base_url: str | None = None,
    allow_localhost: bool = False,
    **options: Any,
) -> Prompted:
    """Return a step action that asks Gemini; `{name}` is a key that the step may read.

    The key comes from GOOGLE_API_KEY, then GEMINI_API_KEY.  Options are those of `GeminiAdapter`:
    system, max_tokens, temperature, stop, seed, messages, images, documents, timeout (seconds),
    thinking_config and more.

    Raises ConfigError for a prompt that cannot be read and an option that cannot be sent.
    """
    adapter = GeminiAdapter(
        model=model, base_url=base_url, allow_localhost=allow_localhost, **options
    )
    return Prompted(prompt_template, adapter)
