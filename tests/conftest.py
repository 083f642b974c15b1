"""What every test stands on: no proxy before the loopback, and one way to draw examples."""

from __future__ import annotations

import os

from hypothesis import settings

# A proxy from the environment would swallow calls to the fake providers on this machine.
for name in ("NO_PROXY", "no_proxy"):
    hosts = [host for host in os.environ.get(name, "").split(",") if host]
    os.environ[name] = ",".join(dict.fromkeys([*hosts, "127.0.0.1", "localhost", "::1"]))

# No deadline: a busy machine is not a fault. In CI the same examples every time, and nothing
# kept, so that a red run is the change's doing and anyone can repeat it.
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
