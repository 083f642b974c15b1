"""The flow of keys: each that is read is produced upstream or given, and none is raced for.

`keys` asks whether there is a value at all, `missing` whether there always is, `races` whether it
is the same one each time, `unused` what nobody wants, `prompts` what placeholders name, `usage`
what the code of a step asks for, and `secrets` where a secret gets to (`labels` finds out how).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos.verify.flow.keys import KEY_PASSES
from kairos.verify.flow.lists import find_no_lists
from kairos.verify.flow.missing import MISSING_PASSES
from kairos.verify.flow.prompts import PROMPT_PASSES
from kairos.verify.flow.races import RACE_PASSES
from kairos.verify.flow.secrets import find_leaks
from kairos.verify.flow.unused import UNUSED_PASSES
from kairos.verify.flow.usage import find_unlike_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kairos.verify.findings import Finding
    from kairos.verify.scene import Scene

__all__ = ["FLOW_PASSES"]

FLOW_PASSES: tuple[Callable[[Scene], Iterable[Finding]], ...] = (
    *KEY_PASSES,
    *RACE_PASSES,
    find_no_lists,
    *MISSING_PASSES,
    *UNUSED_PASSES,
    *PROMPT_PASSES,
    find_unlike_usage,
    find_leaks,
)
