"""What is proved of random workflows holds in their runs."""

from __future__ import annotations

import warnings

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fuzz_workflows


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_a_proved_edge_refuses_nothing_in_any_run(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's, about the types that chance brings together
        fault, _, _ = fuzz_workflows.fault_in(seed, runs=6)

    assert fault is None


def test_the_fuzzer_meets_every_answer_and_really_runs() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = fuzz_workflows.run(25, seed=3, runs=3)

    assert found.faults == []
    assert found.passed > 20
    assert {"proved", "refuted"} <= found.answers.keys()
