"""Whether what the distributions require is installed, and in a version that will do.

Nothing records which extras were asked for when a distribution was installed.  So its plain
requirements must be met, and those of an extra when another distribution asks for it; those of
any other extra are shown in the graph where they happen to be installed, and bind nobody.
Markers are evaluated for the interpreter that runs the audit.
"""

from __future__ import annotations

import platform
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName, default_environment
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from audit_parts.models import Distribution, Edge, Finding, RequirementCheck
from audit_parts.wording import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from audit_parts.models import Found


class Demand(NamedTuple):
    """A requirement that applies: who has it, under which of its extras, and what it is."""

    source: Distribution
    extra: str
    wanted: Requirement


def check_requirements(
    found: Sequence[Found], distributions: Sequence[Distribution | None]
) -> RequirementCheck:
    """Match every requirement that applies here with what is installed."""
    read = [one for one in distributions if one is not None]
    installed: dict[str, Distribution] = {}
    for one in read:
        installed.setdefault(one.key, one)
    unread = {
        _likely_key(place.label)
        for place, one in zip(found, distributions, strict=True)
        if one is None
    }
    demands, aside = _demands(installed)
    findings = [*_duplicates(read, installed), *_interpreter(installed.values())]
    findings += _unreadable(installed.values())
    findings += _unmet(demands, installed, unread) + _unknown_extras(demands, installed)
    return RequirementCheck(
        findings=tuple(findings),
        edges=tuple(_edges(demands, aside, installed)),
        evaluated=len(demands),
        not_for_here=len(aside),
    )


def _likely_key(label: str) -> str:
    """Return the name that a metadata folder's own name speaks of, whatever it holds."""
    return canonicalize_name(label.lstrip("~").partition("-")[0])


def _demands(installed: dict[str, Distribution]) -> tuple[list[Demand], list[Demand]]:
    """Return the requirements that apply, and those that do not.

    An extra that is asked for brings in requirements which may ask for further extras, so this
    works through a list that grows until nothing new is asked for.
    """
    lines = {key: list(_readable(one)) for key, one in installed.items()}
    pending = [(key, "") for key in installed]
    seen = set(pending)
    demands: dict[tuple[str, str], Demand] = {}
    while pending:
        key, extra = pending.pop()
        for wanted in lines[key]:
            if (key, str(wanted)) in demands or not _applies(wanted, extra):
                continue
            demands[key, str(wanted)] = Demand(installed[key], extra, wanted)
            target = canonicalize_name(wanted.name)
            asked = {(target, canonicalize_name(name)) for name in wanted.extras}
            fresh = asked - seen if target in installed else set()
            seen |= fresh
            pending += sorted(fresh)
    aside = [
        Demand(installed[key], "", wanted)
        for key, wanteds in lines.items()
        for wanted in wanteds
        if (key, str(wanted)) not in demands
    ]
    return list(demands.values()), aside


def _readable(one: Distribution) -> Iterator[Requirement]:
    return (Requirement(line.text) for line in one.requires if not line.fault)


def _applies(wanted: Requirement, extra: str) -> bool:
    if wanted.marker is None:
        return extra == ""
    try:
        return wanted.marker.evaluate({**_here(), "extra": extra})
    except (UndefinedComparison, UndefinedEnvironmentName):
        return False  # such as a comparison that makes no sense: pip does not install it either


@cache
def _here() -> dict[str, str]:
    return {name: str(value) for name, value in default_environment().items()}


def _duplicates(read: Iterable[Distribution], first: dict[str, Distribution]) -> Iterator[Finding]:
    for one in read:
        seen = first[one.key]
        if one is seen:
            continue
        together = one.site == seen.site
        yield Finding(
            severity="warning" if together else "note",
            topic="metadata",
            path=one.path,
            message=f"{one.version} ({one.label}) is hidden by {seen.version} ({seen.label})"
            + ("" if together else ", which comes first on sys.path"),
            fix=f"pip install --force-reinstall {one.key}" if together else "",
        )


