"""What licence a distribution is under, from metadata that says it in a dozen ways.

The evidence, from the most explicit down: License-Expression (SPDX, by PEP 639), the License
field (an identifier, a name, or the whole text pasted in), the classifiers, the licence files.
Wording that may mean several licences is kept as the set of what it may mean, and further
evidence narrows the set: "BSD", with a licence file that forbids using the authors' names to
promote a product, is BSD-3-Clause.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from audit_parts.licence_names import CLASSIFIERS, NAMES, TEXTS
from audit_parts.models import Licence
from audit_parts.wording import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.metadata import RawMetadata

LONGEST_NAME = 120  # what is longer is a text, not a name
LONGEST_EXPRESSION = 1000  # numpy's is 60, and a hostile one could nest without end
NOTHING: frozenset[str] = frozenset()


def read_licence(raw: RawMetadata, files: Iterable[str]) -> Licence:
    """Return the licence that the metadata and the texts of the licence files tell of."""
    for source, text in (
        ("License-Expression", raw.get("license_expression", "")),
        ("License", raw.get("license", "")),
    ):
        if certain := spdx(text):
            return Licence(expression=certain, candidates=(), source=source, raw=plain(text))
    meant, source = _declared(raw)
    if source != "contradiction":
        in_files = NOTHING.union(*(meaning_of_text(text) for text in files))
        source = source or ("licence files" if in_files else "nothing")
        meant = (meant & in_files) or meant or in_files
    return Licence(
        expression=next(iter(meant)) if len(meant) == 1 else None,
        candidates=tuple(sorted(meant)) if len(meant) > 1 else (),
        source=source,
        raw=plain(_wording(raw)),
    )


def _declared(raw: RawMetadata) -> tuple[frozenset[str], str]:
    """Return what the License field and the classifiers mean together, and which of them said it.

    Where they exclude one another, or several classifiers are given (which may mean a choice or
    all of them), it stays open: a licence file cannot decide it.
    """
    text = raw.get("license_expression") or raw.get("license", "")
    field = meaning_of_name(text) or meaning_of_text(text)
    classified = [CLASSIFIERS.get(tail, "") for tail in _classifiers(raw)]
    sets = [frozenset(ids.split()) for ids in classified if ids]
    classes = NOTHING.union(*sets)
    if field and classes:
        both = field & classes
        return both or field | classes, "License" if both else "contradiction"
    if len(sets) > 1:
        return classes, "contradiction"
    return field or classes, "License" if field else "classifiers" if classes else ""


def _classifiers(raw: RawMetadata) -> list[str]:
    return [
        parts[-1]
        for line in raw.get("classifiers", [])
        if (parts := [part.strip() for part in line.split("::")])[0] == "License"
        and parts[-1] not in {"OSI Approved", "DFSG approved", "License"}
    ]


def _wording(raw: RawMetadata) -> str:
    """Return the words in which the metadata puts it, as the hint when nothing is certain."""
    said = [raw.get("license_expression", ""), raw.get("license", ""), *_classifiers(raw)]
    return "; ".join(dict.fromkeys(text for text in said if text.strip().lower() not in _EMPTY))


_EMPTY = {"", "unknown", "none", "n/a", "undefined", "tbd"}


def spdx(text: str) -> str | None:
    """Return `text` as a canonical SPDX expression, or None when it is not one."""
    if not text.strip() or len(text) > LONGEST_EXPRESSION:
        return None
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def meaning_of_name(text: str) -> frozenset[str]:
    """Return the identifiers that a licence's name may stand for; none when it is unknown."""
    if len(text) > LONGEST_NAME:
        return NOTHING
    for candidate in (text, re.sub(r"\([^)]*\)", " ", text)):
        if ids := NAMES.get(_bare(candidate)):
            return frozenset(ids.split())
    parts = re.split(r"[,/;&|]|\band\b|\bor\b", _later(text))
    found = [NAMES.get(_bare(part), "") for part in parts]
    return frozenset(" ".join(found).split()) if all(found) else NOTHING


def _later(text: str) -> str:
    """Write "3 or later" as "3+", lest its "or" be taken for a choice."""
    return re.sub(r",?\s+or\s+(any\s+)?(later|newer|above)(\s+versions?)?", "+", text.lower())


def _bare(text: str) -> str:
    words = re.sub(r"[^a-z0-9.+]+", " ", _later(text))
    words = re.sub(r"\b(the|licen[cs]ed?|software|version|under|terms|of)\b", " ", words)
    words = re.sub(r"\bv\.? ?(?=\d)", "", words)
    words = re.sub(r"(\d)\.0\b", r"\1", words)
    return " ".join(words.split()).strip(". ")


def meaning_of_text(text: str) -> frozenset[str]:
    """Return the licences whose text, or whose customary notice, stands in `text`."""
    flat = " ".join(text.lower().translate(_QUOTES).split())
    return frozenset(
        identifier
        for ids, has, lacks in TEXTS
        if all(phrase in flat for phrase in has) and not any(phrase in flat for phrase in lacks)
        for identifier in ids.split()
    )


# Comment marks and typographic quotes, which a text pasted from a source file may still carry.
_QUOTES = str.maketrans("\u201c\u201d\u2018\u2019#*", "\"\"''  ")
