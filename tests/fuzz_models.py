"""Random pairs of pydantic contracts, each verdict held against values that are really passed.

    python tests/fuzz_models.py 10000 --seed 7 --values 1000

Of a pair that is proved, values are drawn, put through the producer's contract as a step's output
is, and handed to the consumer's as a step's input is: one that is refused is unsound.  The witness
of a refuted pair is emitted by the producer and refused by the consumer; that of a coerced one is
accepted, and refused by the consumer without conversion.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.contracts.contract import Contract, ContractBroken, compile_contract
from kairos.verify import compare
from random_models import Maker
from random_types import Flags, Made

if TYPE_CHECKING:
    from kairos.verify import Verdict

__all__ = ["Count", "is_emitted", "run"]

_MOST_VAIN = 500


class Count(NamedTuple):
    """What a run came to; `faults` are the verdicts that values speak against."""

    answers: Counter[str]
    reasons: Counter[str]
    faults: list[str]
    seconds: list[float]
    values: list[int]


class Pair(NamedTuple):
    """A producer with its values, a consumer, and how they came about."""

    made: Made
    gives: Contract
    takes: Contract
    seed: int


def pair(seed: int) -> Pair | None:
    """Return a random pair; None where pydantic builds no such type."""
    rng = Random(seed)  # noqa: S311 - chance, not secrecy
    known: dict[str, Made] = {}
    try:
        first = Maker(seed, known=known)
        made = first.make()
        shared = known if rng.random() < 0.6 else None
        chance = rng.random()
        if chance < 0.2:
            second = Maker(rng.getrandbits(32))
        elif chance < 0.3:
            second = Maker(seed, known=shared)
        else:
            paths = rng.sample(first.paths, min(len(first.paths), rng.choice([1, 1, 2])))
            second = Maker(seed, changed={p: rng.getrandbits(32) for p in paths}, known=shared)
        gives, takes = compile_contract(made.kind), compile_contract(second.make().kind)
        _ = gives.adapter, takes.adapter
        gives.validate(None)
        takes.validate(None)
    except Exception:  # noqa: BLE001 - most of what is thrown together at random is no type
        return None
    return Pair(made, gives, takes, seed)


def fault_in(verdict: Verdict, two: Pair, values: int) -> tuple[str | None, int]:
    """Return what is wrong with a verdict, or None; and how many values were passed."""
    if verdict.answer == "proved":
        return _passed(two, values)
    if verdict.answer == "unknown":
        return None, 0
    raw = json.dumps(verdict.witness).encode()
    if not is_emitted(two.gives, verdict.witness):
        return f"a witness that is not emitted: {verdict.witness!r}", 0
    try:
        two.takes.check_json(raw)
    except ContractBroken:
        return None if verdict.answer == "refuted" else "coerced, but refused", 0
    if verdict.answer == "refuted":
        return f"a witness that is accepted: {verdict.witness!r}", 0
    return None, 0


def is_emitted(gives: Contract, witness: Any) -> bool:
    """Say whether some value is written as this witness."""
    raw = json.dumps(witness).encode()
    for read in (gives.check_json, json.loads, lambda text: _flagged(json.loads(text))):
        try:
            written = json.loads(gives.check_output(read(raw)))
        except ContractBroken:
            continue
        # a set is written in any order
        if written == witness or sorted(json.dumps(written)) == sorted(raw.decode()):
            return True
    return False


def _flagged(value: Any) -> Any:
    """Return a value with flags for its numbers: a strict one is read from JSON by name only."""
    if isinstance(value, dict):
        return {key: _flagged(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_flagged(one) for one in value]
    return Flags(value) if type(value) is int else value


def _passed(two: Pair, values: int) -> tuple[str | None, int]:
    rng, done = Random(two.seed), 0  # noqa: S311 - as above
    for tried in range(values * 5):
        if done >= values or (tried > values // 3 and not done):
            break
        try:
            value = two.made.draw(rng)
            raw = two.gives.check_output(value)
        except (ContractBroken, TypeError):  # a set of lists, say, is not even drawn
            continue
        try:
            two.takes.check_json(raw)
        except ContractBroken as broken:
            return f"proved against {raw!r}: {broken}", done
        done += 1
    return None, done


def _emits(two: Pair) -> bool:
    """Say whether a producer takes any of many values at all."""
    rng = Random(two.seed)  # noqa: S311 - as above
    for _ in range(_MOST_VAIN):
        try:
            two.gives.check_output(two.made.draw(rng))
        except (ContractBroken, TypeError):
            continue
        return True
    return False


def run(seeds: range, values: int) -> Count:
    """Compare the pairs of these seeds; each that is proved passes this many values."""
    count = Count(Counter(), Counter(), [], [], [])
    for seed in seeds:
        two = pair(seed)
        if two is None:
            count.answers["not built"] += 1
            continue
        start = time.perf_counter()
        verdict = compare(two.gives, two.takes)
        count.seconds.append(time.perf_counter() - start)
        if verdict.answer == "unknown" and not _emits(two):
            count.answers["nothing to emit"] += 1  # its parts contradict one another
            continue
        told = "opaque" if "only a run can ask" in str(verdict.reason) else verdict.answer
        count.answers[told] += 1
        if verdict.answer == "unknown":
            count.reasons[str(verdict.reason)[:110]] += 1
        wrong, done = fault_in(verdict, two, values)
        if verdict.answer == "proved":
            count.values.append(done)
        if wrong:
            count.faults.append(f"{seed}: {wrong}")
    return count


def main() -> int:
    """Run from a command line; exit 1 for any fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--values", type=int, default=1000)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    count = run(range(given.seed, given.seed + given.pairs), given.values)
    times, passed = sorted(count.seconds), sorted(count.values)
    told = " ".join(f"p{p} {times[len(times) * p // 100] * 1000:.2f} ms" for p in (50, 95, 99))
    full = sum(one >= given.values for one in passed)
    sys.stdout.write(f"{dict(count.answers)} {told} max {times[-1] * 1000:.0f} ms\n")
    sys.stdout.write(f"{sum(passed)} values passed; {full} of {len(passed)} proved took all\n")
    for reason, met in count.reasons.most_common(12):
        sys.stdout.write(f"  {met} unknown: {reason}\n")
    for fault in count.faults[:20]:
        sys.stdout.write(f"FAULT {fault[:600]}\n")
    sys.stdout.write(f"{len(count.faults)} faults\n")
    return 1 if count.faults else 0


if __name__ == "__main__":
    sys.exit(main())
