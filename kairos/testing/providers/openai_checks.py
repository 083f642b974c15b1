"""What OpenAI's chat completions and Responses refuse, in their own words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kairos.testing.providers.dialect import Problem, first_key, unknown_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["TYPES", "check_chat", "check_responses", "problem", "request_headers", "unknown_model"]

TYPES = {
    400: ("invalid_request_error", None, "Invalid request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("invalid_request_error", None, "Your account does not have access to this resource."),
    404: ("invalid_request_error", None, "Not found."),
    408: ("server_error", None, "Request timed out."),
    409: ("invalid_request_error", None, "Conflict."),
    413: ("invalid_request_error", "request_too_large", "Request too large."),
    422: ("invalid_request_error", None, "Unprocessable entity."),
    429: ("tokens", "rate_limit_exceeded", "Rate limit reached for requests."),
    503: ("service_unavailable_error", None, "The engine is currently overloaded."),
}
_CHAT = frozenset(
    {
        "model", "messages", "audio", "frequency_penalty", "function_call", "functions",
        "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "metadata", "modalities",
        "moderation", "n", "parallel_tool_calls", "prediction", "presence_penalty",
        "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning_effort",
        "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream",
        "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user",
        "verbosity", "web_search_options",
    }
)  # fmt: skip
_RESPONSES = frozenset(
    {
        "model", "input", "access_programs", "background", "context_management", "conversation",
        "image", "include", "instructions", "max_output_tokens", "max_tool_calls", "metadata",
        "moderation", "parallel_tool_calls", "previous_response_id", "prompt", "prompt_cache_key",
        "prompt_cache_options", "prompt_cache_retention", "reasoning", "safety_identifier",
        "service_tier", "store", "stream", "stream_options", "temperature", "text", "tool_choice",
        "tools", "top_logprobs", "top_p", "truncation", "user",
    }
)  # fmt: skip
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def problem(found: Problem, _number: int) -> dict[str, Any]:
    """Return the body that tells of a problem."""
    kind, code, message = TYPES.get(
        found.status, ("server_error", None, "The server had an error processing your request.")
    )
    if found.type is not None:  # a spent account is told by both, and is no reason to come again
        code = found.type if found.type == "insufficient_quota" else None
    return {
        "error": {
            "message": found.message or message,
            "type": found.type or kind,
            "param": found.param,
            "code": found.code or code,
        }
    }


def request_headers(number: int) -> dict[str, str]:
    """Return the headers that every reply has."""
    return {
        "x-request-id": f"req_fake{number:016d}",
        "openai-organization": "org-fake",
        "openai-processing-ms": "1",
        "openai-version": "2020-10-01",
    }


def unknown_model(model: str) -> Problem:
    """Return what a model that does not exist gets."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    return Problem(404, message, "invalid_request_error", "model_not_found")


def check_chat(body: dict[str, Any], headers: Mapping[str, str]) -> Problem | None:
    """Return what is wrong with a request of chat completions, or None."""
    return _missing_key(headers) or next(_chat_faults(body), None)


def check_responses(body: dict[str, Any], headers: Mapping[str, str]) -> Problem | None:
    """Return what is wrong with a request of Responses, or None."""
    return _missing_key(headers) or next(_responses_faults(body), None)


def _missing_key(headers: Mapping[str, str]) -> Problem | None:
    if first_key(headers, "api-key"):
        return None
    message = "You didn't provide an API key. You need to provide your API key in an Authorization"
    return Problem(401, f"{message} header using Bearer auth.", "invalid_request_error")


def _bad(
    message: str, param: str | None = None, code: str | None = None, status: int = 400
) -> Problem:
    return Problem(status, message, "invalid_request_error", code, param)


