"""Random pairs of JSON Schemas against brute force: nothing proved may have a counterexample.

    python tests/fuzz_contracts.py 100000 --seed 7 [--recursive]

Every verdict is held to a pool of small values, judged by kairos's run-time judge and not by the
proof: a "proved" with a value of the pool that the producer takes and the consumer refuses is
unsound, and so is a "refuted" whose witness is not such a value.  The pairs are made in batches
with a seed each; what each batch came to is printed as it ends, and at the end how many of the
documents held each keyword.  Times are those of the processor.  Exit 1 for any unsound verdict, or
above one unknown in a thousand.
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
WHOLE: list[Any] = [[], {}, [1], [1, 2], ["a"], {"a": 1}, {"a": "a", "b": 1}, [[]], {"a": {}}, 2.0]
PATTERNS = [
    "^a", "a$", "^(a|b)+$", "^[ab]*$", "b", "^ab?$", "^.$", r"^\w{2}$", "^$", "a.?b", r"\bb",
    "(?i)^A",
]  # fmt: skip
CENSUS = (
    "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "multipleOf", "minLength", "maxLength", "pattern", "items", "prefixItems", "minItems",
    "maxItems", "uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems",
    "properties", "required", "additionalProperties", "patternProperties", "propertyNames",
    "minProperties", "maxProperties", "dependentRequired", "dependentSchemas",
    "unevaluatedProperties", "anyOf", "oneOf", "allOf", "not", "if", "$ref", "$anchor",
)  # fmt: skip


_BATCH = 5_000


class Count(NamedTuple):
    """What a run of the fuzzer came to; `faults` are the pairs that were judged wrongly."""

    answers: Counter[str]
    reasons: Counter[str]
    faults: list[str]
    seconds: list[float]
    keywords: Counter[str]
    undecided: list[str]

    def add(self, other: Count) -> None:
        """Count in another run."""
        self.answers.update(other.answers)
        self.reasons.update(other.reasons)
        self.keywords.update(other.keywords)
        self.faults.extend(other.faults)
        self.seconds.extend(other.seconds)
        self.undecided.extend(other.undecided)

    @property
    def fails(self) -> bool:
        """Whether any verdict was wrong, or more than one in a thousand was none."""
        return bool(self.faults) or self.answers["unknown"] * 1000 > self.answers.total()

    def __str__(self) -> str:
        times = sorted(self.seconds)
        told = " ".join(f"p{p} {times[len(times) * p // 100] * 1000:.2f} ms" for p in (50, 95, 99))
        answers = ", ".join(f"{self.answers[a]} {a}" for a in sorted(self.answers))
        return f"{answers}; {len(self.faults)} unsound; {told} max {times[-1] * 1000:.0f} ms"


def nothing() -> Count:
    """Return the count of no pairs."""
    return Count(Counter(), Counter(), [], [], Counter(), [])


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
        if self._maybe(0.3):
            defs["A"] = {"$anchor": "a", "allOf": [defs["A"]]}
            defs["B"] = {"anyOf": [defs["B"], {"type": "array", "items": {"$ref": "#a"}}]}
        if self._maybe(0.6) or not isinstance(found, dict):
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
        found: dict[str, Any] = make(depth, refs=refs)
        if self._maybe(0.04):  # several kinds of keywords at once, and no type
            found |= self._object(2, refs=refs) | self._array(2, refs=refs)
            found.pop("type", None)
        if self._maybe(0.03):
            found["x-note"] = found["title"] = "says nothing"
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
                {"const": rng.choice(WHOLE)}, {"enum": rng.sample(WHOLE, 3)}, {"minItems": 1},
                {"required": ["a"]},
            ]
        )  # fmt: skip

    def _number(self, _depth: int, *, refs: bool) -> dict[str, Any]:
        rng = self.rng
        bounds = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]
        kinds = ["number", "integer"] if not refs else ["number", "integer", "integer"]
        found: dict[str, Any] = {"type": rng.choice(kinds)}
        for bound in rng.sample(bounds, rng.randint(0, 2)):
            found[bound] = rng.choice([0, 1, 2, 3, 1.5, 1.0])
        if self._maybe(0.3):
            found["multipleOf"] = rng.choice([1, 2, 3, 0.5, 0.1, 1.5])
        return found

    def _string(self, _depth: int, *, refs: bool) -> dict[str, Any]:
        rng = self.rng
        found: dict[str, Any] = {} if refs and self._maybe(0.1) else {"type": "string"}
        if self._maybe(0.5):
            found["minLength"] = rng.randint(0, 2)
        if self._maybe(0.5):
            found["maxLength"] = rng.randint(0, 3)
        if self._maybe(0.4):
            found["pattern"] = rng.choice(PATTERNS)
        return found

    def _array(self, depth: int, *, refs: bool) -> dict[str, Any]:
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
            found["contains"] = self.schema(depth + 1, refs=refs)
            if self._maybe(0.5):
                found["minContains"] = rng.randint(0, 2)
            if self._maybe(0.5):
                found["maxContains"] = rng.randint(0, 2)
        if self._maybe(0.08):
            found["unevaluatedItems"] = self.schema(depth + 1, refs=True)
            found.pop("items", None)
        return found

    def _object(self, depth: int, *, refs: bool) -> dict[str, Any]:  # noqa: C901 - one a keyword
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
        if self._maybe(0.15):
            regexes = rng.sample(["^a", "b", "^[ab]$", "c$"], rng.randint(1, 2))
            found["patternProperties"] = {one: self.schema(depth + 1, refs=refs) for one in regexes}
        if self._maybe(0.1):
            choices = [{"maxLength": 1}, {"pattern": "^a"}, {"enum": ["a", "b"]}]
            names_are = rng.choice([*choices, self._string(depth, refs=True)])
            found["propertyNames"] = {"not": names_are} if self._maybe(0.2) else names_are
        if self._maybe(0.1):
            found["minProperties"] = rng.randint(0, 2)
        if self._maybe(0.1):
            found["maxProperties"] = rng.randint(0, 3)
        if self._maybe(0.06):
            found["dependentRequired"] = rng.choice([{"a": ["b"]}, {"b": ["a", "c"], "c": ["b"]}])
        if self._maybe(0.06):
            found["dependentSchemas"] = {rng.choice("ab"): self.schema(depth + 1)}
        if self._maybe(0.1):
            found["unevaluatedProperties"] = self._maybe(0.3) and self.schema(depth + 1, refs=True)
            found.pop("additionalProperties", None)
            if depth < 2 and self._maybe(0.6):
                found[rng.choice(["anyOf", "oneOf", "allOf"])] = [
                    self._object(depth + 1, refs=refs) for _ in range(2)
                ]
        return found

    def _union(self, depth: int, *, refs: bool) -> dict[str, Any]:
        keyword = self.rng.choice(["anyOf", "anyOf", "oneOf", "allOf"])
        parts = [self.schema(depth + 1, refs=refs) for _ in range(self.rng.randint(2, 3))]
        return {keyword: parts}

    def _logic(self, depth: int, *, refs: bool) -> dict[str, Any]:
        if self._maybe(0.5):
            return {"not": self.schema(depth + 1, refs=refs)}
        words = ("if", "then", "else") if self._maybe(0.7) else ("if", "then")
        return {word: self.schema(depth + 1, refs=refs) for word in words}

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
    count = nothing()
    for _ in range(pairs):
        producer = make.document()
        consumer = make.near(producer) if rng.random() < 0.5 else make.document()
        start = time.process_time()
        verdict = compare(producer, consumer)
        count.seconds.append(time.process_time() - start)
        count.answers[verdict.answer] += 1
        written = f"{json.dumps(producer)} in {json.dumps(consumer)}"
        count.keywords.update(word for word in CENSUS if f'"{word}":' in written)
        if verdict.answer == "unknown":
            count.reasons[str(verdict.reason)[:80]] += 1
            count.undecided.append(written)
        wrong = fault_in(verdict, producer, consumer, rng.sample(values, min(tried, len(values))))
        if wrong:
            count.faults.append(f"{wrong}: {written}")
    return count


def tell(line: str) -> None:
    """Print a line at once: a long run shows how far it is."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run from a command line."""
    parser = argparse.ArgumentParser(description="Random pairs against brute force.")
    parser.add_argument("pairs", type=int)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--recursive", action="store_true")
    parser.add_argument("--undecided", action="store_true", help="print every pair left unknown")
    given = parser.parse_args()
    count = nothing()
    for number in range(-(-given.pairs // _BATCH)):
        size = min(_BATCH, given.pairs - number * _BATCH)
        one = run(size, given.seed * 1000 + number, recursive=given.recursive)
        count.add(one)
        for fault in one.faults[:10]:
            tell(f"UNSOUND {fault}")
        for pair in one.undecided if given.undecided else ():
            tell(f"unknown {pair}")
        tell(f"batch {number + 1}: {one}")
    tell(f"{'recursive' if given.recursive else 'plain'} pairs: {count}")
    for reason, times_met in count.reasons.most_common(8):
        tell(f"  {times_met} unknown: {reason}")
    tell("held by so many pairs: " + ", ".join(f"{w} {count.keywords[w]}" for w in CENSUS))
    return 1 if count.fails else 0


if __name__ == "__main__":
    sys.exit(main())
