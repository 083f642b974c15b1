"""Gemini's generateContent, under /v1 and /v1beta."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kairos.models.request import ToolSpec
from kairos.testing.providers.dialect import Asked, Dialect, Event, Problem, Said
from kairos.testing.providers.gemini_checks import check, names_of
from kairos.testing.replies import CallTool, Refuse, Think, pieces, text_of, tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kairos.models.reply import TokenUsage
    from kairos.testing.faults import StreamError

__all__ = ["DIALECT", "seals_of"]

_STOPS = {
    "end": "STOP",
    "tools": "STOP",
    "length": "MAX_TOKENS",
    "stop_sequence": "STOP",
    "refused": "SAFETY",
    "filtered": "SAFETY",
}
_STATUSES = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
    403: ("PERMISSION_DENIED", "The caller does not have permission"),
    404: ("NOT_FOUND", "Requested entity was not found."),
    409: ("ABORTED", "The operation was aborted."),
    413: ("INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."),
    429: ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    499: ("CANCELLED", "The operation was cancelled."),
    500: ("INTERNAL", "An internal error has occurred."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}
_RPC = "type.googleapis.com/google.rpc"
_CODES = {status: code for code, (status, _) in reversed(_STATUSES.items())}


def _problem(problem: Problem, _number: int) -> dict[str, Any]:
    status, message = _STATUSES.get(problem.status, ("UNKNOWN", "An unknown error."))
    error: dict[str, Any] = {
        "code": problem.status,
        "message": problem.message or message,
        "status": problem.type or status,
    }
    details: list[dict[str, Any]] = []
    if problem.param is not None:
        violation = {"field": problem.param, "description": error["message"]}
        details.append({"@type": f"{_RPC}.BadRequest", "fieldViolations": [violation]})
    if problem.code is not None:
        info = {"reason": problem.code, "domain": "googleapis.com"}
        details.append({"@type": f"{_RPC}.ErrorInfo", **info})
    if problem.retry_after is not None:  # where this API itself says it; the header is nobody's
        details.append({"@type": f"{_RPC}.RetryInfo", "retryDelay": f"{problem.retry_after}s"})
    if details:
        error["details"] = details
    return {"error": error}


def _headers(number: int) -> dict[str, str]:
    return {"server-timing": "gfet4t7; dur=1", "x-goog-request-id": f"fake{number:016d}"}


def _read(body: dict[str, Any]) -> Asked:
    contents = body["contents"]
    asked = [_text(one) for one in contents if one.get("role", "user") == "user"]
    config = body.get("generationConfig") or {}
    output = config.get("responseJsonSchema") or config.get("responseSchema")
    if output is None and config.get("responseMimeType") == "application/json":
        output = {}
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    allowed = calling.get("allowedFunctionNames") or [""]
    return Asked(
        model=body["model"],
        stream=bool(body["stream"]),
        system=_text(body.get("systemInstruction") or {}),
        prompt=next((text for text in reversed(asked) if text), ""),
        tools=tuple(
            ToolSpec(
                one["name"],
                one.get("description", ""),
                one.get("parametersJsonSchema") or one.get("parameters") or {"type": "object"},
            )
            for tool in body.get("tools") or ()
            for one in tool.get("functionDeclarations") or ()
        ),
        results=tuple(
            json.dumps(part["functionResponse"].get("response"), ensure_ascii=False)
            for one in contents
            for part in one.get("parts") or ()
            if "functionResponse" in part
        ),
        output=output,
        forced=allowed[0] if calling.get("mode") == "ANY" else None,
        barred=calling.get("mode") == "NONE",
        max_tokens=config.get("maxOutputTokens"),
        tokens=tokens_of([contents, body.get("systemInstruction"), body.get("tools")]),
    )


def _text(content: Mapping[str, Any]) -> str:
    return "".join(part.get("text", "") for part in content.get("parts") or ())


# --- replies


def _usage(usage: TokenUsage) -> dict[str, Any]:
    found = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input_tokens}],
    }
    if usage.reasoning_tokens:
        found["thoughtsTokenCount"] = usage.reasoning_tokens
    if usage.cached_tokens:
        found["cachedContentTokenCount"] = usage.cached_tokens
    return found


def _parts(said: Said) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    seal = ""
    for at, one in enumerate(said.contents):
        if isinstance(one, Think):
            if not one.hidden:
                parts.append({"text": one.text, "thought": True})
            seal = one.seal  # it travels on the part that follows the thought
            continue
        if isinstance(one, CallTool):
            call = {"id": one.id or f"fc{said.number:06d}{at:02d}", "name": one.name}
            part: dict[str, Any] = {"functionCall": {**call, "args": _arguments(one)}}
            seal = one.seal or seal
        elif text := one.text if isinstance(one, Refuse) else text_of(one):
            part = {"text": text}
        else:
            continue
        parts.append({**part, "thoughtSignature": seal} if seal else part)
        seal = ""
    return parts


def seals_of(said: Said) -> dict[str, str]:
    """Return the signatures that calls of tools went out with, by what the calls are known by."""
    return {
        name: part["thoughtSignature"]
        for part in _parts(said)
        if "functionCall" in part and "thoughtSignature" in part
        for name in names_of(part["functionCall"])
    }


def _arguments(call: CallTool) -> Any:
    try:
        return json.loads(call.text)
    except ValueError:
        return {}  # this API cannot carry what is no JSON


def _frame(
    asked: Asked, said: Said, parts: list[dict[str, Any]], stop: str | None
) -> dict[str, Any]:
    frame: dict[str, Any] = {
        "modelVersion": asked.model,
        "responseId": f"fake{said.number:016d}",
    }
    if said.usage:
        frame["usageMetadata"] = _usage(said.usage)
    if said.filtered and said.filtered.prompt:
        return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **frame}
    candidate: dict[str, Any] = {"index": 0}
    if parts or not said.filtered:
        candidate["content"] = {"role": "model", "parts": parts}
    if stop:
        candidate["finishReason"] = stop
    return {"candidates": [candidate], **frame}


def _stop(said: Said) -> str:
    return _STOPS.get(said.stop, said.stop)


def _whole(asked: Asked, said: Said) -> dict[str, Any]:
    return _frame(asked, said, _parts(said), _stop(said))


def _events(asked: Asked, said: Said) -> Iterator[Event]:
    small = [one for part in _parts(said) for one in _pieces(part, said.delta)]
    if said.filtered or not small:
        yield _event(_frame(asked, said, small, _stop(said)))
        return
    for at, part in enumerate(small):
        last = at == len(small) - 1
        yield _event(_frame(asked, said, [part], _stop(said) if last else None))


def _pieces(part: dict[str, Any], size: int) -> list[dict[str, Any]]:
    if "text" not in part:
        return [part]
    cut = pieces(part["text"], size)
    plain = {key: value for key, value in part.items() if key != "thoughtSignature"}
    return [*({**plain, "text": one} for one in cut[:-1]), {**part, "text": cut[-1]}]


def _event(data: dict[str, Any]) -> Event:
    return Event(json.dumps(data, ensure_ascii=False))


def _broken(_asked: Asked, said: Said, fault: StreamError, _at: int) -> Event:
    status = fault.type or "UNAVAILABLE"
    problem = Problem(_CODES.get(status, 500), fault.message, status)
    return _event(_problem(problem, said.number))


def _unknown_model(model: str) -> Problem:
    text = f"models/{model} is not found for API version v1beta, or is not supported for"
    text += " generateContent. Call ModelService.ListModels to see the list of available models"
    return Problem(404, f"{text} and their supported methods.")


DIALECT = Dialect(
    name="gemini",
    provider="gemini",
    check=check,
    read=_read,
    problem=_problem,
    whole=_whole,
    events=_events,
    broken=_broken,
    unknown_model=_unknown_model,
    headers=_headers,
    overloaded=503,
    wrong_key=Problem(
        400, "API key not valid. Please pass a valid API key.", code="API_KEY_INVALID"
    ),
)
