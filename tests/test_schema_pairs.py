"""Pairs of JSON Schemas with known answers: our own, and public ones where they lie beside us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kairos.contracts.json_rules import JsonRules
from kairos.verify import compare
from kairos.verify.proof.documents import checked_document

OWN = Path(__file__).parent / "pairs"
PUBLIC = Path(__file__).resolve().parents[2] / "shared" / "data" / "schema_pairs.jsonl"
needs_public = pytest.mark.skipif(not PUBLIC.exists(), reason="the public pairs are not here")

_MEANS = {"proved": True, "refuted": False}


def pairs_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


OWN_PAIRS = [(path.stem, pair) for path in sorted(OWN.glob("*.jsonl")) for pair in pairs_in(path)]


@pytest.mark.parametrize("pair", [p for _, p in OWN_PAIRS], ids=[p["shows"] for _, p in OWN_PAIRS])
def test_a_pair_of_schemas_is_decided_as_expected(pair: dict[str, Any]) -> None:
    verdict = compare(pair["producer"], pair["consumer"])
    assert _MEANS.get(verdict.answer) is pair["expected"], verdict
    if verdict.answer == "refuted":
        assert checked_document(pair["producer"]).accepts(verdict.witness)
        assert not checked_document(pair["consumer"]).accepts(verdict.witness)


@pytest.mark.parametrize("pair", [p for _, p in OWN_PAIRS], ids=[p["shows"] for _, p in OWN_PAIRS])
def test_what_is_expected_of_a_pair_holds_of_itself_and_of_both_sides_together(
    pair: dict[str, Any],
) -> None:
    producer, consumer = pair["producer"], pair["consumer"]
    for one in (producer, consumer):
        assert compare(one, one).answer == "proved"
    widened = {"anyOf": [{"$ref": "#/$defs/one"}, {"const": "else"}], "$defs": {"one": producer}}
    if "$ref" not in json.dumps(producer):
        assert compare(producer, widened).answer == "proved"


@needs_public
def test_no_public_pair_is_judged_wrongly_and_nearly_all_are_decided() -> None:
    wrong, silent = [], []
    public = pairs_in(PUBLIC)
    for pair in public:
        verdict = compare(pair["producer"], pair["consumer"])
        if verdict.answer == "unknown":
            silent.append(pair)
        elif _MEANS.get(verdict.answer) != pair["expected"]:
            wrong.append((pair["id"], verdict))
        elif verdict.answer == "refuted":
            assert JsonRules(pair["producer"]).accepts(verdict.witness)
            assert not JsonRules(pair["consumer"]).accepts(verdict.witness)
    hard = [pair for pair in public if pair["tier"] == "core" and not pair["trivial"]]
    assert wrong == []
    assert sum(pair in hard for pair in silent) <= len(hard) // 100
    assert len(silent) <= 4
