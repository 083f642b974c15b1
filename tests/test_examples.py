"""Every example does what it asserts, from a folder that is not its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# Its exit status says whether the environment it looks at is sound, and an empty one is.
ARGUMENTS = {"dependency_audit": ["--input", '{"site": "."}']}
# These ask models: here the fakes on this machine, for users with a key the providers themselves.
ARGUMENTS |= {
    example.stem: ["--fake"]
    for example in EXAMPLES
    if "from model_parts" in example.read_text(encoding="utf-8")
}
# They are published under these names.
PUBLISHED = {
    "broken_data",
    "competitive_analysis",
    "data_pipeline",
    "llm_workflow",
    "real_claude",
    "real_claude_concurrent",
    "real_claude_logged",
    "real_gemini",
    "real_openai",
    "real_openai_concurrent",
    "run_logger",
    "scoped_state",
    "simple_chain",
}


def test_the_published_examples_are_there() -> None:
    assert {example.stem for example in EXAMPLES} >= PUBLISHED


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_runs_to_its_end_anywhere(example: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(example), *ARGUMENTS.get(example.stem, [])],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,  # who sits at this terminal is not to be asked
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout, "it shows what it did"
    assert not list(tmp_path.iterdir()), "it leaves nothing behind"
