"""The guide hangs together: its links lead somewhere, and its map names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GUIDE = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDE]
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return what a link may name in a page: its headings, as GitHub spells them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert not broken


def test_every_page_is_reached_from_the_readme() -> None:
    readme = prose(ROOT / "README.md")
    assert [page.name for page in GUIDE if f"(docs/{page.name})" not in readme] == []


def test_the_map_of_the_source_names_every_module() -> None:
    page = prose(ROOT / "docs" / "architecture.md")
    parts = [path for path in (ROOT / "kairos").iterdir() if not path.name.startswith("_")]
    modules = [p.stem for p in parts if p.suffix == ".py" or (p / "__init__.py").exists()]
    assert [name for name in sorted(modules) if f"`{name}`" not in page] == []
