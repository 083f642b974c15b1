"""What cached steps brought before: found again by what they are and what they read.

The key of an output is a digest of its step's identity (see `kairos.engine.identity`) and of every
value that the step may read.  What is found is held to the step's contracts and validators as a
fresh output is, so a cache that was tampered with, or is from another day, can break nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.attempts.outputs import recheck
from kairos.attempts.work import Outcome
from kairos.caching import Cache
from kairos.contracts.encoding import decode
from kairos.exceptions import StateError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kairos.attempts.work import Identity, Recipe, Work
    from kairos.context import StepContext
    from kairos.ports import StepCache
    from kairos.security import Redactor

__all__ = ["StepMemory"]

_FORMAT = 2
_NOT_READ = "nothing was looked up in the cache"
_SHORTEST = 4  # characters: a shorter text is found in most others


class StepMemory:
    """The cache of a run, as its attempts use it; on whichever thread they are made.

    A cache that fails fails no step: it is as if nothing were kept, and the result says so.
    """

    def __init__(self, cache: StepCache, time: Callable[[], float], redactor: Redactor) -> None:
        self._cache = cache
        self._time = time
        self._redactor = redactor
        # what each step was when the run first came to it
        self._identities: dict[Identity, str | None] = {}
        # the last scope of each step: elements of a foreach share it, and it may be large
        self._shared: dict[Identity, tuple[Mapping[str, bytes], bytes]] = {}

    def find(self, work: Work, context: StepContext) -> Outcome | None:
        """Return what the same work brought before, held to its contracts; None if nothing did."""
        key = self._key(work)
        if key is None:
            context.warn("nothing tells any more when its action changes: the cache is not used")
            return None
        try:
            kept = self._cache.get(key)
        except Exception as error:  # noqa: BLE001 - a cache of somebody else's may raise anything
            context.warn(f"{_NOT_READ}: {_told(error)}")
            return None
        read = None if kept is None else _read(key, kept)
        if read is None or not self._is_in_time(work, read.kept):
            return None
        output, writes = read.output, read.writes
        refused, deadline = len(work.refusals), work.fence.deadline
        outcome = recheck(Outcome(work, output), context)
        # of an output that its contract makes another one, nobody knows whether it is what was kept
        same = outcome.failure is None and outcome.output == output
        if not same or any(k not in work.recipe.write_keys for k in writes):
            del work.refusals[refused:]  # its action is asked instead, as if nothing had been
            work.fence.deadline = deadline
            return None
        work.writes.update(writes)
        for said in read.warnings:
            context.warn(said)
        outcome.cached = True
        return outcome

    def keep(self, outcome: Outcome, context: StepContext) -> None:
        """Keep what an attempt brought; no failure, no SKIP, and in a file no secret."""
        work = outcome.work
        if outcome.failure is not None or outcome.skipped or outcome.output is None:
            return
        name, writes = work.recipe.name, outcome.writes or work.writes
        said = dict.fromkeys((*context.warnings, *outcome.warnings))
        warnings = [each for each in said if not each.startswith(_NOT_READ)]
        values = {**writes, name: outcome.output}
        if self._cache.at_rest and self._is_secret(values, warnings, work):
            context.warn("its output holds what looks like a secret, and is not kept in the cache")
            return
        key = self._key(work)
        if key is None:
            return
        try:
            entry = _Entry(outcome.output, writes, self._time(), warnings)
            self._cache.put(key, _written(key, entry))
        except Exception as error:  # noqa: BLE001 - a cache of somebody else's may raise anything
            context.warn(f"nothing was kept in the cache: {_told(error)}")

    def _is_in_time(self, work: Work, kept: float) -> bool:
        """Say whether an entry may still be used; one from after now is of a clock that was set."""
        option = work.recipe.step.config.cache
        ttl = option.ttl if isinstance(option, Cache) else None
        return ttl is None or 0 <= self._time() - kept < ttl

    def _is_secret(self, values: Mapping[str, bytes], warnings: Sequence[str], work: Work) -> bool:
        plain = {key: decode(raw) for key, raw in values.items()}
        if self._redactor.redact(plain) != plain:
            return True
        read = {key: work.inputs[key] for key in work.inputs if self._redactor.is_sensitive(key)}
        if work.item is not None and (over := work.recipe.step.config.foreach) in read:
            read[over] = work.item
        secrets = [each for raw in read.values() for each in _texts(decode(raw))]
        shown = [*_texts(plain), *warnings]
        return any(each in text for text in shown for each in secrets)

    def _key(self, work: Work) -> str | None:
        scope = self._scope(work)
        if scope is None:
            return None
        digest = hashlib.sha256(scope)
        if work.item is not None:
            digest.update(b"item")
            digest.update(work.item)
            if not _sees_only_what_it_names(work.recipe):
                digest.update(b" at %d" % (work.item_index or 0))
        return digest.hexdigest()

    def _scope(self, work: Work) -> bytes | None:
        recipe = work.recipe
        identity = recipe.identity
        if identity is None:
            return None
        before = self._shared.get(identity)
        if before is not None and before[0] is work.inputs:
            return before[1]
        if identity not in self._identities:
            self._identities[identity] = identity.now()
        told_apart = self._identities[identity]
        if told_apart is None:
            return None
        digest = hashlib.sha256(f"{_FORMAT} {told_apart} ".encode())
        whole = None if work.item is None else _list_of_elements(recipe)
        for key in sorted(work.inputs):
            if key != whole:
                told, raw = key.encode(), work.inputs[key]
                digest.update(b"%d %d " % (len(told), len(raw)))
                digest.update(told)
                digest.update(raw)
        made = digest.digest()
        self._shared[identity] = (work.inputs, made)
        return made


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in plain data that are long enough to be known again."""
    if isinstance(value, str) and len(value) >= _SHORTEST:
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from _texts(each)


