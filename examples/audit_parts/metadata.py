"""Finding the distributions of an environment, and reading what their metadata says."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import site as site_module
import sys
from pathlib import Path

from packaging.metadata import RawMetadata, parse_email
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Parsed
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from audit_parts.licences import read_licence
from audit_parts.models import (
    BrokenDistributionError,
    Distribution,
    Found,
    Kind,
    Origin,
    Requirement,
)
from audit_parts.wording import plain

LARGEST_METADATA = 16 * 2**20
LARGEST_LICENCE_FILE = 2**18
LICENCE_FILE = re.compile(r"(?i)^(licen[cs]e|copying|unlicense)")


def installed(site: str | None = None) -> list[Found]:
    """Return what says that it is installed in `site`, or where this interpreter imports from.

    The order is that of sys.path, then by name: of two distributions with one name, the first
    is the one that Python sees.
    """
    folders = [Path(site)] if site is not None else environment_folders()
    found: dict[str, Found] = {}
    for folder in folders:
        for path in sorted(_metadata_in(folder)):
            one = _found(path)
            found.setdefault(os.path.realpath(one.path), one)
    return list(found.values())


def environment_folders() -> list[Path]:
    """Return the folders of sys.path, save those that are there for the running script alone."""
    scripts = {os.path.realpath(""), os.path.realpath(Path(sys.argv[0]).parent)}
    scripts -= {os.path.realpath(folder) for folder in site_module.getsitepackages()}
    return [
        Path(entry)
        for entry in dict.fromkeys(sys.path)
        if entry and os.path.realpath(entry) not in scripts and Path(entry).is_dir()
    ]


def environment_root(site: Path) -> Path:
    """Return the folder that an installer may write below, so where RECORD's paths may lead.

    That is sys.prefix for an ordinary layout (scripts are recorded as `../../../bin/name`), and
    the site folder itself for any other, as `pip install --target` makes.
    """
    lower = [part.lower() for part in site.parts]
    if lower and lower[-1] in {"site-packages", "dist-packages"}:
        for up, name in enumerate(reversed(lower[:-1]), start=1):
            if name in {"lib", "lib64"} and up <= 2:  # noqa: PLR2004 - lib/python3.11/site-packages
                root = site.parents[up]
                return root if root != root.parent else site
    return site


def _metadata_in(folder: Path) -> list[Path]:
    """Return the metadata folders and files directly in `folder`."""
    paths = []
    for entry in os.scandir(folder):
        name = entry.name.lower()
        if name.endswith(".egg-info") or (name.endswith(".dist-info") and entry.is_dir()):
            paths.append(Path(entry.path))
        elif name.endswith(".egg") and (egg := Path(entry.path, "EGG-INFO")).is_dir():
            paths.append(egg)
        elif name.endswith(".egg-link"):
            paths += _linked(Path(entry.path))
    return paths


def _linked(link: Path) -> list[Path]:
    """Return the metadata that an .egg-link points at: what `setup.py develop` leaves behind."""
    lines = link.read_text("utf-8", "replace").splitlines()
    folder = Path(lines[0].strip()) if lines else Path()
    return list(folder.glob("*.egg-info")) if folder.is_absolute() else []


def _found(path: Path) -> Found:
    kind: Kind = "dist-info" if path.name.lower().endswith(".dist-info") else "egg-info"
    if path.is_file():
        kind = "egg-info file"
    in_egg = path.name == "EGG-INFO"
    return Found(
        label=plain(path.parent.name if in_egg else path.name),
        path=str(path.absolute()),
        site=str(path.parent.absolute()),
        root=str(environment_root(path.parent.absolute())),
        kind=kind,
        record=kind == "dist-info" and (path / "RECORD").exists(),
    )


def read_distribution(found: Found) -> Distribution:
    """Read a distribution's metadata.

    BrokenDistributionError when it has none, or it cannot be decoded, or it names no usable
    name and version: nothing else in it could then be matched with anything.
    """
    path = Path(found.path)
    if found.label.startswith("~"):
        raise BrokenDistributionError("left over from an uninstall that was interrupted")
    raw = _metadata(path)
    name, version = _identity(raw)
    return Distribution(
        label=found.label,
        path=found.path,
        site=found.site,
        name=name,
        key=canonicalize_name(name),
        version=version,
        summary=plain(raw.get("summary", "")),
        licence=read_licence(raw, _licence_texts(path, raw)),
        requires=tuple(_requirement(line) for line in _requires(path, raw)),
        extras=tuple(canonicalize_name(extra) for extra in raw.get("provides_extra", [])),
        requires_python=raw.get("requires_python", ""),
        origin=_origin(path, found.kind),
    )


def _metadata(path: Path) -> RawMetadata:
    source = importlib.metadata.Distribution.at(path)
    for name in ("METADATA", "PKG-INFO", ""):
        file = path / name
        if not file.is_file():
            continue
        if file.stat().st_size > LARGEST_METADATA:
            raise BrokenDistributionError(f"{file.name} is larger than 16 MiB")
        try:
            text = source.read_text(name)
        except UnicodeDecodeError as error:
            reason = f"{file.name} is not UTF-8: {error.reason} at byte {error.start}"
            raise BrokenDistributionError(reason) from None
        if not (text or "").strip():
            raise BrokenDistributionError(f"{file.name} is empty")
        return parse_email(text or "")[0]
    raise BrokenDistributionError(
        "it has no METADATA" if path.name.endswith(".dist-info") else "it has no PKG-INFO"
    )


def _identity(raw: RawMetadata) -> tuple[str, str]:
    name, version = raw.get("name", ""), raw.get("version", "")
    for field, value in (("Name", name), ("Version", version)):
        if not value.strip():
            raise BrokenDistributionError(f"its metadata has no {field}, or more than one")
    try:
        canonicalize_name(name, validate=True)
    except InvalidName:
        raise BrokenDistributionError(f"its name is not valid: {plain(name, 60)!r}") from None
    try:
        Version(version)
    except InvalidVersion:
        reason = f"its version is not valid: {plain(version, 60)!r}"
        raise BrokenDistributionError(reason) from None
    return name, version


def _requires(path: Path, raw: RawMetadata) -> list[str]:
    if path.name.lower().endswith(".dist-info"):
        return raw.get("requires_dist", [])
    try:  # setuptools kept them in requires.txt; importlib.metadata knows how to read it
        return list(importlib.metadata.Distribution.at(path).requires or [])
    except UnicodeDecodeError:
        raise BrokenDistributionError("requires.txt is not UTF-8") from None


def _requirement(line: str) -> Requirement:
    try:
        return Requirement(text=str(Parsed(line)), fault="")
    except InvalidRequirement as error:
        return Requirement(text=plain(line), fault=plain(str(error).partition("\n")[0]))


def _licence_texts(path: Path, raw: RawMetadata) -> list[str]:
    """Return the beginnings of the licence files that came with a distribution."""
    if not path.is_dir():
        return []
    names = raw.get("license_files") or [
        entry.name for entry in sorted(path.iterdir()) if LICENCE_FILE.match(entry.name)
    ]
    texts = []
    for name in names[:20]:
        for file in (path / "licenses" / name, path / name):
            # A hostile License-File may name any file at all: only what lies inside is read.
            if Path(os.path.normpath(file)).is_relative_to(path) and file.is_file():
                with file.open("rb") as stream:
                    texts.append(stream.read(LARGEST_LICENCE_FILE).decode("utf-8", "replace"))
                break
    return texts


def _origin(path: Path, kind: Kind) -> Origin:
    if kind != "dist-info":
        in_tree = any((path.parent / name).is_file() for name in ("setup.py", "pyproject.toml"))
        return "editable" if in_tree else "index"
    file = path / "direct_url.json"
    if not file.is_file():
        return "index"
    try:
        url = json.loads(file.read_bytes())
        kinds = [word for word in _ORIGINS if word in url]
        editable = kinds == ["dir_info"] and url["dir_info"].get("editable") is True
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise BrokenDistributionError("its direct_url.json is not what it should be") from None
    if editable:
        return "editable"
    return _ORIGINS[kinds[0]] if len(kinds) == 1 else "archive"


_ORIGINS: dict[str, Origin] = {
    "dir_info": "local folder",
    "vcs_info": "version control",
    "archive_info": "archive",
}
