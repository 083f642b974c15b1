"""What the dependency audit knows about Python distributions.

Only `progress` knows of kairos, whose events it shows; everything else is plain functions over
the models of `models`.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("packaging") is None:
    raise ModuleNotFoundError(
        "the dependency audit needs 'packaging': pip install 'kairos-ai[demo]'", name="packaging"
    )
