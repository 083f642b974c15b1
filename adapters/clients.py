"""The SDK clients of this process: built on first use, shared by all who reach the same place.

An async client lives and ends with its event loop.  It is held by an async generator that the loop
itself closes when it is shut down, so that no connection is left over for the collector to find.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from kairos.models.limits import fingerprint

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator
    from types import ModuleType

    from kairos.adapters.vendor import Connection, Vendor

__all__ = ["async_client", "client"]

_MOST = 16
_lock = threading.Lock()
_clients: dict[tuple[Any, ...], Any] = {}
_retired: deque[tuple[tuple[Any, ...], Any]] = deque()
_on_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Any, ...], Any]] = (
    WeakKeyDictionary()
)


def client(vendor: Vendor, sdk: ModuleType, to: Connection) -> Any:
    """Return the client for a place, key and patience; a forked process has its own."""
    which = _which(vendor, to)
    entry = _clients.get(which)
    if entry is None:
        with _lock:
            entry = _clients.get(which)
            if entry is None:
                if not _clients:
                    atexit.register(_close_all)
                if len(_clients) >= _MOST:
                    _retire(next(iter(_clients)))
                entry = _clients[which] = (vendor.connect(sdk, to, False), vendor.disconnect)
    return entry[0]


def _retire(which: tuple[Any, ...]) -> None:
    """Hand out a client no longer.  It may be in use still: it is closed as many others later."""
    _retired.append((which, _clients.pop(which)))
    if len(_retired) > _MOST:
        _close(*_retired.popleft())


def _close(which: tuple[Any, ...], entry: tuple[Any, Any]) -> None:
    made, disconnect = entry
    if which[-1] == os.getpid():  # a forked process has the parent's, too
        with suppress(Exception):  # an SDK may have closed itself already
            disconnect(made)


def _close_all() -> None:
    """Close what is left when the program ends: no open socket is for the collector to find."""
    for which, entry in (*_retired, *_clients.items()):
        _close(which, entry)
    _retired.clear()
    _clients.clear()


async def async_client(vendor: Vendor, sdk: ModuleType, to: Connection) -> Any:
    """Return the client of the running event loop for a place."""
    import asyncio  # noqa: PLC0415 - whoever calls it has it

    loop = asyncio.get_running_loop()
    with _lock:
        held = _on_loops.setdefault(loop, {})
    which = _which(vendor, to)
    entry = held.get(which)
    if entry is None:
        made = vendor.connect(sdk, to, True)
        keeper = _keep(vendor, made, held, which)
        entry = held[which] = (made, keeper)
        await anext(keeper)
    return entry[0]


def _which(vendor: Vendor, to: Connection) -> tuple[Any, ...]:
    """Tell clients apart, without a key among the names."""
    return vendor.name, to.base_url, to.timeout, fingerprint(to.key), os.getpid()


async def _keep(
    vendor: Vendor, made: Any, held: dict[tuple[Any, ...], Any], which: tuple[Any, ...]
) -> AsyncIterator[None]:
    try:
        yield
    finally:
        held.pop(which, None)  # what it holds may hold the loop, which must not live for that
        closing = vendor.disconnect(made)
        if closing is not None:
            await closing