def _told(error: Exception) -> str:
    return error.message if isinstance(error, StoreError) else type(error).__name__


def _list_of_elements(recipe: Recipe) -> str | None:
    """Return the key of the whole list, where one element's attempt cannot look at it."""
    step = recipe.step
    over = step.config.foreach
    if over in step.signature.reads or over in step.prompted:
        return None
    return over if _sees_only_what_it_names(recipe) else None


def _sees_only_what_it_names(recipe: Recipe) -> bool:
    """Say whether an action cannot look around: at other keys, or where its element stands."""
    return recipe.step.prompt is not None or (
        recipe.typed and recipe.step.signature.context is None
    )


class _Entry(NamedTuple):
    """What is kept of an attempt; `kept` is when, in seconds since the epoch."""

    output: bytes
    writes: Mapping[str, bytes]
    kept: float
    warnings: Sequence[str] = ()


def _written(key: str, entry: _Entry) -> bytes:
    sizes = [[name, len(raw)] for name, raw in entry.writes.items()]
    body = b"".join((entry.output, *entry.writes.values()))
    head: dict[str, Any] = {"v": _FORMAT, "kept": entry.kept, "output": len(entry.output)}
    head |= {"writes": sizes, "warnings": list(entry.warnings)}
    told = json.dumps(head).encode()
    return b"\n".join((_sum(key, told, body), told, body))


def _sum(key: str, told: bytes, body: bytes) -> bytes:
    """Return what shows that an entry is whole, and stands under the key that it was kept under."""
    return hashlib.sha256(b"\n".join((key.encode(), told, body))).hexdigest().encode()


def _read(key: str, kept: Any) -> _Entry | None:
    """Take an entry apart; None for what is none."""
    try:
        found, told, body = kept.split(b"\n", 2)
        if found != _sum(key, told, body):
            return None
        head: Any = json.loads(told)
        pieces: list[bytes] = []
        at = 0
        for size in (head["output"], *(size for _, size in head["writes"])):
            pieces.append(body[at : at + size])
            at += size
        if head["v"] != _FORMAT or at != len(body):
            return None
        for piece in pieces:
            decode(piece)
        names = (name for name, _ in head["writes"])
        writes = dict(zip(names, pieces[1:], strict=True))
        return _Entry(pieces[0], writes, float(head["kept"]), list(map(str, head["warnings"])))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, StateError):
        return None
