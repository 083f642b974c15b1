"""What Anthropic's Messages refuse, in its own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.testing.providers.dialect import Problem, first_key, unknown_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["check"]

_FIELDS = frozenset(
    {
        "model", "messages", "max_tokens", "stream", "system", "tools", "tool_choice", "metadata",
        "stop_sequences", "temperature", "top_p", "top_k", "thinking", "output_config",
        "output_format", "service_tier", "speed", "container", "cache_control", "inference_geo",
        "context_management", "mcp_servers", "diagnostics", "user_profile_id", "workspace_id",
        "betas", "fallbacks",
    }
)  # fmt: skip
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
# What structured output does not take, by the type that has it.
_UNSUPPORTED = {
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems"),
}


def check(body: dict[str, Any], headers: Mapping[str, str]) -> Problem | None:
    """Return what is wrong with a request, or None."""
    if not first_key(headers, "x-api-key"):
        return Problem(401, "x-api-key header is required")
    if "anthropic-version" not in headers:
        return Problem(400, "anthropic-version: header is required")
    found = next(_faults(body), None)
    return None if found is None else Problem(400, found)


def _faults(body: dict[str, Any]) -> Iterator[str]:
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            yield f"{name}: Field required"
    unknown = unknown_key(body, _FIELDS)
    if unknown is not None:
        yield f"{unknown}: Extra inputs are not permitted"
    most = body["max_tokens"]
    if isinstance(most, bool) or not isinstance(most, int):
        yield "max_tokens: Input should be a valid integer"
    if most < 0:
        yield "max_tokens: must be greater than or equal to 0"
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled" and thinking.get("budget_tokens", 0) >= most:
        yield "`max_tokens` must be greater than `thinking.budget_tokens`."
    if not isinstance(body["messages"], list) or not body["messages"]:
        yield "messages: at least one message is required"
    yield from _of_messages(body["messages"])
    if thinking.get("type") == "enabled":
        yield from _of_thoughts(body["messages"])
    yield from _of_tools(body)
    output = (body.get("output_config") or {}).get("format")
    if output is not None:
        yield from _of_schema(output.get("schema"))


def _of_messages(messages: list[Any]) -> Iterator[str]:
    open_calls: list[str] = []
    for at, message in enumerate(messages):
        role = message.get("role")
        if role not in ("user", "assistant", "system"):
            yield f"messages.{at}.role: Input should be 'user' or 'assistant'"
        content = message.get("content")
        if content is None:
            yield f"messages.{at}.content: Field required"
        if not content and at != len(messages) - 1:
            yield (
                f"messages.{at}: all messages must have non-empty content except for the"
                " optional final assistant message"
            )
        blocks = content if isinstance(content, list) else []
        yield from _of_pairs(at, blocks, open_calls)
        for number, block in enumerate(blocks):
            yield from _of_block(f"messages.{at}.content.{number}", block)
        open_calls = [block["id"] for block in blocks if block.get("type") == "tool_use"]
    if open_calls:
        yield _unanswered(len(messages) - 1, open_calls)


def _of_thoughts(messages: list[Any]) -> Iterator[str]:
    last = max((at for at, one in enumerate(messages) if one["role"] == "assistant"), default=0)
    blocks = messages[last].get("content")
    if messages[last]["role"] == "assistant" and isinstance(blocks, list) and blocks:
        kinds = [block.get("type") for block in blocks]
        if "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking"):
            yield (
                f"messages.{last}.content.0.type: Expected `thinking` or `redacted_thinking`, but"
                f" found `{kinds[0]}`. When `thinking` is enabled, a final `assistant` message must"
                " start with a thinking block (preceeding the lastmost set of `tool_use` and"
                " `tool_result` blocks)."
            )


def _of_pairs(at: int, blocks: list[Any], open_calls: list[str]) -> Iterator[str]:
    answered = [block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"]
    missing = [key for key in open_calls if key not in answered]
    if missing:
        yield _unanswered(at - 1, missing)
    for number, block in enumerate(blocks):
        if block.get("type") == "tool_result" and block.get("tool_use_id") not in open_calls:
            yield (
                f"messages.{at}.content.{number}: unexpected `tool_use_id` found in `tool_result`"
                f" blocks: {block.get('tool_use_id')}. Each `tool_result` block must have a"
                " corresponding `tool_use` block in the previous message."
            )


def _unanswered(at: int, missing: list[str]) -> str:
    return (
        f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after:"
        f" {', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result`"
        " block in the next message."
    )


def _of_block(where: str, block: dict[str, Any]) -> Iterator[str]:
    kind = block.get("type")
    if kind is None:
        yield f"{where}.type: Field required"
    if kind == "text" and not str(block.get("text", "")).strip():
        yield "messages: text content blocks must contain non-whitespace text"
    if kind == "tool_use" and not isinstance(block.get("input"), dict):
        yield f"{where}.tool_use.input: Input should be a valid dictionary"
    if kind == "thinking" and not block.get("signature"):
        yield f"{where}.thinking.signature: Field required"
    source = block.get("source") or {}
    if kind == "image" and source.get("type") == "base64":
        if source.get("media_type") not in _IMAGES:
            yield (
                f"{where}.image.source.base64.media_type: Input should be 'image/jpeg',"
                " 'image/png', 'image/gif' or 'image/webp'"
            )
        if not source.get("data"):
            yield f"{where}.image.source.base64.data: Field required"


def _of_tools(body: dict[str, Any]) -> Iterator[str]:
    names: list[str] = []
    for at, tool in enumerate(body.get("tools") or ()):
        if tool.get("type", "custom") != "custom":
            continue  # one that runs at the provider
        for name in ("name", "input_schema"):
            if name not in tool:
                yield f"tools.{at}.custom.{name}: Field required"
        if tool["input_schema"].get("type") != "object":
            yield f"tools.{at}.custom.input_schema.type: Field required"
        names.append(tool["name"])
        if not _good_name(tool["name"]):
            pattern = "^[a-zA-Z0-9_-]{1,128}$"
            yield f"tools.{at}.custom.name: String should match pattern '{pattern}'"
    if len(set(names)) < len(names):
        yield "tools: Tool names must be unique."
    choice = body.get("tool_choice") or {}
    if choice and not body.get("tools"):
        yield "tool_choice: may only be specified while providing tools"
    if choice.get("type") == "tool" and choice.get("name") not in names:
        yield f"Tool '{choice.get('name')}' not found in provided tools"


def _good_name(name: str) -> bool:
    return 0 < len(name) <= 128 and all(  # noqa: PLR2004 - the provider's own limit
        letter.isascii() and (letter.isalnum() or letter in "_-") for letter in name
    )


def _of_schema(schema: Any) -> Iterator[str]:
    where = "output_config.format.schema"
    if not isinstance(schema, dict):
        yield f"{where}: Field required"
        return
    for part in _parts(schema):
        kind = part.get("type")
        if kind == "object" and part.get("additionalProperties") is not False:
            yield (
                f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to"
                " false"
            )
        bad = [name for name in _UNSUPPORTED.get(str(kind), ()) if name in part]
        if bad:
            yield f"{where}: For '{kind}' type, properties {', '.join(bad)} are not supported"


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for key, value in schema.items():
            if key in ("properties", "$defs", "definitions") and isinstance(value, dict):
                for one in value.values():
                    yield from _parts(one)
            elif key in ("items", "anyOf", "allOf", "oneOf", "prefixItems"):
                for one in value if isinstance(value, list) else [value]:
                    yield from _parts(one)
