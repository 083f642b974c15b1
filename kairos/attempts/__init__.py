"""The rooms of `kairos.attempt`.

`work` has what an attempt is made with and what it brings, `words` the failure it may end in,
`predicate` its `when=`, `outputs` what becomes of what the action returned.
"""

from __future__ import annotations

__all__: list[str] = []
