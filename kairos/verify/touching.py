"""What a step talks to outside its process, as far as its code shows it.

Names that the code refers to are looked up where it would look them up; what they resolve to is
told by the module it comes from.  One level of helper functions in the same module is read too.
Nothing is called, imported or asked for an attribute that its module does not hold already.
"""

from __future__ import annotations

import functools
import linecache
import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.contracts.effects import touches_of
from kairos.exceptions import ConfigError
from kairos.verify.code import codes_in, function_of, ops_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.step import Step

__all__ = ["Seen", "seen_touches", "validators_touch"]

_MODELS = (
    "openai", "anthropic", "google.genai", "google.generativeai", "vertexai", "litellm",
    "mistralai", "cohere", "groq", "ollama", "huggingface_hub", "instructor",
    "langchain_openai", "langchain_anthropic", "langchain_google_genai",
)  # fmt: skip
_NETWORK = (
    "requests", "httpx", "httpx2", "urllib.request", "urllib3", "http.client", "aiohttp", "socket",
    "smtplib", "aiosmtplib", "ftplib", "imaplib", "poplib", "telnetlib", "xmlrpc.client",
    "websockets", "websocket", "grpc", "paramiko", "asyncssh", "boto3", "botocore",
    "aioboto3", "google.cloud", "azure", "slack_sdk", "redis", "pymongo", "psycopg",
    "psycopg2", "asyncpg", "pymysql", "MySQLdb", "kafka", "confluent_kafka", "pika", "stripe",
    "twilio", "sendgrid", "pycurl", "treq", "tweepy", "kairos.adapters",
)  # fmt: skip
_COMMANDS = ("subprocess", "os.system", "os.popen", "pexpect")
_TABLE: dict[str, str] = {
    **dict.fromkeys(_COMMANDS, "commands"),
    **dict.fromkeys(_NETWORK, "network"),
    **dict.fromkeys(_MODELS, "model"),
    "kairos.adapters": "model",
}
# Of such a library, but it sends nothing.
_QUIET = frozenset({"gethostname", "codes", "exceptions", "errors", "types", "TimeoutExpired"})
_MOST_HELPERS = 20
_MOST_LAYERS = 20
_MOST_VALIDATORS = 100
_TOPS = frozenset(name.partition(".")[0] for name in _TABLE)
_LONGEST = max(name.count(".") for name in _TABLE) + 1


class Seen(NamedTuple):
    """One thing that a code touches: what, through which library, and how that is known."""

    touches: str
    library: str
    evidence: str


def seen_touches(step: Step) -> tuple[Seen, ...]:
    """Return what a step's code seems to touch, each kind once, with its first evidence."""
    found: dict[str, Seen] = {}
    function = _innermost(step.action)
    if function is not None:
        helpers: list[types.FunctionType] = []
        for seen in _in_function(function, helpers):
            found.setdefault(seen.touches, seen)
        for helper in helpers[:_MOST_HELPERS]:
            for seen in _in_function(helper, []):
                told = f"{seen.evidence}, by {helper.__name__}()"
                found.setdefault(seen.touches, seen._replace(evidence=told))
    return tuple(found.values())


def validators_touch(step: Step) -> tuple[Seen, ...]:
    """Return what the validators of a step touch, each of which is shown its output."""
    found: dict[str, Seen] = {}
    waiting = [*step.validators]
    for each in waiting:
        if len(waiting) < _MOST_VALIDATORS:  # one may hold others, or itself
            inner = getattr(each, "validators", ())
            waiting += inner if isinstance(inner, list | tuple) else ()
        kinds = ("model",) if getattr(each, "semantic", False) is True else ()
        name = type(each).__name__
        for kind in (*kinds, *touches_of(each, step.name, step.place)):
            found.setdefault(kind, Seen(kind, name, f"through its validator {name}"))
    return tuple(found.values())


