"""What the OpenAI SDK raises, and what a stream of it reports, in our terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.adapters.retry_after import retry_after_of
from kairos.adapters.too_long import says_too_long
from kairos.adapters.vendor import Told
from kairos.models.errors import ErrorKind, kind_of_status

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Broken", "kind_of_code", "told"]

# What an error is called, by OpenAI and by servers that speak its language.
_OF_CODE: dict[str, ErrorKind] = {
    "insufficient_quota": "forbidden",
    "billing_hard_limit_reached": "forbidden",
    "rate_limit_exceeded": "rate_limited",
    "rate_limit_error": "rate_limited",
    "tokens": "rate_limited",
    "requests": "rate_limited",
    "server_error": "server",
    "internal_error": "server",
    "api_error": "server",
    "overloaded": "overloaded",
    "overloaded_error": "overloaded",
    "service_unavailable_error": "overloaded",
    "timeout": "timeout",
    "timeout_error": "timeout",
    "vector_store_timeout": "timeout",
    "content_filter": "filtered",
    "content_policy_violation": "filtered",
    "invalid_prompt": "filtered",  # flagged, that is: what is merely wrong has other names
    "bio_policy": "filtered",
    "misalignment_policy_violation": "filtered",
    "data_residency_mismatch": "forbidden",
    "context_length_exceeded": "too_long",
    "exceed_context_size_error": "too_long",  # llama.cpp
    "request_too_large": "too_large",
    "model_not_found": "not_found",
    "not_found_error": "not_found",
    "invalid_api_key": "unauthorized",
    "authentication_error": "unauthorized",
    "permission_error": "forbidden",
    "invalid_request_error": "bad_request",
}


class Broken(Exception):  # noqa: N818 - it never reaches a user: `told` makes it a failure
    """The provider says within its answer that it failed."""

    def __init__(self, kind: ErrorKind) -> None:
        super().__init__(kind)
        self.kind: ErrorKind = kind


def kind_of_code(code: Any, kind: Any = None) -> ErrorKind:
    """Return what an error without a status is, by its code or else its type."""
    for said in (code, kind):
        text = str(said) if said is not None else ""
        if text in _OF_CODE:
            return _OF_CODE[text]
        if text.isascii() and text.isdigit() and len(text) == 3:  # noqa: PLR2004 - an HTTP status
            return kind_of_status(int(text))
    return "server"


def told(sdk: ModuleType, error: Any) -> Told | None:  # noqa: PLR0911 - a table
    """Return what an exception of the SDK means."""
    if isinstance(error, Broken):
        return Told(error.kind)
    if isinstance(error, sdk.APIStatusError):
        return _of_status(error)
    if isinstance(error, sdk.APITimeoutError):
        return Told("timeout")
    if isinstance(error, sdk.APIConnectionError):
        return Told("connection")
    if isinstance(error, sdk.APIResponseValidationError):
        return Told("malformed")
    if isinstance(error, sdk.APIError):  # it came within a stream that had begun well
        return Told(kind_of_code(error.code, error.type))
    if isinstance(error, sdk.OpenAIError):
        return Told("bad_request")
    return None


def _of_status(error: Any) -> Told:
    status = error.status_code
    kind = kind_of_status(status)
    named = _OF_CODE.get(error.code or "") or _OF_CODE.get(error.type or "")
    if status == 429 and named == "forbidden":  # noqa: PLR2004 - HTTP's own
        # no waiting mends it, though it has the status of what waiting mends
        return Told("forbidden", status, None, "its quota is used up")
    if kind == "bad_request":
        if named in ("filtered", "too_large", "too_long"):
            kind = named
        elif says_too_long(_message_of(error)):
            kind = "too_long"
    return Told(kind, status, retry_after_of(error.response.headers))


def _message_of(error: Any) -> Any:
    """Return what the provider says: OpenAI's body, or one that a server made in another shape."""
    body = error.body
    if not isinstance(body, dict):
        return body
    nested = body.get("error")
    return body.get("message") or (nested.get("message") if isinstance(nested, dict) else nested)
