"""Whether what is required is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from audit_parts import metadata, requirements
from audit_parts.models import BrokenDistributionError, Distribution, RequirementCheck
from fake_site import install

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "env/lib/python3.11/site-packages"
    folder.mkdir(parents=True)
    return folder


def required(site: Path) -> RequirementCheck:
    found = metadata.installed(str(site))
    distributions: list[Distribution | None] = []
    for place in found:
        try:
            distributions.append(metadata.read_distribution(place))
        except BrokenDistributionError:
            distributions.append(None)
    return requirements.check_requirements(found, distributions)


def told(check: RequirementCheck) -> list[tuple[str, str]]:
    return [(finding.severity, finding.message) for finding in check.findings]


def test_met_requirements_find_nothing(site: Path) -> None:
    install(site, "app", "1.0", "Requires-Dist: Lib_One>=1,<2", "Requires-Dist: lib-two")
    install(site, "lib-one", "1.5")
    install(site, "lib.two", "0.1rc1")
    check = required(site)
    assert told(check) == []
    assert check.evaluated == 2
    assert {(edge.source, edge.target, edge.met) for edge in check.edges} == {
        ("app", "lib-one", True),
        ("app", "lib-two", True),
    }


@pytest.mark.parametrize(
    "line, severity, message",
    [
        ("gone>1", "violation", "requires gone>1, which is not installed"),
        ("lib>=2", "violation", "requires lib>=2; installed is 1.5"),
        ("lib[nope]", "warning", "asks for lib[nope], which has no such extra"),
        ("lib[fast]", "violation", "requires quick (for its extra fast), which is not installed"),
        ("lib (>dev)", "warning", "requirement 'lib (>dev)' cannot be read"),
    ],
)
def test_a_requirement_that_is_not_met_is_told(
    site: Path, line: str, severity: str | None, message: str
) -> None:
    install(site, "app", "1.0", f"Requires-Dist: {line}")
    install(site, "lib", "1.5", "Provides-Extra: fast", "Requires-Dist: quick; extra == 'fast'")
    assert told(required(site)) == [(severity, message)]


@pytest.mark.parametrize(
    "line",
    [
        "gone; python_version < '3'",
        "gone; sys_platform == 'none'",
        "gone; extra == 'all'",
        "gone; platform_release >= 'x' and extra == 'never'",
        "lib @ https://example.invalid/lib.whl",
    ],
)
def test_a_requirement_that_does_not_apply_here_binds_nobody(site: Path, line: str) -> None:
    install(site, "app", "1.0", f"Requires-Dist: {line}")
    install(site, "lib", "1.5")
    assert told(required(site)) == []


def test_an_extra_asks_for_further_extras(site: Path) -> None:
    install(site, "app", "1.0", "Requires-Dist: lib[All]")
    install(
        site,
        "lib",
        "1.0",
        "Provides-Extra: all",
        "Provides-Extra: some_part",
        "Requires-Dist: lib[some-part]; extra == 'all'",
        "Requires-Dist: deep; extra == 'some-part'",
    )
    assert told(required(site)) == [
        ("violation", "requires deep (for its extra some-part), which is not installed")
    ]


def test_two_that_want_different_versions_are_named_together(site: Path) -> None:
    install(site, "one", "1.0", "Requires-Dist: lib<2")
    install(site, "two", "1.0", "Requires-Dist: lib>=2")
    install(site, "lib", "1.5")
    assert told(required(site)) == [
        ("violation", "requires lib>=2; installed is 1.5 (one wants <2)")
    ]


def test_what_could_not_be_read_is_not_called_missing(site: Path) -> None:
    install(site, "app", "1.0", "Requires-Dist: lib>1")
    (install(site, "lib") / "METADATA").unlink()
    assert told(required(site)) == [("warning", "requires lib>1, whose metadata cannot be read")]


@pytest.mark.parametrize(
    "wanted, severity", [("<3", "violation"), ("~3", "warning"), (">=3", None)]
)
def test_the_interpreter_is_held_to_requires_python(
    site: Path, wanted: str, severity: str | None
) -> None:
    install(site, "app", "1.0", f"Requires-Python: {wanted}")
    assert [finding.severity for finding in required(site).findings] == [severity] * bool(severity)


def test_a_second_copy_in_one_folder_is_told(site: Path) -> None:
    install(site, "app", "1.0")
    install(site, "app", "2.0", "Requires-Dist: gone")
    assert told(required(site)) == [
        ("warning", "2.0 (app-2.0.dist-info) is hidden by 1.0 (app-1.0.dist-info)")
    ]


def test_an_extra_that_happens_to_be_installed_is_an_optional_edge(site: Path) -> None:
    install(site, "app", "1.0", "Requires-Dist: lib>=9; extra == 'x'", "Provides-Extra: x")
    install(site, "lib", "1.5")
    check = required(site)
    assert told(check) == []
    assert [(edge.optional, edge.met) for edge in check.edges] == [(True, False)]
