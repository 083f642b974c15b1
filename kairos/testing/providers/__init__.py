"""Claude, OpenAI and Gemini on this machine, for tests that run the real SDKs.

`anthropic`, `openai_chat`, `openai_responses` and `gemini` each know how one of them speaks, with
what it refuses in the `_checks` beside them; `script` knows which reply comes next, `wire` what
goes out, and `server` sends it.
"""

from __future__ import annotations

from kairos.testing.providers.fakes import FakeProviders
from kairos.testing.providers.received import Received

__all__ = ["FakeProviders", "Received"]
