"""Site folders for the tests of the dependency audit: sound, broken and hostile ones."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from audit_parts import metadata

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from audit_parts.models import Distribution, Found

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e&\"'"


def checksum(content: bytes, algorithm: str = "sha256") -> str:
    digest = hashlib.new(algorithm, content).digest()
    return f"{algorithm}={base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def install(
    site: Path,
    name: str,
    version: str = "1.0",
    *fields: str,
    modules: dict[str, bytes] | None = None,
    licence: str = "MIT",
) -> Path:
    """Install a distribution as a wheel's installer leaves it; return its metadata folder."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", f"License-Expression: {licence}", *fields]
    text = "\n".join(["Metadata-Version: 2.4", *(line for line in lines if line)]) + "\n"
    contents = {
        f"{name}.py": f"print({name!r})\n".encode(),
        **(modules or {}),
        f"{folder.name}/METADATA": text.encode(),
        f"{folder.name}/WHEEL": b"Wheel-Version: 1.0\n",
        f"{folder.name}/INSTALLER": b"pip\n",
    }
    for path, content in contents.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
    record(folder, *(f"{path},{checksum(body)},{len(body)}" for path, body in contents.items()))
    return folder


def record(folder: Path, *lines: str) -> Path:
    file = folder / "RECORD"
    file.write_text("\n".join([*lines, f"{folder.name}/RECORD,,"]) + "\n", "utf-8")
    return file


def only(site: Path) -> Found:
    (found,) = metadata.installed(str(site))
    return found


def read(site: Path) -> list[Distribution | None]:
    return [metadata.read_distribution(found) for found in metadata.installed(str(site))]


def _write_metadata(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "METADATA").write_bytes(content)


BROKEN_METADATA: dict[str, tuple[Callable[[Path], object], str]] = {
    "no metadata": (lambda folder: (folder / "METADATA").unlink(), "has no METADATA"),
    "empty": (_write_metadata(b" \n"), "METADATA is empty"),
    "no name": (_write_metadata(b"Version: 1\n"), "has no Name"),
    "two names": (_write_metadata(b"Name: a\nName: b\nVersion: 1\n"), "no Name, or more than one"),
    "no version": (_write_metadata(b"Name: a\n"), "has no Version"),
    "invalid name": (_write_metadata(b"Name: -a-\nVersion: 1\n"), "name is not valid: '-a-'"),
    "invalid version": (_write_metadata(b"Name: a\nVersion: x\n"), "version is not valid: 'x'"),
    "not UTF-8": (
        _write_metadata(b"Name: a\nVersion: 1\nSummary: \xff\n"),
        "METADATA is not UTF-8",
    ),
    "direct_url no JSON": (
        lambda folder: (folder / "direct_url.json").write_text("{"),
        "direct_url.json",
    ),
    "direct_url no object": (
        lambda folder: (folder / "direct_url.json").write_text('["dir_info"]'),
        "direct_url.json",
    ),
}


def broken_site(site: Path) -> Path:
    """Fill a site with one distribution of every broken kind between two sound ones."""
    install(site, "app", "1.0", "Requires-Dist: lib")
    install(site, "lib", "1.0")
    for case, (breaking, _) in BROKEN_METADATA.items():
        breaking(install(site, f"broken-{case.replace(' ', '-').lower()}"))
    (install(site, "malformed") / "RECORD").write_text("x\n")
    (install(site, "recordless") / "RECORD").unlink()
    record(install(site, "escaping"), "../../../../../../../../etc/passwd,sha256=x,1")
    (site / "old-1.0.egg-info").write_text("Name: old\nVersion: 1.0\nLicense: MIT\n")
    return site
