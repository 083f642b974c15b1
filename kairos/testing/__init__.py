"""What tests of workflows need, shipped as part of kairos: time by hand, and models that are none.

::

    clock = ManualClock()
    Workflow("w", steps, clock=clock).run()   # an hour of retries passes in no time

    with FakeProviders() as fake:             # Claude, OpenAI and Gemini on this machine
        fake.reply("Hello", provider="anthropic")
        anthropic.Anthropic(api_key="any", base_url=fake.url)
"""

from __future__ import annotations

from kairos.testing.cassettes import Cassette, cassette
from kairos.testing.clock import ManualClock
from kairos.testing.faults import (
    Body,
    ContentType,
    Cut,
    Delay,
    Duplicate,
    End,
    Fault,
    Framing,
    Garbage,
    Gzip,
    Insert,
    Interim,
    NoUsage,
    SlowHeaders,
    Stall,
    Status,
    StreamError,
    Swap,
    Truncate,
)
from kairos.testing.providers import FakeProviders, Received
from kairos.testing.recorder import Recorder
from kairos.testing.replies import Answer, CallTool, Filter, Refuse, Reply, Say, Think
from kairos.testing.samples import sample
from kairos.testing.scripted import ScriptedModel

__all__ = [
    "Answer",
    "Body",
    "CallTool",
    "Cassette",
    "ContentType",
    "Cut",
    "Delay",
    "Duplicate",
    "End",
    "FakeProviders",
    "Fault",
    "Filter",
    "Framing",
    "Garbage",
    "Gzip",
    "Insert",
    "Interim",
    "ManualClock",
    "NoUsage",
    "Received",
    "Recorder",
    "Refuse",
    "Reply",
    "Say",
    "ScriptedModel",
    "SlowHeaders",
    "Stall",
    "Status",
    "StreamError",
    "Swap",
    "Think",
    "Truncate",
    "cassette",
    "sample",
]
