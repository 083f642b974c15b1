"""The inputs of a run, as they are given on the command line: JSON, never evaluated.

An error says where the text stops being JSON and what was expected there; it never repeats the
text, which may hold a secret.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from kairos.cli.output import Stop, clean

__all__ = ["inputs_from"]

_EXAMPLE = """--input '{"topic": "AI security"}'"""
_KINDS = {
    list: "an array",
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
}


def inputs_from(text: str | None, file: str | None) -> dict[str, Any]:
    """Return the inputs that `--input` or `--input-file` gives; `-` is standard input.

    Raises Stop for both at once, for what cannot be read, and for what is no JSON object.
    """
    if text is not None and file is not None:
        raise Stop("give the inputs once", found="--input and --input-file")
    if file is not None:
        source = "standard input" if file == "-" else clean(file)
        return _parsed(_read(file, source), source)
    return {} if text is None else _parsed(text, "--input")


def _read(file: str, source: str) -> str:
    if file == "-" and sys.stdin is None:
        raise Stop("standard input is closed", fix="pipe the inputs in, or name a file")
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return raw.decode("utf-8-sig")
    except FileNotFoundError:
        raise Stop(f"no such file: {source}") from None
    except UnicodeDecodeError as error:
        raise Stop(
            f"{source} is no UTF-8 text", found=f"a byte that is none, at offset {error.start}"
        ) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise Stop(f"{source} cannot be read: {why}") from None


def _parsed(text: str, source: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Stop(
            f"{source} is not JSON: {where}: {_lowered(error.msg)}",
            expected="a JSON object",
            fix=_hint(text, error, source),
        ) from None
    except _NotJSON as error:
        raise Stop(f"{source} is not JSON: {error}", expected="a JSON object") from None
    except RecursionError:
        raise Stop(f"{source} is nested too deeply") from None
    except ValueError:  # the one left: an integer beyond what Python converts
        raise Stop(f"{source} holds a number with too many digits") from None
    if not isinstance(value, dict):
        raise Stop(
            f"{source} is not a JSON object",
            expected="an object with one member for each input",
            found=_KINDS.get(type(value), "null"),
            fix=_EXAMPLE if source == "--input" else None,
        )
    return value


class _NotJSON(ValueError):  # noqa: N818 - it never leaves this room
    """What Python's parser would let pass."""


def _refuse(constant: str) -> NoReturn:
    raise _NotJSON(f"{constant} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _NotJSON("an object names one of its members twice")
    return members


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]


def _hint(text: str, error: json.JSONDecodeError, source: str) -> str | None:
    if text[error.pos : error.pos + 1] == "'":
        return "JSON takes double quotes around names and strings"
    if source != "--input":
        return None
    try:
        named = Path(text).is_file()
    except (OSError, ValueError):
        named = False
    return "that is a file: use --input-file" if named else _EXAMPLE
