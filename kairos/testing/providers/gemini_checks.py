"""What Gemini refuses, in its own words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kairos.testing.providers.dialect import Problem, first_key, unknown_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["check", "names_of", "spelled", "unsealed"]

_FIELDS = frozenset(
    {
        "model", "stream", "contents", "tools", "toolConfig", "safetySettings", "serviceTier",
        "systemInstruction", "generationConfig", "cachedContent", "labels", "store",
    }
)  # fmt: skip
_CONFIG = frozenset(
    {
        "stopSequences", "responseMimeType", "responseSchema", "responseJsonSchema",
        "responseModalities", "candidateCount", "maxOutputTokens", "temperature", "topP", "topK",
        "seed", "presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs",
        "enableEnhancedCivicAnswers", "speechConfig", "thinkingConfig", "imageConfig",
        "mediaResolution", "audioTranscriptionConfig", "continuationToken", "routingConfig",
        "modelConfig", "audioTimestamp",
    }
)  # fmt: skip
_SCHEMA = frozenset(
    {
        "type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems",
        "properties", "required", "minProperties", "maxProperties", "minLength", "maxLength",
        "pattern", "example", "anyOf", "propertyOrdering", "default", "items", "minimum",
        "maximum", "additionalProperties", "$defs", "$ref", "$id", "$anchor", "defs", "ref",
        "const", "prefixItems", "oneOf", "exclusiveMinimum", "exclusiveMaximum",
    }
)  # fmt: skip
_PARTS = frozenset(
    {
        "text", "thought", "thoughtSignature", "inlineData", "fileData", "functionCall",
        "functionResponse", "executableCode", "codeExecutionResult", "videoMetadata",
        "mediaResolution", "toolCall", "toolResponse", "partMetadata", "mediaProcessing",
        "audioTranscription", "speechMetadata", "documentMetadata", "spreadsheetMetadata",
        "audioMetadata",
    }
)  # fmt: skip


# Below these a key is somebody else's word, and stays as it is.
_FOREIGN = frozenset(
    {
        "args", "response", "parameters", "parametersJsonSchema", "responseJsonSchema",
        "responseSchema", "labels", "partMetadata",
    }
)  # fmt: skip


def spelled(body: Any) -> Any:
    """Return a body with every field in camel case: this API takes both spellings, mixed."""
    if isinstance(body, list):
        return [spelled(one) for one in body]
    if not isinstance(body, dict):
        return body
    found = {}
    for key, value in body.items():
        first, *more = key.split("_")
        name = first + "".join(word.title() for word in more) if first else key
        found[name] = value if name in _FOREIGN else spelled(value)
    return found


def check(body: dict[str, Any], headers: Mapping[str, str]) -> Problem | None:
    """Return what is wrong with a request, or None."""
    if not first_key(headers, "x-goog-api-key"):
        text = "Method doesn't allow unregistered callers (callers without established identity)."
        text += " Please use API Key or other form of API consumer identity to call this API."
        return Problem(403, text)
    return next(_faults(body), None)


def names_of(call: Mapping[str, Any]) -> list[str]:
    """Return by what a call of a tool is known again: its id where it has one, and all of it."""
    whole = json.dumps([call.get("name"), call.get("args") or {}], sort_keys=True)
    return [call["id"], whole] if call.get("id") else [whole]


def unsealed(body: Mapping[str, Any], seals: Mapping[str, str]) -> Problem | None:
    """Return what a call that comes back without the signature it went out with gets."""
    for content in body["contents"]:
        for at, part in enumerate(content.get("parts") or ()):
            call = part.get("functionCall")
            wanted = seals.get(names_of(call)[0]) if call else None
            if wanted is not None and _plain(part.get("thoughtSignature", "")) != _plain(wanted):
                text = "Function call is missing a thought_signature in functionCall parts. This is"
                text += " required for tools to work correctly, and missing thought_signature may"
                text += " lead to degraded model performance. Additional data, function call"
                return Problem(400, f"{text} `default_api:{call['name']}` , position {at}.")
    return None


def _plain(seal: str) -> str:
    """Return base64 in its standard alphabet: this API takes both, padded or not."""
    return seal.replace("-", "+").replace("_", "/").rstrip("=")


def _unknown(name: str, where: str) -> Problem:
    place = f" at '{where}'" if where else ""
    text = f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.'
    return Problem(400, text, param=where)


def _faults(body: dict[str, Any]) -> Iterator[Problem]:
    config = body.get("generationConfig") or {}
    for given, known, where in ((body, _FIELDS, ""), (config, _CONFIG, "generation_config")):
        name = unknown_key(given, known)
        if name is not None:
            yield _unknown(name, where)
    if not body.get("contents"):
        yield Problem(400, "* GenerateContentRequest.contents: contents is not specified\n")
    yield from _of_contents(body["contents"])
    if config.get("responseSchema"):
        yield from _of_schema(config["responseSchema"], "generation_config.response_schema")
        if config.get("responseJsonSchema"):
            yield Problem(400, "Only one of response_schema and response_json_schema can be set.")
    wants = config.get("responseSchema") or config.get("responseJsonSchema")
    if wants and config.get("responseMimeType") not in ("application/json", "text/x.enum"):
        text = "* GenerateContentRequest.generation_config.response_schema: only allowed when"
        yield Problem(400, f"{text} response mime type is `application/json`\n")
    yield from _of_tools(body)


def _of_contents(contents: list[Any]) -> Iterator[Problem]:
    calls: list[str] = []
    for at, content in enumerate(contents):
        where = f"contents[{at}]"
        if content.get("role", "user") not in ("user", "model", "function"):
            yield Problem(400, "Please use a valid role: user, model.")
        parts = content.get("parts")
        if not parts:
            text = f"* GenerateContentRequest.{where}.parts: contents.parts must not be empty.\n"
            yield Problem(400, text)
        for number, part in enumerate(parts):
            name = unknown_key(part, _PARTS)
            if name is not None:
                yield _unknown(name, f"{where}.parts[{number}]")
            if not set(part) - {"thought", "thoughtSignature"}:
                text = f"* GenerateContentRequest.{where}.parts[{number}].data: required oneof"
                yield Problem(400, f"{text} field 'data' must have one initialized field\n")
        answers = [part["functionResponse"] for part in parts if "functionResponse" in part]
        if len(answers) != len(calls):
            text = "Please ensure that the number of function response parts is equal to the"
            yield Problem(400, f"{text} number of function call parts of the function call turn.")
        calls = [part["functionCall"]["name"] for part in parts if "functionCall" in part]


def _of_tools(body: dict[str, Any]) -> Iterator[Problem]:
    names: list[str] = []
    for at, tool in enumerate(body.get("tools") or ()):
        for number, one in enumerate(tool.get("functionDeclarations") or ()):
            where = f"tools[{at}].function_declarations[{number}]"
            if not one.get("name"):
                text = f"* GenerateContentRequest.{where}.name: [FIELD_INVALID] Invalid function"
                yield Problem(400, f"{text} name. Must start with a letter or an underscore.\n")
            if one.get("parameters"):
                yield from _of_schema(one["parameters"], f"{where}.parameters")
            names.append(one["name"])
    for name in names:
        if names.count(name) > 1:
            yield Problem(400, f"Duplicate function declaration found: {name}")


def _of_schema(schema: Any, where: str) -> Iterator[Problem]:
    if not isinstance(schema, dict):
        return
    name = unknown_key(schema, _SCHEMA)
    if name is not None:
        yield _unknown(name, where)
    if isinstance(schema.get("type"), list):
        text = f"Invalid JSON payload received. Unknown name \"type\" at '{where}': Proto field is"
        yield Problem(400, f"{text} not repeating, cannot start list.", param=where)
    for at, part in enumerate((schema.get("properties") or {}).values()):
        yield from _of_schema(part, f"{where}.properties[{at}].value")
    if "items" in schema:
        yield from _of_schema(schema["items"], f"{where}.items")
    for at, part in enumerate(schema.get("anyOf") or ()):
        yield from _of_schema(part, f"{where}.any_of[{at}]")
