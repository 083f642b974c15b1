"""How a call of a model fails: one error for every provider, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from kairos.exceptions import ExecutionError

if TYPE_CHECKING:
    from kairos.models.reply import TokenUsage

__all__ = ["RETRYABLE", "ErrorKind", "ModelError", "kind_of_status"]

ErrorKind: TypeAlias = Literal[
    "rate_limited", "overloaded", "server", "timeout", "connection", "conflict",
    "interrupted", "malformed", "empty",
    "bad_request", "unauthorized", "forbidden", "not_found", "too_large",
    "too_long", "refused", "filtered", "cut_off", "unavailable",
]  # fmt: skip
"""`interrupted` is a stream that ended without its end, `cut_off` a reply that `max_tokens` ended
before it was whole, `unavailable` a provider that our own circuit breaker keeps away from.  What is
`too_large` has too many bytes for a request, and what is `too_long` too many tokens for the context
window of the model: a shorter conversation would pass."""

RETRYABLE: frozenset[str] = frozenset(
    {
        "rate_limited", "overloaded", "server", "timeout", "connection", "conflict",
        "interrupted", "malformed", "empty", "unavailable",
    }
)  # fmt: skip
"""What may go well the next time; everything else fails in the same way again."""


class ModelError(ExecutionError):
    """A call of a model failed, told without the provider's own text.

    That text may repeat the prompt or the key.  `status` is that of HTTP where there was one,
    `retry_after` how many seconds the provider asked to wait, `usage` what the failed call
    consumed, and `emitted` says that part of its answer was given out already.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        provider: str,
        model: str = "",
        status: int | None = None,
        retry_after: float | None = None,
        usage: TokenUsage | None = None,
        emitted: bool = False,
        fix: str | None = None,
    ) -> None:
        super().__init__(message, retryable=kind in RETRYABLE, retry_after=retry_after, fix=fix)
        self.kind: ErrorKind = kind
        self.provider = provider
        self.model = model
        self.status = status
        self.usage = usage
        self.emitted = emitted


_OF_STATUS: dict[int, ErrorKind] = {
    400: "bad_request",
    401: "unauthorized",
    402: "forbidden",
    403: "forbidden",
    404: "not_found",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    422: "bad_request",
    429: "rate_limited",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}


def kind_of_status(status: int) -> ErrorKind:
    """Return what an HTTP status means, whichever provider gave it."""
    known = _OF_STATUS.get(status)
    if known is not None:
        return known
    return "server" if status >= 500 else "bad_request"  # noqa: PLR2004 - HTTP's own classes