def _innermost(action: Any) -> types.FunctionType | None:
    for _ in range(_MOST_LAYERS):
        if isinstance(action, functools.partial):
            action = action.func
        elif "__wrapped__" in getattr(action, "__dict__", ()):
            action = action.__wrapped__
        else:
            break
    return function_of(action) or function_of(type(action).__call__)


def _in_function(function: types.FunctionType, helpers: list[types.FunctionType]) -> Iterator[Seen]:
    held = _closure(function)
    for code in codes_in(function.__code__):
        if not held and not any(_may_lead(name, function.__globals__) for name in code.co_names):
            continue  # most code refers to nothing of interest, and reading it all takes its time
        ops = ops_of(code)
        for i, op in enumerate(ops):
            if op.name == "IMPORT_NAME":
                yield from _of_library(str(op.value), function, str(op.value), op.line)
                continue
            names = function.__globals__ if op.name in {"LOAD_GLOBAL", "LOAD_NAME"} else held
            if op.name not in {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF"} or op.value not in names:
                continue
            thing = names[op.value]
            if type(thing) is types.FunctionType and thing.__globals__ is function.__globals__:
                helpers += [thing] if thing is not function and thing not in helpers else []
            try:
                dotted = _dotted(thing, [each.value for each in _attributes(ops, i + 1)])
                said = _said_by(thing)
            except Exception:  # noqa: BLE001, S112 - a foreign object may answer with anything
                continue
            if dotted is not None:
                yield from _of_library(dotted, function, op.value, op.line)
            for each in said:
                yield Seen(each, op.value, f"through {op.value}, which says so")


def _may_lead(name: str, names: dict[str, Any]) -> bool:
    return name in names or name.partition(".")[0] in _TOPS


def _closure(function: types.FunctionType) -> dict[str, Any]:
    held = {}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        try:
            held[name] = cell.cell_contents
        except ValueError:  # empty so far
            continue
    return held


def _attributes(ops: tuple[Any, ...], i: int) -> Iterator[Any]:
    while i < len(ops) and ops[i].name == "LOAD_ATTR":
        yield ops[i]
        i += 1


def _dotted(thing: Any, attributes: list[str]) -> str | None:
    """Return the dotted name of what a name and its attributes lead to; None for what is quiet."""
    if not isinstance(thing, types.ModuleType):
        owner = thing if isinstance(thing, type | types.FunctionType) else type(thing)
        if isinstance(thing, type) and issubclass(thing, BaseException):
            return None
        return str(getattr(owner, "__module__", None) or "")
    name = thing.__name__
    for attribute in attributes:
        if attribute in _QUIET:
            return None
        inner = vars(thing).get(attribute)
        if isinstance(inner, type) and issubclass(inner, BaseException):
            return None
        name = f"{name}.{attribute}"
        if not isinstance(inner, types.ModuleType):
            break
        thing = inner
    return name


def _of_library(
    dotted: str, function: types.FunctionType, name: str, line: int | None
) -> Iterator[Seen]:
    parts = dotted.split(".")
    for length in range(1, min(len(parts), _LONGEST) + 1):
        library = ".".join(parts[:length])
        touches = _TABLE.get(library)
        if touches is not None:
            yield Seen(touches, library, f"through {library}, {_place(function, name, line)}")
            return


def _said_by(thing: Any) -> tuple[str, ...]:
    """Return what an object that code refers to says of itself (see kairos.contracts.effects)."""
    if isinstance(thing, types.ModuleType):
        return ()
    try:
        return touches_of(thing, "", None)
    except ConfigError:
        return ()


def _place(function: types.FunctionType, name: str, line: int | None) -> str:
    file = function.__code__.co_filename
    shown = Path(file).name
    wanted = re.compile(rf"\s*(?:from\s+\S+\s+)?import\b.*\b{re.escape(name.partition('.')[0])}\b")
    for number, text in enumerate(linecache.getlines(file), 1):
        if wanted.match(text):
            return f"imported in {shown}:{number}"
    return f"used in {shown}:{line or function.__code__.co_firstlineno}"
