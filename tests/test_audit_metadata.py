"""Finding distributions, and reading what their metadata says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audit_parts import metadata
from audit_parts.models import BrokenDistributionError
from fake_site import BROKEN_METADATA, HOSTILE, install, only, read


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "env/lib/python3.11/site-packages"
    folder.mkdir(parents=True)
    return folder


def test_a_distribution_is_read_as_its_metadata_describes_it(site: Path) -> None:
    install(
        site,
        "Demo-Pack",
        "1.0.post1",
        "Summary: for show",
        "Requires-Dist: other>=2; extra == 'More'",
        "Requires-Python: >=3.8",
        "Provides-Extra: More",
    )
    (one,) = read(site)
    assert one is not None
    assert (one.name, one.key, one.version) == ("Demo-Pack", "demo-pack", "1.0.post1")
    assert one.requires[0].text == 'other>=2; extra == "more"'
    assert one.extras == ("more",)
    assert one.licence.expression == "MIT"
    assert one.origin == "index"


@pytest.mark.parametrize("case", BROKEN_METADATA)
def test_broken_metadata_is_refused_with_its_reason(site: Path, case: str) -> None:
    breaking, reason = BROKEN_METADATA[case]
    breaking(install(site, "demo"))
    with pytest.raises(BrokenDistributionError) as raised:
        metadata.read_distribution(only(site))
    assert reason in str(raised.value)


def test_what_an_interrupted_uninstall_left_is_refused(site: Path) -> None:
    install(site, "demo").rename(site / "~emo-1.0.dist-info")
    with pytest.raises(BrokenDistributionError, match="interrupted"):
        metadata.read_distribution(only(site))


def test_a_reason_shows_nothing_that_could_steer_a_terminal(site: Path) -> None:
    text = f"Name: a\nVersion: {HOSTILE}\n"
    (install(site, "demo") / "METADATA").write_text(text, "utf-8")
    with pytest.raises(BrokenDistributionError) as raised:
        metadata.read_distribution(only(site))
    assert str(raised.value).isprintable()


def test_an_egg_info_is_read_with_its_requirements(site: Path) -> None:
    folder = site / "old-1.0.egg-info"
    folder.mkdir()
    (folder / "PKG-INFO").write_text(
        "Metadata-Version: 1.0\nName: old\nVersion: 1.0\nLicense: BSD\n"
    )
    (folder / "requires.txt").write_text("plain>=1\n\n[fast:python_version>'3']\nquick\n")
    (one,) = read(site)
    assert one is not None
    assert [line.text.partition(";")[0] for line in one.requires] == ["plain>=1", "quick"]
    assert 'extra == "fast"' in one.requires[1].text
    assert not only(site).record


@pytest.mark.parametrize("shape", ["file", "egg", "link"])
def test_the_older_shapes_of_an_installation_are_found(
    site: Path, tmp_path: Path, shape: str
) -> None:
    text = "Metadata-Version: 1.0\nName: old\nVersion: 1.0\n"
    if shape == "file":
        (site / "old-1.0.egg-info").write_text(text)
    elif shape == "egg":
        (site / "old-1.0.egg/EGG-INFO").mkdir(parents=True)
        (site / "old-1.0.egg/EGG-INFO/PKG-INFO").write_text(text)
    else:
        (tmp_path / "work/old.egg-info").mkdir(parents=True)
        (tmp_path / "work/setup.py").touch()
        (tmp_path / "work/old.egg-info/PKG-INFO").write_text(text)
        (site / "old.egg-link").write_text(f"{tmp_path / 'work'}\n.")
    (one,) = read(site)
    assert one is not None
    assert (one.name, one.origin) == ("old", "editable" if shape == "link" else "index")


@pytest.mark.parametrize(
    "url, origin",
    [
        ({"url": "file:///w", "dir_info": {"editable": True}}, "editable"),
        ({"url": "file:///w", "dir_info": {}}, "local folder"),
        ({"url": "https://h/r", "vcs_info": {"vcs": "git"}}, "version control"),
        ({"url": "https://h/a.whl", "archive_info": {}}, "archive"),
    ],
)
def test_where_a_distribution_came_from_is_told(
    site: Path, url: dict[str, Any], origin: str
) -> None:
    (install(site, "demo") / "direct_url.json").write_text(json.dumps(url))
    (one,) = read(site)
    assert one is not None
    assert one.origin == origin


@pytest.mark.parametrize(
    "place, root",
    [
        ("/v/lib/python3.11/site-packages", "/v"),
        ("/v/lib64/python3.11/site-packages", "/v"),
        ("/usr/lib/python3/dist-packages", "/usr"),
        ("/v/Lib/site-packages", "/v"),
        ("/lib/python3/dist-packages", "/lib/python3/dist-packages"),
        ("/srv/vendored", "/srv/vendored"),
        ("/", "/"),
    ],
)
def test_the_environment_of_a_site_folder_is_found(place: str, root: str) -> None:
    assert metadata.environment_root(Path(place)) == Path(root)


def test_this_environment_holds_the_tests_own_runner() -> None:
    assert any(found.label.startswith("pytest-") for found in metadata.installed())


def test_a_licence_file_outside_of_the_metadata_is_not_read(site: Path) -> None:
    secret = site / "secret"
    secret.write_text("Permission is hereby granted")
    folder = install(site, "demo", "1.0", "License-File: ../secret", f"License-File: {secret}")
    raw = {"license_files": ["../secret", str(secret), "LICENSE"]}
    (folder / "LICENSE").write_text("inside")
    assert metadata._licence_texts(folder, raw) == ["inside"]  # type: ignore[arg-type]
