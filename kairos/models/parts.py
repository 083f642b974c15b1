"""Messages, and what they are made of: frozen, comparable, and plain JSON at rest."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from kairos.exceptions import ConfigError

__all__ = [
    "Document",
    "Image",
    "Message",
    "Part",
    "Reasoning",
    "Role",
    "Text",
    "ToolCall",
    "ToolResult",
    "as_messages",
    "from_plain",
    "joined",
    "to_plain",
]

Role: TypeAlias = Literal["user", "assistant", "tool"]


class Text(NamedTuple):
    """Plain text."""

    text: str


class Reasoning(NamedTuple):
    """What a model thought before it spoke.

    `seal` is the provider's own data about it (a signature, an encrypted copy), which goes back
    unread to the `provider` that gave it, and to no other.
    """

    text: str
    seal: str = ""
    provider: str = ""


class Image(NamedTuple):
    """A picture: its bytes, or a URL that the provider fetches."""

    media_type: str
    data: bytes = b""
    url: str = ""

    @classmethod
    def of(cls, source: str | Path | bytes, media_type: str | None = None) -> Image:
        """Return the image of a file, of bytes, or behind an https URL.

        Raises ConfigError where nothing tells its media type, and OSError for a file that cannot
        be read.
        """
        return cls(*_loaded(source, media_type))


class Document(NamedTuple):
    """A document such as a PDF: its bytes, or a URL that the provider fetches."""

    media_type: str
    data: bytes = b""
    url: str = ""
    name: str = ""

    @classmethod
    def of(
        cls, source: str | Path | bytes, media_type: str | None = None, *, name: str = ""
    ) -> Document:
        """Return the document of a file, of bytes, or behind an https URL; raises as `Image.of`."""
        if not name and not isinstance(source, bytes):
            name = Path(str(source)).name
        return cls(*_loaded(source, media_type), name)


class ToolCall(NamedTuple):
    """A model asks for a tool.  `arguments` is JSON as the model wrote it: not yet validated."""

    id: str
    name: str
    arguments: str
    seal: str = ""


class ToolResult(NamedTuple):
    """What a tool answered to the call with that id; `failed` says that it is an error."""

    id: str
    name: str
    content: str
    failed: bool = False


Part: TypeAlias = Text | Reasoning | Image | Document | ToolCall | ToolResult


class Message(NamedTuple):
    """One turn of a conversation.  Instructions are no message: they are the request's `system`."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All its plain text."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


def as_messages(
    given: str | Message | Iterable[Message | Mapping[str, Any]],
) -> tuple[Message, ...]:
    """Return messages from what people write: a text, messages, or `{"role", "content"}` dicts.

    Raises ConfigError for anything else.
    """
    if isinstance(given, str):
        return (Message("user", (Text(given),)),)
    if isinstance(given, Message):
        return (given,)
    if not isinstance(given, Iterable) or isinstance(given, Mapping | bytes):
        raise _no_message(given)
    return tuple(one if isinstance(one, Message) else _from_dict(one) for one in given)


def _from_dict(given: Any) -> Message:
    if isinstance(given, Mapping) and "parts" in given:
        return from_plain(given)
    if not isinstance(given, Mapping) or not isinstance(given.get("content"), str):
        raise _no_message(given)
    if given.get("role") not in ("user", "assistant"):
        raise ConfigError(
            "a message has no role that it can have",
            expected="user or assistant",
            found=repr(str(given.get("role"))[:40]),
            fix="instructions go into system=..., not into a message",
        )
    return Message(cast("Role", given["role"]), (Text(given["content"]),))


def _no_message(given: object) -> ConfigError:
    return ConfigError(
        "this is no message",
        expected="a text, a Message, or a dict with role and content",
        found=type(given).__name__,
    )


# --- at rest

_KINDS: dict[str, type[Any]] = {
    "text": Text,
    "reasoning": Reasoning,
    "image": Image,
    "document": Document,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def to_plain(message: Message) -> dict[str, Any]:
    """Return a message as plain JSON data; what has its default is left out."""
    return {"role": message.role, "parts": [_part_to_plain(part) for part in message.parts]}


def _part_to_plain(part: Part) -> dict[str, Any]:
    defaults = part._field_defaults
    found: dict[str, Any] = {"type": _NAMES[type(part)]}
    for name, value in part._asdict().items():
        if name not in defaults or value != defaults[name]:
            found[name] = base64.b64encode(value).decode() if isinstance(value, bytes) else value
    return found


def from_plain(data: Any) -> Message:
    """Return the message that `to_plain` wrote.  Raises ConfigError for what is none."""
    try:
        role, parts = data["role"], tuple(_part_from_plain(part) for part in data["parts"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ConfigError("this is no stored message", found=type(data).__name__) from None
    if role not in ("user", "assistant", "tool"):
        raise ConfigError("a stored message has an unknown role", found=repr(str(role)[:40]))
    return Message(role, parts)


def _part_from_plain(data: Mapping[str, Any]) -> Part:
    given = dict(data)
    kind = _KINDS[given.pop("type")]
    if "data" in given:
        given["data"] = base64.b64decode(given["data"], validate=True)
    for name, value in given.items():
        wanted = bytes if name == "data" else bool if name == "failed" else str
        if not isinstance(value, wanted):
            raise TypeError(name)
    return cast("Part", kind(**given))


# --- files


def _loaded(source: str | Path | bytes, media_type: str | None) -> tuple[str, bytes, str]:
    if isinstance(source, bytes):
        return _known(media_type, "bytes"), source, ""
    guessed = media_type or mimetypes.guess_type(str(source))[0]
    if isinstance(source, str) and source.startswith("https://"):
        return _known(guessed, source), b"", source
    return _known(guessed, str(source)), Path(source).read_bytes(), ""


def _known(media_type: str | None, source: str) -> str:
    if media_type is None:
        raise ConfigError(
            "nothing tells what kind of file this is",
            found=Path(source).name[:80],
            fix="name it: media_type='image/png'",
        )
    return media_type


def joined(messages: Sequence[Message]) -> str:
    """Return all the text of messages, for an estimate of their length."""
    return "\n".join(
        part.text
        if isinstance(part, Text | Reasoning)
        else part.arguments
        if isinstance(part, ToolCall)
        else part.content
        if isinstance(part, ToolResult)
        else ""
        for message in messages
        for part in message.parts
    )
