"""The lock: the contracts of a workflow on record, and what a change to them breaks.

`lock_of` puts a workflow into plain data, `lock_text` and `read_lock` carry that to a file and
back, and `changes` compares two of them without the code of either.  `findings_of_changes` says
what of it is an error.
"""

from __future__ import annotations

from kairos.verify.lock.change import Change
from kairos.verify.lock.changes import changes
from kairos.verify.lock.comparing import compare_locked
from kairos.verify.lock.contracts import LockedContract, locked_contract
from kairos.verify.lock.entry import Live, LockedWorkflow, lock_of
from kairos.verify.lock.text import LockError, lock_text, read_lock
from kairos.verify.lock.told import Compatibility, findings_of_changes

__all__ = [
    "Change",
    "Compatibility",
    "Live",
    "LockError",
    "LockedContract",
    "LockedWorkflow",
    "changes",
    "compare_locked",
    "findings_of_changes",
    "lock_of",
    "lock_text",
    "locked_contract",
    "read_lock",
]
