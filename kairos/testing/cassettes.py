"""Real calls, recorded once and replayed ever after."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from kairos.exceptions import ConfigError, SecurityError
from kairos.testing.scrubbing import clean_body, clean_headers, clean_url, keys_in, known_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Cassette", "cassette"]

Record: TypeAlias = Literal["once", "none", "all"]
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_SUFFIXES = {".yaml": "yaml", ".yml": "yaml", ".json": "json"}
# What an SDK wants to have before it calls; nothing is sent anywhere while a file is replayed.
_WANTED = (
    ("ANTHROPIC_API_KEY", ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")),
    ("OPENAI_API_KEY", ("OPENAI_API_KEY",)),
    ("GOOGLE_API_KEY", ("GOOGLE_API_KEY", "GEMINI_API_KEY")),
)
_PLACEHOLDER = "replayed"


class Cassette:
    """What a cassette did: `recording` or not, and how many calls it `played` and has in all."""

    def __init__(self, tape: Any, *, recording: bool) -> None:
        self._tape = tape
        self.recording = recording

    @property
    def played(self) -> int:
        """How many calls were answered from the file."""
        return int(self._tape.play_count)

    def __len__(self) -> int:
        return len(self._tape)


@contextlib.contextmanager
def cassette(path: str | Path, record: Record = "once") -> Iterator[Cassette]:
    """Replay the calls in a file (.yaml or .json), or record them into it.

    `once` records where there is no file, and replays where there is one; `none` only replays;
    `all` records anew.  In CI (`CI` in the environment) a missing file is an error in `once` too.
    A request is known again by its method, address, query and body; the port of this machine does
    not count.  Replaying needs no key: for those that are missing a placeholder is set meanwhile.

    Nothing secret is written: of the headers only a few are kept, credentials, request ids and
    organisations are masked in addresses and bodies, and the file is refused with SecurityError
    when the value of a key in the environment is found in it all the same.  Read a new file
    before you commit it: a model may have repeated what no rule knows.

    Raises ConfigError without the extra `testing`, for a missing or unreadable file, and at the end
    of the block for a request that the file does not have, whatever became of that in between.  A
    stream arrives at once while it is recorded.
    """
    where = Path(path)
    recording = _recording(where, record)
    tapes = _tapes(where, recording=recording)
    with contextlib.ExitStack() as stack:
        if not recording:
            stack.enter_context(_placeholders())
        try:
            tape = stack.enter_context(tapes)
        except Exception as error:  # a loader may fail on a foreign file in any way
            raise _unreadable(where) from error
        if not recording and not len(tape):
            raise _unreadable(where)
        unknown = [] if recording else _noted(tape)
        try:
            yield Cassette(tape, recording=recording)
        except Exception as error:
            if not unknown:
                raise
            raise _not_recorded(where, unknown[0]) from error
        if unknown:  # whoever asked took it for a failure of the provider
            raise _not_recorded(where, unknown[0])


def _recording(where: Path, record: str) -> bool:
    if record not in ("once", "none", "all"):
        raise ConfigError(
            "a cassette cannot be used like this",
            expected="record='once', 'none' or 'all'",
            found=repr(str(record)[:20]),
        )
    if where.suffix not in _SUFFIXES:
        raise ConfigError(
            "a cassette is a .yaml or a .json file", found=where.suffix or "no suffix"
        )
    if record == "all":
        return True
    if where.is_file() and where.stat().st_size:
        return False
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    if record == "once" and not in_ci:
        return True
    why = "record='none'" if record == "none" else "nothing is recorded in CI"
    raise ConfigError(
        f"there is no cassette {where.name}, and {why}",
        fix="record it on a machine with the key, with record='all', and commit the file",
    )


def _tapes(where: Path, *, recording: bool) -> Any:
    try:
        import vcr  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError("cassettes need vcrpy", fix="pip install 'kairos-ai[testing]'") from None
    tapes = vcr.VCR(
        before_record_request=_clean_request,
        before_record_response=_clean_response,
        decode_compressed_response=True,
        match_on=("method", "place", "query", "body"),
    )
    tapes.register_matcher("place", _same_place)
    tapes.register_persister(_Recording if recording else _Replaying)
    mode = "all" if recording else "none"
    serializer = _SUFFIXES[where.suffix]
    return tapes.use_cassette(str(where), record_mode=mode, serializer=serializer)


class _Replaying:
    """Reads a file as vcrpy does."""

    @staticmethod
    def load_cassette(path: str, serializer: Any) -> Any:
        from vcr.persisters.filesystem import FilesystemPersister  # noqa: PLC0415 - an extra

        return FilesystemPersister.load_cassette(path, serializer)


class _Recording:
    """Writes a file whole or not at all, and never with a key in it."""

    @staticmethod
    def load_cassette(_path: str, serializer: Any) -> Any:  # noqa: ARG004 - named by vcrpy
        from vcr.persisters.filesystem import CassetteNotFoundError  # noqa: PLC0415 - an extra

        raise CassetteNotFoundError  # what was there is replaced, readable or not

    @staticmethod
    def save_cassette(path: str, contents: dict[str, Any], serializer: Any) -> None:
        from vcr.serialize import serialize  # noqa: PLC0415 - an extra

        where = Path(path)
        keys = known_keys()
        texts = [
            *(f"{one.uri} {dict(one.headers)}" for one in contents["requests"]),
            *(one.body or b"" for one in contents["requests"]),
            *(str(one["headers"]) for one in contents["responses"]),
            *(one["body"]["string"] or b"" for one in contents["responses"]),
        ]
        found = keys_in(texts, keys)
        text = serialize(contents, serializer)
        found = found or keys_in([text], keys)
        if found:
            raise SecurityError(
                f"cassette {where.name} was not written: it would hold a key",
                found=f"the value of {', '.join(found)}",
                fix="keep the key out of prompts and tool results",
            )
        where.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=where.parent, suffix=".tmp", encoding="utf-8", newline="\n", delete=False
        ) as file:
            file.write(text)
        Path(file.name).replace(where)


def _clean_request(request: Any) -> Any:
    request.uri = clean_url(request.uri)
    request.headers = clean_headers(request.headers)
    body = request.body
    if isinstance(body, bytes | str):
        request.body = clean_body(body)
    return request


def _clean_response(response: dict[str, Any]) -> dict[str, Any]:
    body = response["body"]
    return {
        **response,
        "headers": clean_headers(response["headers"]),
        "body": {**body, "string": clean_body(body["string"])},
    }


def _same_place(first: Any, second: Any) -> None:
    one, other = urlsplit(first.uri), urlsplit(second.uri)
    here = one.hostname in _LOOPBACK and other.hostname in _LOOPBACK
    same_host = here or (one.hostname, one.port) == (other.hostname, other.port)
    if (one.scheme, one.path) != (other.scheme, other.path) or not same_host:
        raise AssertionError("the address is another")  # what the matchers of vcrpy raise


@contextlib.contextmanager
def _placeholders() -> Iterator[None]:
    added = [name for name, either in _WANTED if not any(os.environ.get(one) for one in either)]
    os.environ.update(dict.fromkeys(added, _PLACEHOLDER))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _noted(tape: Any) -> list[Any]:
    """Return a list of the requests that a tape is asked for and does not have, as they come."""
    unknown: list[Any] = []
    known = tape.can_play_response_for

    def can_play(request: Any) -> Any:
        found = known(request)
        if not found:
            unknown.append(request)
        return found

    tape.can_play_response_for = can_play
    return unknown


def _not_recorded(where: Path, request: Any) -> ConfigError:
    return ConfigError(
        f"cassette {where.name} has no (further) answer to this request",
        found=f"{request.method} {clean_url(request.uri)}",
        fix="record it anew with record='all' if the request has changed on purpose",
    )


def _unreadable(where: Path) -> ConfigError:
    return ConfigError(
        f"cassette {where.name} cannot be read", fix="record it anew with record='all'"
    )
