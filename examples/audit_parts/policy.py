"""Which licences may be used: a list of identifiers, and the judgement over expressions.

The default allows what an engineer can ship without asking: the permissive licences, and weak
copyleft (LGPL, MPL, EPL, CDDL), which binds the library's own files and not its users'.  A
licence that is known and not on the list is refused: strong copyleft (GPL, AGPL, SSPL), source-
available and proprietary ones.  What cannot be told is `unclear`: a warning, never a silent pass.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.licenses import canonicalize_license_expression

from audit_parts.models import Distribution, Finding, Licence, LicenceCheck, LicenceRow, Standing
from audit_parts.wording import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PERMISSIVE = frozenset(
    """
    0BSD AFL-2.1 AFL-3.0 Apache-1.1 Apache-2.0 Artistic-2.0 BlueOak-1.0.0 BSD-1-Clause
    BSD-2-Clause BSD-2-Clause-Patent BSD-3-Clause BSD-3-Clause-Clear BSL-1.0 CC0-1.0 CNRI-Python
    curl ECL-2.0 HPND ICU ISC libpng-2.0 MIT MIT-0 MIT-CMU MulanPSL-2.0 NCSA OFL-1.1 PostgreSQL
    PSF-2.0 Python-2.0 Python-2.0.1 TCL Unicode-3.0 Unicode-DFS-2016 Unlicense UPL-1.0 W3C X11
    Zlib ZPL-2.0 ZPL-2.1 LicenseRef-Public-Domain
""".split()  # noqa: SIM905 - a list to be read
)
WEAK_COPYLEFT = frozenset(
    """
    CDDL-1.0 CDDL-1.1 EPL-1.0 EPL-2.0 LGPL-2.0 LGPL-2.0+ LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1
    LGPL-2.1+ LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0 LGPL-3.0+ LGPL-3.0-only LGPL-3.0-or-later
    MPL-1.1 MPL-2.0 MPL-2.0-no-copyleft-exception
""".split()  # noqa: SIM905 - a list to be read
)
ALLOWED = PERMISSIVE | WEAK_COPYLEFT

# With one of these, even the GPL leaves the programs that use a library alone.
LIBRARY_EXCEPTIONS = frozenset(
    """
    Bootloader-exception Classpath-exception-2.0 GCC-exception-2.0 GCC-exception-3.1
    Font-exception-2.0 LLVM-exception
""".split()  # noqa: SIM905 - a list to be read
)


def policy(allow: Iterable[str] = (), deny: Iterable[str] = ()) -> frozenset[str]:
    """Return the allowed identifiers: the default, with some added and some taken away.

    ValueError for what is no SPDX identifier: a misspelt one would change nothing, unseen.
    """
    added, taken = ({_identifier(name) for name in names} for names in (allow, deny))
    return (ALLOWED | added) - taken


def _identifier(name: str) -> str:
    try:
        found = str(canonicalize_license_expression(name))
    except ValueError as error:
        raise ValueError(f"{plain(name, 60)!r} is no SPDX licence identifier") from error
    if re.search(r"[\s()]", found):
        raise ValueError(f"{plain(name, 60)!r} is an expression; name one licence at a time")
    return found


def judge(licence: Licence, allowed: frozenset[str]) -> Standing:
    """Return how a licence stands; one of several possible ones is judged by all of them."""
    if licence.expression is not None:
        return judge_expression(licence.expression, allowed)
    standings = {judge_expression(one, allowed) for one in licence.candidates}
    return standings.pop() if len(standings) == 1 else "unclear"


def judge_expression(expression: str, allowed: frozenset[str]) -> Standing:
    """Return how a canonical SPDX expression stands.

    Of a choice (OR) the best counts, of a sum (AND) the worst.
    """
    tokens = re.findall(r"[()]|[^\s()]+", expression)
    tokens.reverse()
    standing = _choice(tokens, allowed)
    return standing if not tokens else "unclear"


_WORST_FIRST: tuple[Standing, ...] = ("refused", "unclear", "allowed")


def _choice(tokens: list[str], allowed: frozenset[str]) -> Standing:
    best = _sum(tokens, allowed)
    while tokens and tokens[-1] == "OR":
        tokens.pop()
        best = max(best, _sum(tokens, allowed), key=_WORST_FIRST.index)
    return best


def _sum(tokens: list[str], allowed: frozenset[str]) -> Standing:
    worst = _one(tokens, allowed)
    while tokens and tokens[-1] == "AND":
        tokens.pop()
        worst = min(worst, _one(tokens, allowed), key=_WORST_FIRST.index)
    return worst


def _one(tokens: list[str], allowed: frozenset[str]) -> Standing:
    token = tokens.pop() if tokens else ""
    if token == "(":  # noqa: S105 - a token of the grammar
        standing = _choice(tokens, allowed)
        if tokens:
            tokens.pop()
        return standing
    exception = ""
    if tokens and tokens[-1] == "WITH":
        tokens.pop()
        exception = tokens.pop() if tokens else ""
    if token in allowed or exception in LIBRARY_EXCEPTIONS:
        return "allowed"
    if token.startswith("LicenseRef-") and token != "LicenseRef-Proprietary":  # noqa: S105
        return "unclear"  # a licence of its own: someone has to read it
    return "refused"


def check_licences(
    distributions: Sequence[Distribution | None], allowed: frozenset[str]
) -> LicenceCheck:
    """Judge every distribution's licence."""
    findings, rows = [], []
    for one in distributions:
        if one is None:
            continue
        row = _row(one, judge(one.licence, allowed))
        rows.append(row)
        if row.standing != "allowed":
            findings.append(_finding(one, row, allowed))
    return LicenceCheck(findings=tuple(findings), rows=tuple(rows))


def _row(one: Distribution, standing: Standing) -> LicenceRow:
    licence = one.licence
    # "GPL-3.0" for its only and its or-later: which of them is what nobody knows.
    possible = dict.fromkeys(re.sub("-(only|or-later)$", "", one) for one in licence.candidates)
    shown = licence.expression or " / ".join(possible) or "unknown"
    return LicenceRow(
        path=one.path, shown=shown, standing=standing, reason=_reason(licence, standing)
    )


def _reason(licence: Licence, standing: Standing) -> str:
    if standing == "allowed":
        return ""
    if standing == "refused":
        ids = " ".join([licence.expression or "", *licence.candidates])
        strong = re.search(r"(?<!L)GPL-|SSPL-|EUPL-|OSL-", ids)
        return "strong copyleft" if strong else "not on the list of allowed licences"
    if licence.source == "contradiction":
        return "the metadata names several that do not agree, or does not say whether all apply"
    if licence.raw:
        return f"its metadata says only: {licence.raw}"
    return "its metadata says nothing"


def _finding(one: Distribution, row: LicenceRow, allowed: frozenset[str]) -> Finding:
    if row.standing == "refused":
        words = [one.licence.expression or "", *one.licence.candidates]
        ids = dict.fromkeys(re.findall(r"[^\s()]+", " ".join(words)))
        grammar = {"AND", "OR", "WITH"}
        culprits = [name for name in ids if name not in grammar and name not in allowed]
        return Finding(
            severity="violation",
            topic="licence",
            path=one.path,
            message=f"licence {row.shown}: {row.reason}",
            fix=f"replace it, or accept it with --allow {' '.join(culprits)}",
        )
    return Finding(
        severity="warning",
        topic="licence",
        path=one.path,
        message=f"licence {row.shown}: {row.reason}",
        fix="read its licence file, or ask its authors",
    )
