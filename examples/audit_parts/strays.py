"""What lies in a site folder without belonging to anyone, and what Python runs at every start.

A file that no RECORD names was put there by something other than an installer.  Most are
harmless; a .pth file with an import line is code that runs whenever Python starts, so those are
named one by one.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from audit_parts.files import read_entries
from audit_parts.models import Finding, StartupLine, StrayCheck
from audit_parts.wording import count, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from audit_parts.models import Found, Inventory

NAMED_STRAYS = 10
# Left by the interpreter, by pip, and by virtualenv and uv, which keep no record of them.
USUAL = {"README.txt", "easy-install.pth", "_virtualenv.pth", "_virtualenv.py"}
USUAL_FOLDERS = {"__pycache__"}


def find_strays(found: Sequence[Found], inventories: Sequence[Inventory | None]) -> StrayCheck:
    """Look through every site folder whose distributions all keep a RECORD.

    Where one keeps none, whatever lies beside it may be its own: nothing can be said.
    """
    owners = _owners(inventories)
    sites = dict.fromkeys(place.site for place in found)
    silent = [place for place, one in zip(found, inventories, strict=True) if one is None]
    judged = [site for site in sites if site not in {place.site for place in silent}]
    strays = [path for site in judged for path in _strays(Path(site), owners)]
    startup = tuple(line for site in sites for line in _startup(Path(site), owners))
    return StrayCheck(
        findings=(*_stray_findings(strays), *_startup_findings(startup, judged)),
        strays=len(strays),
        unchecked=len(silent),
        startup=startup,
    )


def _owners(inventories: Iterable[Inventory | None]) -> dict[str, str]:
    """Return every recorded file, with the metadata folder of the distribution that owns it."""
    owners = {}
    for one in inventories:
        if one is None:
            continue
        for _, entry in read_entries(Path(one.record).read_bytes()):
            if entry is not None:
                place = os.path.join(one.site, entry.path)  # noqa: PTH118 - for every file there is
                owners[os.path.normpath(place) if ".." in place else place] = one.path
    return owners


def _strays(site: Path, owners: dict[str, str]) -> Iterator[str]:
    """Yield the unowned files of a site folder, a folder that is unowned throughout as one."""
    for folder, names, files in os.walk(site):
        names[:] = sorted(name for name in names if name not in USUAL_FOLDERS)
        here = os.path.relpath(folder, site)
        for name in sorted(files):
            if os.path.join(folder, name) in owners or name.endswith((".pyc", ".pyo")):  # noqa: PTH118
                continue
            if here != "." or name not in USUAL:
                yield name if here == "." else f"{here.replace(os.sep, '/')}/{name}"


def _stray_findings(strays: Sequence[str]) -> Iterator[Finding]:
    tops = Counter(path.partition("/")[0] + ("/" if "/" in path else "") for path in strays)
    for top, number in tops.most_common(NAMED_STRAYS):
        what = f"{plain(top)}: {count(number, 'file')}" if top.endswith("/") else plain(top)
        yield _note(f"{what} that no RECORD names")
    if more := len([*tops][NAMED_STRAYS:]):
        yield _note(f"and {count(more, 'more file or folder', 'more files and folders')}")


def _startup(site: Path, owners: dict[str, str]) -> Iterator[StartupLine]:
    for file in sorted(site.glob("*.pth")):
        try:
            text = file.read_text("utf-8", "replace")
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith(("import ", "import\t")):  # as the site module tells them
                owner = owners.get(str(file), "")
                yield StartupLine(file=plain(file.name), owner=owner, code=plain(line, 160))


def _startup_findings(lines: Iterable[StartupLine], judged: Sequence[str]) -> Iterator[Finding]:
    unowned = dict.fromkeys(
        line.file for line in lines if not line.owner and line.file not in USUAL
    )
    for file in unowned if judged else ():
        yield Finding(
            severity="warning",
            topic="file",
            path="",
            message=f"{file} runs code whenever Python starts, and no RECORD names it",
            fix="read it; delete it if nobody knows it",
        )


def _note(message: str) -> Finding:
    return Finding(severity="note", topic="file", path="", message=message)
