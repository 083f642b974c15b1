"""Random pairs of JSON Schemas against brute force: nothing proved may have a counterexample.

    python tests/fuzz_contracts.py 100000 --seed 7 [--recursive]

Every verdict is held to a pool of small values, judged by kairos's run-time judge and not by the
proof: a "proved" with a value of the pool that the producer takes and the consumer refuses is
unsound, and so is a "refuted" whose witness is not such a value.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import time
from collections import Counter
from typing import Any, NamedTuple

from kairos.contracts.json_rules import JsonRules
from kairos.verify import Verdict, compare

SCALARS: list[Any] = [
    None, True, False, 0, 1, 2, 3, -1, 4, 6, 1.5, 2.5, "", "a", "b", "ab", "aa", "abc", "ba",
]  # fmt: skip
NAMES = ["a", "b", "c", "ab"]


class Count(NamedTuple):
    """What a run of the fuzzer came to; `faults` are the pairs that were judged wrongly."""

    answers: Counter[str]
    reasons: Counter[str]
    faults: list[str]
    seconds: list[float]


def pool(rng: random.Random) -> list[Any]:
    """Return a small universe of values, some of them chosen at random."""
    values = [*SCALARS, [], {}, *([one] for one in SCALARS)]
    values += [list(pair) for pair in itertools.product(SCALARS[:14], repeat=2)]
    values += [{name: one} for name in NAMES for one in SCALARS]
    values += [rng.choices(SCALARS, k=3) for _ in range(60)]
    for size in (2, 2, 3):
        values += [
            {name: rng.choice(SCALARS) for name in rng.sample(NAMES, size)} for _ in range(100)
        ]
    small = list(values)
    values += [{n: rng.choice(small) for n in rng.sample(NAMES, 2)} for _ in range(250)]
    values += [[rng.choice(values) for _ in range(rng.randint(1, 2))] for _ in range(250)]
    return values


class Maker:
    """Makes random schemas; with `recursive`, they may refer to two definitions, A and B."""

    def __init__(self, rng: random.Random, *, recursive: bool) -> None:
        self.rng = rng
        self.recursive = recursive

    def document(self) -> Any:
        """Return a whole document."""
        found = self.schema(0)
        if not self.recursive:
            return found
        defs = {"A": self.schema(0), "B": self.schema(0)}
        if self.rng.random() < 0.6 or not isinstance(found, dict):
            return {"$defs": defs, "$ref": "#/$defs/A"}
        return {**found, "$defs": defs}

    def schema(self, depth: int, *, refs: bool = False) -> Any:
        """Return one schema; a reference only where it stands for a part of the value."""
        rng = self.rng
        if refs and self.recursive and rng.random() < 0.35:
            return {"$ref": f"#/$defs/{rng.choice('AB')}"}
        if depth > 2 or rng.random() < 0.12:
            return self._leaf()
        make = rng.choices(
            [self._number, self._string, self._array, self._object, self._union, self._logic],
            [12, 12, 18, 24, 16, 6],
        )[0]
        found: dict[str, Any] = make(depth)
        return found

    def _maybe(self, chance: float) -> bool:
        return self.rng.random() < chance

    def _leaf(self) -> Any:
        rng = self.rng
        return rng.choice(
            [
                True, {}, False, {"type": "string"}, {"type": "integer"}, {"type": "boolean"},
                {"type": ["number", "null"]}, {"const": rng.choice(SCALARS)},
                {"enum": rng.sample(SCALARS, 2)}, {"minimum": 2}, {"maxLength": 1},
            ]
        )  # fmt: skip

    def _number(self, _depth: int) -> dict[str, Any]:
        rng = self.rng
        bounds = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]
        found: dict[str, Any] = {"type": rng.choice(["number", "integer"])}
        for bound in rng.sample(bounds, rng.randint(0, 2)):
            found[bound] = rng.choice([0, 1, 2, 3, 1.5])
        if self._maybe(0.3):
            found["multipleOf"] = rng.choice([1, 2, 3, 0.5])
        return found

    def _string(self, _depth: int) -> dict[str, Any]:
        rng = self.rng
        found: dict[str, Any] = {"type": "string"}
        if self._maybe(0.5):
            found["minLength"] = rng.randint(0, 2)
        if self._maybe(0.5):
            found["maxLength"] = rng.randint(0, 3)
        if self._maybe(0.4):
            found["pattern"] = rng.choice(["^a", "a$", "^(a|b)+$", "^[ab]*$", "b", "^ab?$"])
        return found

    def _array(self, depth: int) -> dict[str, Any]:
        rng = self.rng
        found: dict[str, Any] = {"type": "array"} if self._maybe(0.8) else {}
        if self._maybe(0.7):
            found["items"] = self.schema(depth + 1, refs=True)
        if self._maybe(0.35):
            count = rng.randint(1, 2)
            found["prefixItems"] = [self.schema(depth + 1, refs=True) for _ in range(count)]
        if self._maybe(0.3):
            found["minItems"] = rng.randint(0, 2)
        if self._maybe(0.3):
            found["maxItems"] = rng.randint(0, 3)
        if self._maybe(0.15):
            found["uniqueItems"] = True
        if self._maybe(0.2):
            found["contains"] = self.schema(depth + 1)
            if self._maybe(0.5):
                found["minContains"] = rng.randint(0, 2)
            if self._maybe(0.5):
                found["maxContains"] = rng.randint(0, 2)
        return found

    def _object(self, depth: int) -> dict[str, Any]:
        rng = self.rng
        found: dict[str, Any] = {"type": "object"} if self._maybe(0.85) else {}
        if self._maybe(0.85):
            names = rng.sample(NAMES[:3], rng.randint(1, 3))
            found["properties"] = {name: self.schema(depth + 1, refs=True) for name in names}
        if self._maybe(0.5):
            found["required"] = rng.sample(NAMES[:3], rng.randint(1, 2))
        if self._maybe(0.5):
            rest = self.schema(depth + 1, refs=True) if self._maybe(0.5) else False
            found["additionalProperties"] = rest
        if self._maybe(0.12):
            found["patternProperties"] = {rng.choice(["^a", "b"]): self.schema(depth + 1)}
        if self._maybe(0.1):
            choices = [{"maxLength": 1}, {"pattern": "^a"}, {"enum": ["a", "b"]}]
            found["propertyNames"] = rng.choice(choices)
        if self._maybe(0.1):
            found["minProperties"] = rng.randint(0, 2)
        if self._maybe(0.1):
            found["maxProperties"] = rng.randint(0, 3)
        if self._maybe(0.06):
            found["dependentRequired"] = {"a": ["b"]}
        if self._maybe(0.06):
            found["dependentSchemas"] = {"a": self.schema(depth + 1)}
        return found

    def _union(self, depth: int) -> dict[str, Any]:
        keyword = self.rng.choice(["anyOf", "anyOf", "oneOf", "allOf"])
        return {keyword: [self.schema(depth + 1) for _ in range(self.rng.randint(2, 3))]}

    def _logic(self, depth: int) -> dict[str, Any]:
        if self._maybe(0.5):
            return {"not": self.schema(depth + 1)}
        return {keyword: self.schema(depth + 1) for keyword in ("if", "then", "else")}

    def near(self, document: Any) -> Any:
        """Return a copy with one part changed, so that the two are hard to tell apart."""
        rng = self.rng
        copy = json.loads(json.dumps(document))
        parts = list(_parts(copy))
        if not parts:
            return copy
        part = rng.choice(parts)
        for keyword in list(part):
            value = part[keyword]
            if keyword in _LOOSER and isinstance(value, int) and value + _LOOSER[keyword] >= 0:
                part[keyword] = value + _LOOSER[keyword] * rng.randint(0, 1)
                return copy
            if keyword in _DROPPED and self._maybe(0.5):
                del part[keyword]
                return copy
        if "anyOf" in part and isinstance(part["anyOf"], list):
            part["anyOf"].append(self.schema(2))
        elif part.get("type") == "integer":
            part["type"] = "number"
        elif "$defs" not in copy and self._maybe(0.5):
            return {"anyOf": [self.schema(2), copy]}
        return copy


_LOOSER = {
    "minimum": -1, "exclusiveMinimum": -1, "maxLength": 1, "maxItems": 1, "maxProperties": 1,
    "maxContains": 1,
}  # fmt: skip
_DROPPED = frozenset(
    {
        "required", "pattern", "additionalProperties", "uniqueItems", "minItems", "const",
        "contains",
    }
)  # fmt: skip


def _parts(node: Any) -> Any:
    if isinstance(node, dict):
        yield node
        for inner in node.values():
            yield from _parts(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _parts(inner)


def fault_in(verdict: Verdict, producer: Any, consumer: Any, values: list[Any]) -> str | None:
    """Return what is wrong with a verdict, or None."""
    if verdict.answer not in {"proved", "refuted"}:
        return None if verdict.answer == "unknown" else f"{verdict.answer} between bare schemas"
    emits, accepts = JsonRules(producer).accepts, JsonRules(consumer).accepts
    if verdict.answer == "refuted":
        witness = verdict.witness
        stands = emits(witness) and not accepts(witness)
        return None if stands else f"a witness that is none: {witness!r}"
    for value in values:
        if emits(value) and not accepts(value):
            return f"proved against {value!r}"
    return None


def run(pairs: int, seed: int, *, recursive: bool, tried: int = 250) -> Count:
    """Compare this many random pairs, each against `tried` values of the pool."""
    rng = random.Random(seed)  # noqa: S311 - chance, not secrecy
    make, values = Maker(rng, recursive=recursive), pool(rng)
    count = Count(Counter(), Counter(), [], [])
    for _ in range(pairs):
        producer = make.document()
        consumer = make.near(producer) if rng.random() < 0.5 else make.document()
        start = time.perf_counter()
        verdict = compare(producer, consumer)
        count.seconds.append(time.perf_counter() - start)
        count.answers[verdict.answer] += 1
        if verdict.answer == "unknown":
            count.reasons[str(verdict.reason)[:80]] += 1
        wrong = fault_in(verdict, producer, consumer, rng.sample(values, min(tried, len(values))))
        if wrong:
            count.faults.append(f"{wrong}: {json.dumps(producer)} in {json.dumps(consumer)}")
    return count


def main() -> int:
    """Run from a command line; exit 1 for any fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=int)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--recursive", action="store_true")
    given = parser.parse_args()
    count = run(given.pairs, given.seed, recursive=given.recursive)
    times = sorted(count.seconds)
    told = " ".join(f"p{p} {times[len(times) * p // 100] * 1000:.2f} ms" for p in (50, 95, 99))
    sys.stdout.write(f"{dict(count.answers)} {told} max {times[-1] * 1000:.0f} ms\n")
    for reason, times_met in count.reasons.most_common(8):
        sys.stdout.write(f"  {times_met} unknown: {reason}\n")
    for fault in count.faults[:10]:
        sys.stdout.write(f"FAULT {fault}\n")
    return 1 if count.faults else 0


if __name__ == "__main__":
    sys.exit(main())
