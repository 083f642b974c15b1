"""What a step talks to outside its process, as far as its code shows it.

Names that the code refers to are looked up where it would look them up; what they resolve to is
told by the module it comes from.  The functions of the project that it calls are read too, and so
are the methods of its own objects.
Nothing is called, imported or asked for an attribute that its module does not hold already.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import linecache
import os
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
    from kairos.verify.code import Op

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
_PYTHON = Path(os.__file__).parent
_KAIROS = Path(__file__).parents[1]
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
    first = _called(step.action)
    waiting = [] if first is None else [first]
    codes = {each.function.__code__ for each in waiting}
    for nth, each in enumerate(waiting):  # which grows while it is gone through
        for seen in _in_function(each, waiting if len(waiting) < _MOST_HELPERS else [], codes):
            told = f"{seen.evidence}, by {each.function.__name__}()" if nth else seen.evidence
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


class _Called(NamedTuple):
    """A function that runs, with what is known of its closure and its first parameters."""

    function: types.FunctionType
    held: dict[str, Any]


def _called(action: Any) -> _Called | None:
    """Return the function that runs where something is called; None for what shows no code."""
    given: tuple[Any, ...] = ()
    named: dict[str, Any] = {}
    for _ in range(_MOST_LAYERS):
        if isinstance(action, functools.partial):
            given, named = (*action.args, *given), {**action.keywords, **named}
            action = action.func
        elif "__wrapped__" in getattr(action, "__dict__", ()):
            action = action.__wrapped__
        else:
            break
    function = function_of(action)
    if isinstance(action, types.MethodType):
        given = (action.__self__, *given)
    elif function is None:
        function, given = function_of(type(action).__call__), (action, *given)
    if function is None:
        return None
    parameters = zip(function.__code__.co_varnames, given, strict=False)
    return _Called(function, {**_closure(function), **dict(parameters), **named})


def _in_function(
    called: _Called, helpers: list[_Called], codes: set[types.CodeType]
) -> Iterator[Seen]:
    function, held = called
    for code in codes_in(function.__code__):
        if not held and not any(_may_lead(name, function.__globals__) for name in code.co_names):
            continue  # most code refers to nothing of interest, and reading it all takes its time
        ops = ops_of(code)
        for i, op in enumerate(ops):
            if op.name == "IMPORT_NAME":
                yield from _of_library(str(op.value), function, str(op.value), op.line)
                continue
            names = held if op.name in _OF_FUNCTION else function.__globals__
            if op.name in _LOADED and op.value in names:
                attributes = [each.value for each in _attributes(ops, i + 1)]
                leads = _followed(names[op.value], attributes)
                for helper in filter(None, map(_helper, leads)):
                    if helper.function.__code__ not in codes:
                        codes.add(helper.function.__code__)
                        helpers.append(helper)
                yield from _of_things(leads, attributes, function, op)


def _of_things(
    leads: list[Any], attributes: list[str], function: types.FunctionType, op: Op
) -> Iterator[Seen]:
    try:
        dotted = [_dotted(each, attributes[nth:]) for nth, each in enumerate(leads)]
        said = _said_by(leads[0])
    except Exception:  # noqa: BLE001 - a foreign object may answer with anything
        return
    for each in filter(None, dotted):
        yield from _of_library(each, function, op.value, op.line)
    for each in said:
        yield Seen(each, op.value, f"through {op.value}, which says so")


_OF_FUNCTION = frozenset({"LOAD_DEREF", "LOAD_FAST"})
_LOADED = frozenset({"LOAD_GLOBAL", "LOAD_NAME", *_OF_FUNCTION})


def _followed(thing: Any, attributes: list[str]) -> list[Any]:
    """Return a thing and what its attributes lead to; nothing is computed for it."""
    leads = [thing]
    with contextlib.suppress(Exception):  # a foreign object may answer with anything
        for attribute in attributes:
            thing = _held_by(thing, attribute)
            if thing is None:
                break
            leads.append(thing)
    return leads


def _held_by(thing: Any, attribute: str) -> Any:
    own = getattr(thing, "__dict__", {})
    if isinstance(thing, types.ModuleType):  # for an installed one its name says enough
        return own.get(attribute) if _is_own(thing.__file__ or "") else None
    if attribute in own:
        inner = own[attribute]
        return inner.__func__ if isinstance(inner, staticmethod | classmethod) else inner
    inner = inspect.getattr_static(type(thing), attribute, None)
    if isinstance(inner, staticmethod | classmethod):
        return inner.__func__
    return types.MethodType(inner, thing) if isinstance(inner, types.FunctionType) else inner


def _helper(thing: Any) -> _Called | None:
    """Return the function of the project's own that a name leads to."""
    if not isinstance(thing, types.FunctionType | types.MethodType | functools.partial):
        return None
    called = _called(thing)
    return called if called and _is_own(called.function.__code__.co_filename) else None


@functools.lru_cache(maxsize=1024)
def _is_own(file: str) -> bool:
    """Tell a project's file from those of Python, of what is installed, and of kairos."""
    path = Path(file)
    if not file:
        return False
    if {"site-packages", "dist-packages"}.intersection(path.parts):
        return False
    return not any(path.is_relative_to(each) for each in (_PYTHON, _KAIROS))


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
