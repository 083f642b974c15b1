"""The proof that everything one contract may emit is accepted by another.

It asks whether some JSON value lies in the producer's contract and outside the consumer's.  Both
are read into signed terms (`terms`, `reading`), and `search` looks for such a value.  Each of its
rules covers at least the values it speaks of, so "there is none" is a proof, while a value that
is found is a candidate only and is put through both real contracts before anyone hears of it
(`verdict`).
"""

from __future__ import annotations

__all__: list[str] = []
