"""SARIF as a code-scanning page takes it, and Mermaid with the faulty edges marked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos import Schema, Step, TaskGraph
from kairos.enums import Severity
from kairos.source import place_at
from kairos.verify import Report, Verdict
from kairos.verify.edges.edge import Edge, Proof
from kairos.verify.findings import CODES, Detail, Finding
from kairos.verify.picture import picture
from kairos.verify.sarif import Examined, Unread, sarif_log
from sarif_schema import LOG

if TYPE_CHECKING:
    from kairos.source import Place

VALID = Schema.from_json_schema(LOG)


def finding(code: str = "KRS102", **given: Any) -> Finding:
    place = given.pop("where", place_at(str(Path("flow.py").resolve()), 7, 5))
    given.setdefault("severity", CODES[code].severity)
    given.setdefault("step", "score")
    return Finding(code=code, message=given.pop("message", "it is so"), where=place, **given)


def log(*findings: Finding, **given: Any) -> dict[str, Any]:
    places: dict[str, Place | None] = given.pop("places", {})
    suppressed = given.pop("suppressed", ())
    each = Examined("w", Report(findings, suppressed=suppressed), "flow.py", None, places)
    found = sarif_log([each], root=given.pop("root", Path.cwd().resolve()), **given)
    told = VALID.validate(json.loads(json.dumps(found)))
    assert told.valid, told.errors
    return found


def results(*findings: Finding, **given: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = log(*findings, **given)["runs"][0]["results"]
    return found


# --- SARIF


def test_the_frame_of_a_log_is_that_of_the_standard() -> None:
    found = log()
    assert (found["version"], len(found["runs"])) == ("2.1.0", 1)
    assert found["$schema"].endswith("sarif-2.1.0.json")
    run = found["runs"][0]
    assert run["invocations"] == [{"executionSuccessful": True}]
    assert run["tool"]["driver"]["name"] == "kairos"
    assert run["results"] == []


def test_every_code_is_a_rule_with_its_weight_and_its_help() -> None:
    rules = log()["runs"][0]["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [*CODES]
    for rule, meaning in zip(rules, CODES.values(), strict=True):
        assert rule["defaultConfiguration"]["level"] == meaning.severity.value
        assert rule["shortDescription"]["text"].lower() == meaning.title.lower()
        assert re.fullmatch("[A-Z][A-Za-z0-9]+", rule["name"])
        assert f"docs/findings/{rule['id']}.md" in rule["help"]["text"]
        assert "helpUri" not in rule


def test_a_rule_leads_to_its_page_where_the_repository_is_known() -> None:
    driver = log(home="https://example.org/kairos")["runs"][0]["tool"]["driver"]
    page = "https://example.org/kairos/blob/main/docs/findings/KRS001.md"
    assert driver["informationUri"] == "https://example.org/kairos"
    assert driver["rules"][0]["helpUri"] == page
    assert f"[KRS001]({page})" in driver["rules"][0]["help"]["markdown"]


def test_a_result_says_what_where_and_what_it_comes_from() -> None:
    found = finding(
        source="extract",
        details=(Detail("doc.body", "missing", "required str"),),
        witness='{"title": null}',
        fix="add body",
    )
    (result,) = results(found, places={"extract": place_at(str(Path("made.py").resolve()), 3)})
    assert (result["ruleId"], result["level"]) == ("KRS102", "error")
    assert [*CODES][result["ruleIndex"]] == "KRS102"
    assert result["message"]["text"].split("\n") == [
        "[extract](1) → score: it is so.",
        "doc.body: missing, required str",
        'witness: {"title": null}',
        "fix: add body",
    ]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "flow.py", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 7, "startColumn": 5}
    related = result["relatedLocations"][0]
    assert (related["id"], related["physicalLocation"]["region"]["startLine"]) == (1, 3)


def test_a_finding_without_a_place_is_told_at_its_module() -> None:
    (result,) = results(finding("KRS204", where=None))
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("flow.py", 1)


@pytest.mark.parametrize(
    "file, uri",
    [
        ("a b/fl#w.py", "a%20b/fl%23w.py"),
        ("größe.py", "gr%C3%B6%C3%9Fe.py"),
        ("100%.py", "100%25.py"),
        ("a\udcffb.py", "a%5Cudcffb.py"),
    ],
)
def test_addresses_of_files_are_encoded(file: str, uri: str) -> None:
    place = place_at(str(Path.cwd().resolve() / file), 1)
    (result,) = results(finding(where=place))
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_a_file_outside_the_root_has_its_full_address(tmp_path: Path) -> None:
    (result,) = results(finding(where=place_at("/elsewhere/x.py", 1)), root=tmp_path)
    where = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert where == {"uri": "file:///elsewhere/x.py"}


def test_a_fingerprint_stays_when_lines_move_and_differs_between_findings() -> None:
    def marks(*findings: Finding) -> list[str]:
        return [each["partialFingerprints"]["kairosFinding/v1"] for each in results(*findings)]

    here, moved = (place_at(str(Path("flow.py").resolve()), line) for line in (7, 70))
    assert marks(finding(where=here)) == marks(finding(where=moved, message="in other words"))
    different = marks(
        finding(), finding("KRS103"), finding(step="b"), finding(), finding(source="x")
    )
    assert len({*different}) == 5


def test_what_is_allowed_is_suppressed_in_source_with_its_reason() -> None:
    (result,) = results(suppressed=((finding("KRS204"), "it dumps all"),))
    assert result["suppressions"] == [
        {"kind": "inSource", "status": "accepted", "justification": "it dumps all"}
    ]


def test_a_module_that_could_not_be_read_makes_the_run_unsuccessful() -> None:
    found = log(unread=[Unread("SyntaxError: no", "flow.py", 3), Unread("no such file")])
    (invocation,) = found["runs"][0]["invocations"]
    first, second = invocation["toolExecutionNotifications"]
    assert not invocation["executionSuccessful"]
    assert first["message"]["text"] == "SyntaxError: no"
    assert first["locations"][0]["physicalLocation"]["region"]["startLine"] == 3
    assert "locations" not in second


@given(st.text(), st.sampled_from([*CODES]), st.sampled_from(Severity), st.booleans())
def test_any_text_makes_a_valid_log(text: str, code: str, severity: Severity, told: bool) -> None:
    details = (Detail(text, text, text),) if told else ()
    found = finding(
        code,
        severity=severity,
        step=text,
        message=text,
        source=text,
        details=details,
        witness=text,
        fix=text,
        where=place_at(f"/x/{text}", 1),
    )
    log(found, suppressed=((found, text),), unread=[Unread(text, text, None)])


# --- Mermaid


def act(ctx: Any) -> int:
    return 1


PLAN = TaskGraph(
    "plan",
    [
        Step("a", act),
        Step("b", act, depends_on=["a"]),
        Step("c", act, depends_on=["a"], foreach="b"),
        Step("d", act, depends_on=["c"], when=lambda ctx: True),
    ],
)


def drawn(*findings: Finding, proofs: tuple[Proof, ...] = ()) -> list[str]:
    return [line.strip() for line in picture(PLAN, Report(findings, proofs)).splitlines()]


def test_a_plan_without_findings_is_drawn_as_ever() -> None:
    assert picture(PLAN, Report()) == PLAN.to_mermaid()


def test_a_refuted_edge_is_red_and_bears_its_code() -> None:
    lines = drawn(finding(source="a", step="b"))
    assert 'n0 -->|"KRS102"| n1' in lines
    assert "linkStyle 0 stroke:#c62828,stroke-width:2px,color:#c62828" in lines
    assert "n0 --> n2" in lines


@pytest.mark.parametrize("answer, code", [("coerced", "KRS103"), ("unknown", "KRS104")])
def test_what_is_not_quite_proved_is_dashed(answer: Any, code: str) -> None:
    proof = Proof(Edge(1, "a", "parameter", (0,)), Verdict(answer))
    assert f'n0 -.->|"{code}"| n1' in drawn(proofs=(proof,))


def test_what_is_proved_is_plain_even_under_an_assumption() -> None:
    proof = Proof(Edge(1, "a", "parameter", (0,)), Verdict("proved"), "declared keys")
    assert "n0 --> n1" in drawn(finding("KRS105", source="a", step="b"), proofs=(proof,))


def test_an_edge_that_is_no_dependency_and_an_input_are_drawn_where_they_are_at_fault() -> None:
    lines = drawn(finding(source="a", step="d"), finding(source="url", step="a"))
    assert 'n0 -->|"KRS102"| n3' in lines
    assert 'i0(["url"])' in lines
    assert 'i0 -->|"KRS102"| n0' in lines


def test_several_codes_of_an_edge_stand_side_by_side_the_gravest_first() -> None:
    lines = drawn(finding("KRS103", source="a", step="b"), finding(source="a", step="b"))
    assert 'n0 -->|"KRS102 KRS103"| n1' in lines


def test_a_step_at_fault_is_framed() -> None:
    lines = drawn(finding("KRS201", step="c"))
    assert lines[-2:] == ["classDef faulty stroke:#c62828,stroke-width:2px", "class n2 faulty"]


@given(st.text(min_size=1))
def test_no_name_breaks_out_of_its_label(name: str) -> None:
    lines = picture(PLAN, Report((finding(source=name, step="a"),))).split("\n")
    if name in PLAN.index:
        return
    pattern = re.compile(r'    i0\(\["((?:[\w _\-.,:/()]|#\d+;)*)"\]\)')
    assert sum(bool(pattern.fullmatch(line)) for line in lines) == 1
    assert len(lines) == len(PLAN.to_mermaid().split("\n")) + 3
