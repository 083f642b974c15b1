"""What cached steps brought before: found again by what they are and what they read.

The key of an output is a digest of its step's identity (see `kairos.engine.identity`) and of every
value that the step may read.  What is found is held to the step's contracts and validators as a
fresh output is, so a cache that was tampered with, or is from another day, can break nothing.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from kairos.attempts.outputs import recheck
from kairos.attempts.work import Outcome
from kairos.caching import Cache
from kairos.contracts.encoding import decode
from kairos.exceptions import StateError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kairos.attempts.work import Recipe, Work
    from kairos.context import StepContext
    from kairos.ports import StepCache
    from kairos.security import Redactor

__all__ = ["StepMemory"]

_FORMAT = 1


class StepMemory:
    """The cache of a run, as its attempts use it; on whichever thread they are made.

    A cache that fails fails no step: it is as if nothing were kept, and the result says so.
    """

    def __init__(self, cache: StepCache, time: Callable[[], float], redactor: Redactor) -> None:
        self._cache = cache
        self._time = time
        self._redactor = redactor
        # the last scope of each step: elements of a foreach share it, and it may be large
        self._shared: dict[str, tuple[Mapping[str, bytes], bytes]] = {}

    def find(self, work: Work, context: StepContext) -> Outcome | None:
        """Return what the same work brought before, held to its contracts; None if nothing did."""
        try:
            kept = self._cache.get(self._key(work))
        except StoreError as error:
            context.warn(f"nothing was looked up in the cache: {error.message}")
            return None
        read = None if kept is None else _read(kept, self._time())
        if read is None:
            return None
        output, writes = read
        refused, deadline = len(work.refusals), work.fence.deadline
        outcome = recheck(Outcome(work, output), context)
        if outcome.failure is not None or any(k not in work.recipe.write_keys for k in writes):
            del work.refusals[refused:]  # its action is asked instead, as if nothing had been
            work.fence.deadline = deadline
            return None
        work.writes.update(writes)
        outcome.cached = True
        return outcome

    def keep(self, outcome: Outcome, context: StepContext) -> None:
        """Keep what an attempt brought; no failure, no SKIP, and in a file no secret."""
        work = outcome.work
        if outcome.failure is not None or outcome.skipped or outcome.output is None:
            return
        name, writes = work.recipe.name, outcome.writes or work.writes
        if self._cache.at_rest and self._is_secret({**writes, name: outcome.output}):
            context.warn("its output holds what looks like a secret, and is not kept in the cache")
            return
        option = work.recipe.step.config.cache
        ttl = option.ttl if isinstance(option, Cache) else None
        expires = None if ttl is None else self._time() + ttl
        try:
            self._cache.put(self._key(work), _written(outcome.output, writes, expires))
        except StoreError as error:
            context.warn(f"nothing was kept in the cache: {error.message}")

    def _is_secret(self, values: Mapping[str, bytes]) -> bool:
        plain = {key: decode(raw) for key, raw in values.items()}
        return bool(self._redactor.redact(plain) != plain)

    def _key(self, work: Work) -> str:
        digest = hashlib.sha256(self._scope(work))
        if work.item is not None:
            digest.update(b"item")
            digest.update(work.item)
        return digest.hexdigest()

    def _scope(self, work: Work) -> bytes:
        recipe = work.recipe
        before = self._shared.get(recipe.name)
        if before is not None and before[0] is work.inputs:
            return before[1]
        digest = hashlib.sha256(f"{_FORMAT} {recipe.identity} ".encode())
        whole = None if work.item is None else _list_of_elements(recipe)
        for key in sorted(work.inputs):
            if key != whole:
                told, raw = key.encode(), work.inputs[key]
                digest.update(b"%d %d " % (len(told), len(raw)))
                digest.update(told)
                digest.update(raw)
        made = digest.digest()
        self._shared[recipe.name] = (work.inputs, made)
        return made


def _list_of_elements(recipe: Recipe) -> str | None:
    """Return the key of the whole list, where one element's attempt cannot look at it."""
    step = recipe.step
    over = step.config.foreach
    if over in step.signature.reads or over in step.prompted:
        return None
    sees_only_what_it_names = step.prompt is not None or (
        recipe.typed and step.signature.context is None
    )
    return over if sees_only_what_it_names else None


def _written(output: bytes, writes: Mapping[str, bytes], expires: float | None) -> bytes:
    sizes = [[key, len(raw)] for key, raw in writes.items()]
    head = {"v": _FORMAT, "expires": expires, "output": len(output), "writes": sizes}
    return b"".join((json.dumps(head).encode(), b"\n", output, *writes.values()))


def _read(kept: bytes, now: float) -> tuple[bytes, dict[str, bytes]] | None:
    """Take an entry apart; None for one whose time is over, and for what is none."""
    head, _, body = kept.partition(b"\n")
    try:
        told: Any = json.loads(head)
        if told["v"] != _FORMAT or (told["expires"] is not None and told["expires"] <= now):
            return None
        pieces: list[bytes] = []
        at = 0
        for size in (told["output"], *(size for _, size in told["writes"])):
            pieces.append(body[at : at + size])
            at += size
        if at != len(body):
            return None
        for piece in pieces:
            decode(piece)
        return pieces[0], dict(zip((key for key, _ in told["writes"]), pieces[1:], strict=True))
    except (ValueError, TypeError, KeyError, RecursionError, StateError):
        return None
