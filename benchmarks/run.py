"""Every figure of kairos beside its floor, measured in the same run: `make bench`.

    python benchmarks/run.py [--quick] [--json [FILE]]

docs/performance.md says what each row measures and how.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import agents
import budgets
import caching
import calls
import chains
import contract_chains
import contract_pairs
import fans
import flows
import mcp_calls
import plans
import sessions
import starts
from figures import Scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from figures import Row

__all__ = ["main"]

ROOMS = (
    starts.rows,
    chains.rows,
    contract_chains.rows,
    contract_pairs.rows,
    fans.rows,
    plans.rows,
    flows.rows,
    agents.rows,
    sessions.rows,
    calls.rows,
    mcp_calls.rows,
    budgets.rows,
    caching.rows,
    plans.memory_rows,
)


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"  # noqa: PLR2004 - three digits are more than a noisy machine can tell


def _against(row: Row) -> str:
    if row.floor is None or row.ratio is None:
        return ""
    if row.target is not None and row.target.of == "excess":
        excess = row.kairos - row.floor
        return f"{'-' if excess < 0 else '+'}{_figure(abs(excess))}"
    return f"x {row.ratio:.2f}"


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    sign = {"figure": "", "ratio": "x ", "excess": "+"}[row.target.of]
    return f"{sign}{row.target.bound:g}"


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("pydantic", "networkx"))
    cores = os.cpu_count()
    return f"Python {platform.python_version()}, {packages}, {platform.machine()}, {cores} cores"


def _print_table(rows: Sequence[Row], *, quick: bool) -> None:
    head = ("what", "unit", "kairos", "floor", "ratio", "target", "verdict")
    lines = [head]
    for row in rows:
        verdict = "" if quick else row.verdict
        figures = (_figure(row.kairos), _figure(row.floor), _against(row), _target(row))
        lines.append((row.what, row.unit, *figures, verdict))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        left = [text.ljust(width) for text, width in zip(line[:2], widths[:2], strict=True)]
        right = [text.rjust(width) for text, width in zip(line[2:6], widths[2:6], strict=True)]
        print("  ".join((*left, *right, line[6])).rstrip())
    print()
    print(_machine())
    if quick:
        print("quick: too little was measured to judge by")
        return
    judged = [row for row in rows if row.target is not None]
    reached = sum(row.verdict == "ok" for row in judged)
    print(f"{reached} of {len(judged)} targets reached; rows without one are for information")


def _as_json(rows: Sequence[Row], *, quick: bool) -> str:
    told = [
        {
            "key": row.key,
            "what": row.what,
            "unit": row.unit,
            "kairos": row.kairos,
            "floor": row.floor,
            "ratio": row.ratio,
            "target": None if row.target is None else row.target._asdict(),
            "verdict": None if quick else row.verdict or None,
        }
        for row in rows
    ]
    return json.dumps({"machine": _machine(), "quick": quick, "rows": told}, indent=2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print.  A missed target is told, not an error: machines differ."""
    parser = argparse.ArgumentParser(description="Measure kairos beside its floors.")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round")
    told = "print JSON in place of the table, or write it to FILE beside the table"
    parser.add_argument("--json", nargs="?", const="", metavar="FILE", help=told)
    given = parser.parse_args(arguments)
    scale = Scale(quick=given.quick)
    begun = time.perf_counter()
    rows: list[Row] = []
    for room in ROOMS:
        for row in room(scale):
            rows.append(row)
            passed = time.perf_counter() - begun
            print(f"{passed:5.1f} s  {row.what}", file=sys.stderr)
    if given.json:
        Path(given.json).write_text(_as_json(rows, quick=given.quick) + "\n", encoding="utf-8")
    if given.json == "":
        print(_as_json(rows, quick=given.quick))
    else:
        _print_table(rows, quick=given.quick)


if __name__ == "__main__":
    main()
