"""The benchmarks run: what they measure is nothing that a test could judge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
KEYS = {
    "import",
    "version",
    "program",
    "chain_short",
    "chain_long",
    "chain_growth",
    "chain_again",
    "chain_scoped",
    "chain_typed",
    "chain_logged",
    "contract_model",
    "contract_schema",
    "contract_reading",
    "contract_typed",
    *(f"own_{what}" for what in ("right", "wrong", "silent", "crashed", "median", "p95")),
    "union_same",
    "union_changed",
    "verify_chain",
    "verify_edges",
    "inputs_elided",
    "inputs_checked",
    "dicts_elided",
    "dicts_parsed",
    "wide",
    "labels",
    "foreach_serial",
    "foreach_parallel",
    "isolated_first",
    "isolated_further",
    *(
        f"plan_{nodes}_{part}"
        for nodes in (10_000, 100_000)
        for part in ("declared", "reversed", "shuffled", "dag", "steps")
    ),
    "plan_10000_validate",
    *(
        f"call{api}{what}"
        for api in ("", "_chat", "_responses", "_gemini")
        for what in ("", "_delta")
    ),
    "reserved",
    "gate",
    "estimated",
    "mcp_call_1",
    "mcp_call_20",
    *(f"agent_{what}" for what in (100, 1_000, 10_000, "run", "cut")),
    "session_100",
    "session_2000",
    *(f"cache_{where}{found}" for where in ("", "file_", "long_") for found in ("hit", "miss")),
    "memory",
}


# One test, since all of it is measured anew for each.
@pytest.mark.slow
def test_every_row_is_measured_beside_its_floor_and_stands_in_the_table(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--quick", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    rows = {row["key"]: row for row in json.loads(file.read_text(encoding="utf-8"))["rows"]}
    assert rows.keys() == KEYS
    alone = {key for key, row in rows.items() if row["floor"] is None}
    assert all(key.startswith(("own_", "union_", "verify_")) for key in alone), "no peer, no floor"
    assert all(row["verdict"] is None for row in rows.values()), "too little to judge by"

    head, *lines = done.stdout.splitlines()
    assert head.split() == ["what", "unit", "kairos", "floor", "ratio", "target", "verdict"]
    assert lines.index("") == len(KEYS)
