"""What every test stands on: no proxy before the loopback, a Ctrl-C that is heard, examples."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from kairos.models import limits

if TYPE_CHECKING:
    from collections.abc import Iterator

# A proxy from the environment would swallow calls to the fake providers on this machine.
for name in ("NO_PROXY", "no_proxy"):
    hosts = [host for host in os.environ.get(name, "").split(",") if host]
    os.environ[name] = ",".join(dict.fromkeys([*hosts, "127.0.0.1", "localhost", "::1"]))

# A module that a test writes anew within a second, as long as before, would be its old bytecode.
sys.dont_write_bytecode = True

# A shell starts what runs in the background with Ctrl-C ignored, and so would be its children; the
# tests of interruptions are about a program that hears it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: a busy machine is not a fault. In CI the same examples every time, and nothing
# kept, so that a red run is the change's doing and anyone can repeat it.
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(autouse=True)
def _providers_as_nobody_has_asked_them() -> Iterator[None]:
    """Let no test meet the circuit that another one's failures have opened."""
    yield
    limits._gates.clear()
