"""What one step may hand to another, against what that one accepts: the proofs of a plan.

`edge` has the words: an `Edge` is one check that a run would make, a `Proof` what is known of it
beforehand.
"""

from __future__ import annotations

__all__: list[str] = []