def _interpreter(distributions: Iterable[Distribution]) -> Iterator[Finding]:
    running = platform.python_version()
    for one in distributions:
        try:
            fits = SpecifierSet(one.requires_python).contains(running, prereleases=True)
        except InvalidSpecifier:
            yield _odd(one, f"Requires-Python cannot be read: {plain(one.requires_python, 60)!r}")
            continue
        if not fits:
            message = f"requires Python {one.requires_python}; this is {running}"
            fix = f"install a version of {one.key} that supports Python {running}"
            yield _broken(one, message, fix)


def _unreadable(distributions: Iterable[Distribution]) -> Iterator[Finding]:
    for one in distributions:
        for line in one.requires:
            if line.fault:
                yield _odd(one, f"requirement {plain(line.text, 80)!r} cannot be read")


def _unmet(
    demands: Iterable[Demand], installed: dict[str, Distribution], unread: set[str]
) -> list[Finding]:
    by_target: dict[str, list[Demand]] = defaultdict(list)
    for demand in demands:
        by_target[canonicalize_name(demand.wanted.name)].append(demand)
    findings = []
    for target, wanting in by_target.items():
        present = installed.get(target)
        for demand in wanting:
            if _met(demand.wanted, present):
                continue
            name = f"{demand.wanted.name}{demand.wanted.specifier}"
            because = f" (for its extra {demand.extra})" if demand.extra else ""
            if present is None and target in unread:
                message = f"requires {name}{because}, whose metadata cannot be read"
                findings.append(_odd(demand.source, message))
            elif present is None:
                message = f"requires {name}{because}, which is not installed"
                findings.append(_broken(demand.source, message, f"pip install '{name}'"))
            else:
                others = sorted(
                    {
                        f"{other.source.name} wants {other.wanted.specifier}"
                        for other in wanting
                        if other.wanted.specifier and other.source is not demand.source
                    }
                )
                message = f"requires {name}{because}; installed is {present.version}"
                message += f" ({', '.join(others[:3])})" if others else ""
                findings.append(_broken(demand.source, message, f"pip install '{name}'"))
    return findings


def _unknown_extras(demands: Iterable[Demand], installed: dict[str, Distribution]) -> list[Finding]:
    return [
        _odd(demand.source, f"asks for {target.name}[{extra}], which has no such extra")
        for demand in demands
        if (target := installed.get(canonicalize_name(demand.wanted.name)))
        for extra in sorted(demand.wanted.extras)
        if canonicalize_name(extra) not in target.extras
    ]


def _met(wanted: Requirement, present: Distribution | None) -> bool:
    """Tell whether what is installed will do; one that names a URL asks for no version."""
    return present is not None and wanted.specifier.contains(present.version, prereleases=True)


def _edges(
    demands: Iterable[Demand], aside: Iterable[Demand], installed: dict[str, Distribution]
) -> Iterator[Edge]:
    drawn = set()
    for optional, group in ((False, demands), (True, aside)):
        for demand in group:
            target = canonicalize_name(demand.wanted.name)
            pair = (demand.source.key, target)
            # A package that lists itself gathers its own extras: that is no dependency.
            if pair in drawn or pair[0] == target:
                continue
            if optional and (target not in installed or "extra" not in str(demand.wanted.marker)):
                continue
            drawn.add(pair)
            yield Edge(
                source=demand.source.key,
                target=target,
                demand=plain(str(demand.wanted.specifier), 60),
                optional=optional,
                met=_met(demand.wanted, installed.get(target)),
            )


def _broken(one: Distribution, message: str, fix: str) -> Finding:
    return Finding(
        severity="violation",
        topic="requirement",
        path=one.path,
        message=message,
        fix=fix,
    )


def _odd(one: Distribution, message: str) -> Finding:
    return Finding(severity="warning", topic="requirement", path=one.path, message=message)