def _required(name: str) -> Problem:
    return _bad(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")


def _chat_faults(body: dict[str, Any]) -> Iterator[Problem]:
    if not body.get("model"):
        yield _bad("you must provide a model parameter")
    if "messages" not in body:
        yield _required("messages")
    unknown = unknown_key(body, _CHAT)
    if unknown is not None:
        yield _bad(f"Unrecognized request argument supplied: {unknown}")
    messages = body["messages"]
    if not isinstance(messages, list) or not messages:
        text = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got"
        yield _bad(f"{text} an empty array instead.", "messages", "empty_array")
    if "max_tokens" in body and "max_completion_tokens" in body:
        yield _bad("Setting 'max_tokens' and 'max_completion_tokens' at the same time is not"
                   " supported.")  # fmt: skip
    if body.get("stream_options") is not None and not body.get("stream"):
        text = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        yield _bad(text, "stream_options")
    yield from _chat_messages(messages)
    for at, tool in enumerate(body.get("tools") or ()):
        if tool.get("type") == "function":
            where = f"tools[{at}].function"
            yield from _tool(where, tool.get("function") or {}, f"{where}.parameters")
    yield from _choice(body, [t["function"]["name"] for t in body.get("tools") or ()
                              if t.get("type") == "function"])  # fmt: skip
    yield from _format(body, messages)


def _chat_messages(messages: list[Any]) -> Iterator[Problem]:
    waiting: list[str] = []
    for at, message in enumerate(messages):
        role = message.get("role")
        if role not in _ROLES:
            known = ", ".join(f"'{one}'" for one in _ROLES[:-1])
            text = f"Invalid value: '{role}'. Supported values are: {known}, and 'function'."
            yield _bad(text, f"messages[{at}].role", "invalid_value")
        if role == "tool":
            if message.get("tool_call_id") not in waiting:
                text = "Invalid parameter: messages with role 'tool' must be a response to a"
                text += " preceeding message with 'tool_calls'."
                yield _bad(text, f"messages.[{at}].role")
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            yield _unanswered(waiting, at - 1)
        calls = message.get("tool_calls") or []
        waiting = [call["id"] for call in calls]
        if message.get("content") is None and not calls and not message.get("refusal"):
            text = "Invalid value for 'content': expected a string, got null."
            yield _bad(text, f"messages.[{at}].content")
    if waiting:
        yield _unanswered(waiting, len(messages) - 1)


def _unanswered(waiting: list[str], at: int) -> Problem:
    text = "An assistant message with 'tool_calls' must be followed by tool messages responding to"
    text += " each 'tool_call_id'. The following tool_call_ids did not have response messages: "
    return _bad(text + ", ".join(waiting), f"messages.[{at + 1}].role")


def _tool(where: str, tool: dict[str, Any], param: str) -> Iterator[Problem]:
    if not tool.get("name"):
        yield _required(f"{where}.name")
    name = tool["name"]
    if len(name) > 64 or not all(  # noqa: PLR2004 - the provider's own limit
        one.isascii() and (one.isalnum() or one in "_-") for one in name
    ):
        text = f"Invalid '{where}.name': string does not match pattern. Expected a string that"
        yield _bad(f"{text} matches the pattern '^[a-zA-Z0-9_-]+$'.", f"{where}.name",
                   "invalid_value")  # fmt: skip
    schema = tool.get("parameters")
    if schema is not None and schema.get("type") != "object":
        text = f"Invalid schema for function '{name}': schema must be a JSON Schema of"
        text += f" 'type: \"object\"', got 'type: \"{schema.get('type')}\"'."
        yield _bad(text, param, "invalid_function_parameters")
    if tool.get("strict") and schema is not None:
        for fault in _strict(schema, ()):
            text = f"Invalid schema for function '{name}': {fault}"
            yield _bad(text, param, "invalid_function_parameters")


def _choice(body: dict[str, Any], names: list[str]) -> Iterator[Problem]:
    choice = body.get("tool_choice")
    if choice is None:
        return
    if not body.get("tools"):
        text = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are"
        yield _bad(f"{text} specified.", "tool_choice")
    if isinstance(choice, dict):
        wanted = (choice.get("function") or choice).get("name")
        if wanted is not None and wanted not in names:
            yield _bad(f"Tool choice '{wanted}' not found in 'tools' parameter.", "tool_choice")


def _format(body: dict[str, Any], messages: list[Any]) -> Iterator[Problem]:
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        given = wanted.get("json_schema") or {}
        if not given.get("name"):
            yield _required("response_format.json_schema.name")
        yield from _output(given, "response_format")
    if wanted.get("type") == "json_object" and "json" not in json.dumps(messages).lower():
        text = "'messages' must contain the word 'json' in some form, to use 'response_format' of"
        yield _bad(f"{text} type 'json_object'.", "messages")


def _output(given: dict[str, Any], param: str) -> Iterator[Problem]:
    schema, name = given.get("schema"), given.get("name")
    if given.get("strict") and schema is not None:
        if schema.get("type") != "object":
            text = f"Invalid schema for response_format '{name}': schema must be a JSON Schema of"
            text += f" 'type: \"object\"', got 'type: \"{schema.get('type', 'None')}\"'."
            yield _bad(text, param, "invalid_json_schema")
        for fault in _strict(schema, ()):
            text = f"Invalid schema for response_format '{name}': {fault}"
            yield _bad(text, param, "invalid_json_schema")


def _strict(schema: Any, where: tuple[str, ...]) -> Iterator[str]:
    """Say what the strict subset of JSON Schema does not have."""
    if not isinstance(schema, dict):
        return
    for word in ("allOf", "oneOf", "not", "patternProperties", "if", "uniqueItems", "prefixItems"):
        if word in schema:
            yield f"In context={where}, '{word}' is not permitted."
    if "object" in schema.get("type", ()) or "properties" in schema:
        yield from _strict_object(schema, where)
    for group in ("properties", "$defs", "definitions"):
        for name, part in (schema.get(group) or {}).items():
            yield from _strict(part, (*where, group, name))
    yield from _strict(schema.get("items"), (*where, "items"))
    for at, part in enumerate(schema.get("anyOf") or ()):
        yield from _strict(part, (*where, "anyOf", str(at)))


def _strict_object(schema: dict[str, Any], where: tuple[str, ...]) -> Iterator[str]:
    if schema.get("additionalProperties") is not False:
        text = "'additionalProperties' is required to be supplied and to be false."
        yield f"In context={where}, {text}"
    required = schema.get("required", ())
    missing = [name for name in schema.get("properties", {}) if name not in required]
    if missing:
        text = "'required' is required to be supplied and to be an array including every key"
        yield f"In context={where}, {text} in properties. Missing '{missing[0]}'."


def _responses_faults(body: dict[str, Any]) -> Iterator[Problem]:
    if not body.get("model"):
        yield _required("model")
    unknown = unknown_key(body, _RESPONSES)
    if unknown is not None:
        yield _bad(f"Unknown parameter: '{unknown}'.", unknown, "unknown_parameter")
    if not body.get("input"):
        yield _required("input")
    given = body["input"]
    yield from _items(given if isinstance(given, list) else [])
    names = []
    for at, tool in enumerate(body.get("tools") or ()):
        if tool.get("type") == "function":
            yield from _tool(f"tools[{at}]", tool, f"tools[{at}].parameters")
            names.append(tool["name"])
    yield from _choice(body, names)
    wanted = (body.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_schema":
        if not wanted.get("name"):
            yield _required("text.format.name")
        yield from _output(wanted, "text.format.schema")
    if body.get("max_output_tokens") is not None and body["max_output_tokens"] < 16:  # noqa: PLR2004 - the provider's own limit
        text = "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16,"
        text += f" but got {body['max_output_tokens']} instead."
        yield _bad(text, "max_output_tokens", "integer_below_min_value")


def _items(items: list[Any]) -> Iterator[Problem]:
    calls: list[str] = []
    answered: list[str] = []
    for at, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "message" and item.get("role") not in _ROLES[:4]:
            text = f"Invalid value: '{item.get('role')}'. Supported values are: 'assistant',"
            yield _bad(f"{text} 'system', 'developer', and 'user'.", f"input[{at}]",
                       "invalid_value")  # fmt: skip
        if kind == "function_call":
            calls.append(item["call_id"])
        if kind == "function_call_output":
            if item.get("call_id") not in calls:
                text = "No tool call found for function call output with call_id "
                yield _bad(f"{text}{item.get('call_id')}.", "input")
            answered.append(item["call_id"])
    for key in calls:
        if key not in answered:
            yield _bad(f"No tool output found for function call {key}.", "input")
