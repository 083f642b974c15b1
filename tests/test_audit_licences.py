"""What a licence is, from the words that packages find for it, and what the policy makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_parts import licences, policy
from audit_parts.licence_names import CLASSIFIERS, NAMES, TEXTS
from audit_parts.models import Licence
from fake_site import install, read

if TYPE_CHECKING:
    from pathlib import Path

MIT_TEXT = """
    Permission is hereby granted, free of charge, to any person obtaining a copy of this software
    and associated documentation files (the “Software”), to deal in the Software without
    restriction, subject to the following conditions: The above copyright notice and this
    permission notice shall be included in all copies or substantial portions of the Software.
"""
BSD2_TEXT = """
    Redistribution and use in source and binary forms, with or without modification, are permitted:
    1. Redistributions of source code must retain the above copyright notice.
    2. Redistributions in binary form must reproduce the above copyright notice.
"""
BSD3_TEXT = BSD2_TEXT + "3. Neither the name of X may be used to endorse or promote products."


def classifier(tail: str) -> str:
    return f"License :: OSI Approved :: {tail}"


@pytest.mark.parametrize(
    "raw, texts, expression, candidates",
    [
        ({"license_expression": "mit or apache-2.0"}, [], "MIT OR Apache-2.0", ""),
        ({"license": "Apache-2.0"}, [], "Apache-2.0", ""),
        ({"license": "Apache License, Version 2.0"}, [], "Apache-2.0", ""),
        ({"license": "The MIT License (MIT)"}, [], "MIT", ""),
        ({"license": "New BSD"}, [], "BSD-3-Clause", ""),
        ({"license": "GPLv3+"}, [], "GPL-3.0-or-later", ""),
        ({"license": "GNU General Public License v3 or later"}, [], "GPL-3.0-or-later", ""),
        ({"license": "LGPL v2.1"}, [], None, "LGPL-2.1-only LGPL-2.1-or-later"),
        ({"license": "MIT/Expat"}, [], "MIT", ""),
        ({"license": "MIT or BSD"}, [], None, "BSD-2-Clause BSD-3-Clause MIT"),
        ({"license": MIT_TEXT}, [], "MIT", ""),
        ({"license": BSD3_TEXT}, [], "BSD-3-Clause", ""),
        ({"license": "BSD"}, [], None, "BSD-2-Clause BSD-3-Clause"),
        ({"license": "BSD"}, [BSD3_TEXT], "BSD-3-Clause", ""),
        ({"license": "BSD", "classifiers": [classifier("BSD License")]}, [BSD2_TEXT],
         "BSD-2-Clause", ""),
        ({"classifiers": [classifier("Apache Software License")]}, [], "Apache-2.0", ""),
        ({"license": "UNKNOWN", "classifiers": [classifier("MIT License")]}, [], "MIT", ""),
        ({"license": "MIT", "classifiers": [classifier("Apache Software License")]}, [],
         "MIT", ""),
        ({"license": "GPL", "classifiers": [classifier("MIT License")]}, [MIT_TEXT], None,
         "GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later MIT"),
        ({"classifiers": [classifier("MIT License"), classifier("GNU General Public License v3 or "
          "later (GPLv3+)")]}, [MIT_TEXT], None, "GPL-3.0-or-later MIT"),
        ({"license_expression": "Our Own"}, [], None, ""),
        ({}, [MIT_TEXT], "MIT", ""),
        ({}, ["ask the author"], None, ""),
        ({}, [], None, ""),
    ],
)  # fmt: skip
def test_a_licence_is_what_its_wording_says_for_certain(
    raw: Any, texts: list[str], expression: str | None, candidates: Any
) -> None:
    licence = licences.read_licence(raw, texts)
    assert licence.expression == expression
    assert licence.candidates == tuple(candidates.split())


def test_an_unknown_licence_keeps_its_own_words() -> None:
    raw: Any = {"license": "See LICENCE.txt\n in the sources", "classifiers": ["License :: Odd"]}
    licence = licences.read_licence(raw, [])
    assert (licence.expression, licence.candidates) == (None, ())
    assert licence.raw == "See LICENCE.txt in the sources; Odd"


@given(st.text(), st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=2))
def test_no_wording_of_a_licence_can_break_the_reader(
    text: str, classifiers: list[str], texts: list[str]
) -> None:
    raw: Any = {"license": text, "license_expression": text[::-1], "classifiers": classifiers}
    licence = licences.read_licence(raw, texts)
    assert licence.raw.isprintable()
    assert licence.expression is None or not licence.candidates


@pytest.mark.parametrize("name", sorted({*policy.ALLOWED, *policy.PERMISSIVE}))
def test_the_default_policy_names_only_licences_that_exist(name: str) -> None:
    assert licences.spdx(name) == name


def test_every_wording_stands_for_licences_that_exist() -> None:
    tables = (*CLASSIFIERS.values(), *NAMES.values())
    ids = {one for entry in (*tables, *(text[0] for text in TEXTS)) for one in entry.split()}
    assert {one for one in ids if licences.spdx(one) != one} == set()


@pytest.mark.parametrize(
    "expression, standing",
    [
        ("MIT", "allowed"),
        ("MPL-2.0", "allowed"),
        ("GPL-3.0-only", "refused"),
        ("AGPL-3.0-or-later", "refused"),
        ("MIT OR GPL-3.0-only", "allowed"),
        ("MIT AND GPL-3.0-only", "refused"),
        ("GPL-2.0-only AND (MIT OR AGPL-3.0-only)", "refused"),
        ("(MIT OR AGPL-3.0-only) AND BSD-3-Clause", "allowed"),
        ("MIT AND GPL-3.0-only OR ISC", "allowed"),
        ("GPL-2.0-or-later WITH Classpath-exception-2.0", "allowed"),
        ("GPL-2.0-or-later WITH Bison-exception-2.2", "refused"),
        ("Apache-2.0 WITH LLVM-exception", "allowed"),
        ("LicenseRef-Our-Own", "unclear"),
        ("LicenseRef-Our-Own OR GPL-3.0-only", "unclear"),
        ("LicenseRef-Our-Own AND MIT", "unclear"),
        ("LicenseRef-Proprietary", "refused"),
    ],
)
def test_an_expression_stands_as_its_parts_do(expression: str, standing: str) -> None:
    assert policy.judge_expression(expression, policy.ALLOWED) == standing


@pytest.mark.parametrize(
    "candidates, standing",
    [
        (("BSD-2-Clause", "BSD-3-Clause"), "allowed"),
        (("GPL-2.0-only", "GPL-3.0-only"), "refused"),
        (("GPL-2.0-only", "MIT"), "unclear"),
        ((), "unclear"),
    ],
)
def test_what_is_not_certain_is_decided_only_where_all_readings_agree(
    candidates: Any, standing: str
) -> None:
    licence = Licence(expression=None, candidates=candidates, source="License", raw="")
    assert policy.judge(licence, policy.ALLOWED) == standing


def test_the_policy_can_be_widened_and_narrowed() -> None:
    changed = policy.policy(["gpl-3.0-only"], ["ISC"])
    assert "GPL-3.0-only" in changed
    assert "ISC" not in changed


@pytest.mark.parametrize("name", ["GLP-3.0", "", "MIT OR ISC", "MIT AND", "(MIT)"])
def test_a_licence_that_does_not_exist_cannot_be_allowed(name: str) -> None:
    with pytest.raises(ValueError, match="is"):
        policy.policy([name])


def test_a_refused_licence_is_a_violation_and_an_unclear_one_a_warning(tmp_path: Path) -> None:
    install(tmp_path, "copyleft", licence="MIT AND GPL-3.0-only")
    install(tmp_path, "free")
    install(tmp_path, "odd", "1.0", "License: Odd", licence="Odd")
    check = policy.check_licences(read(tmp_path), policy.ALLOWED)
    told = {(finding.severity, finding.message) for finding in check.findings}
    assert told == {
        ("violation", "licence MIT AND GPL-3.0-only: strong copyleft"),
        ("warning", "licence unknown: its metadata says only: Odd"),
    }
    assert "--allow GPL-3.0-only" in check.findings[0].fix
