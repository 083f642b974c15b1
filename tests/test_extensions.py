"""Extensions: what others offer is found without running it, and only what is named is run."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.exceptions import ConfigError
from kairos.extensions import GROUPS, Extension, extensions, load_extension, load_extensions
from kairos.redaction.visible import visible

TOOLS = "kairos.tools"
MARK = "import pathlib; pathlib.Path({mark!r}).touch()\n"
TOOL = "def search(query: str) -> str:\n    '''Search.'''\n    return query\n"


@pytest.fixture(autouse=True)
def modules_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.startswith("acme"):
            monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def distribution(
    site: Path,
    name: str = "acme-tools",
    *,
    offers: str = "[kairos.tools]\nsearch = acme:search\n",
    version: str = "1.2",
) -> Path:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(offers, encoding="utf-8")
    return info


def module(site: Path, source: str = TOOL, name: str = "acme") -> Path:
    """Write a module that leaves a mark when it is imported; return where the mark would be."""
    mark = site / f"{name}.imported"
    (site / f"{name}.py").write_text(MARK.format(mark=str(mark)) + source, encoding="utf-8")
    return mark


def refused(group: str, name: str) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        load_extension(group, name)
    error = raised.value
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None, "a foreign stack is shown"
    return error


# --- what is offered


def test_listing_tells_of_everything_and_runs_nothing(site: Path) -> None:
    mark = module(site)
    distribution(site)
    (found,) = [one for one in extensions(TOOLS) if one.name == "search"]
    assert found == Extension(TOOLS, "search", "acme:search", "acme-tools", "1.2", allowed=False)
    assert found.full_name == "acme-tools/search"
    assert not found.first_party
    assert not mark.exists()


@pytest.mark.parametrize(
    "group, names",
    [
        ("kairos.adapters", ["claude", "gemini", "openai"]),
        ("kairos.guards", ["read_only", "supervised"]),
        ("kairos.stores", ["memory", "sqlite"]),
    ],
)
def test_what_is_our_own_comes_through_the_same_door(group: str, names: list[str]) -> None:
    assert [one.name for one in extensions(group) if one.first_party] == names
    for name in names:
        assert load_extension(group, name) is load_extension(group, f"kairos-ai/{name}")


@pytest.mark.parametrize(
    "allowlist, allowed",
    [
        (None, []),
        ([], []),
        (["search"], ["search"]),
        (["acme-tools/*"], ["fetch", "search"]),
        (["s*"], ["search"]),
        (["S*"], []),
        (["other/*"], []),
    ],
)
def test_an_allow_list_names_what_may_be_loaded(
    site: Path, allowlist: list[str] | None, allowed: list[str]
) -> None:
    mark = module(site, TOOL + "fetch = search\n")
    distribution(site, offers="[kairos.tools]\nsearch = acme:search\nfetch = acme:fetch\n")
    listed = extensions(TOOLS, allowlist=allowlist)
    assert [one.name for one in listed if one.allowed] == allowed
    assert not mark.exists()
    assert sorted(load_extensions(TOOLS, allowlist=allowlist)) == allowed
    assert mark.exists() == bool(allowed)


def test_everything_may_be_allowed_in_so_many_words(site: Path) -> None:
    module(site)
    distribution(site)
    assert load_extensions(TOOLS, allow_all=True)["search"]("x") == "x"


def test_a_text_is_no_allow_list() -> None:
    with pytest.raises(ConfigError, match="an allow list is a list"):
        extensions(TOOLS, allowlist="search")


def test_a_group_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError) as raised:
        extensions("kairos.plugins")
    assert raised.value.expected == ", ".join(GROUPS)


# --- which one is meant


def test_what_is_not_named_is_not_loaded_although_its_neighbour_is(site: Path) -> None:
    module(site)
    bad = module(site, "raise SystemExit('never')\n", "acme_bad")
    distribution(site, offers="[kairos.tools]\nsearch = acme:search\nbad = acme_bad:it\n")
    assert load_extension(TOOLS, "search")("x") == "x"
    assert not bad.exists()


def test_a_name_that_nobody_offers_is_told_with_the_nearest(site: Path) -> None:
    distribution(site)
    error = refused(TOOLS, "serch")
    assert error.message == "there is no tool 'serch'"
    assert error.fix == "did you mean 'search'?"


@given(st.sampled_from(sorted(GROUPS)), st.text())
def test_whatever_is_named_is_there_or_told_in_plain_words(group: str, name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_extension(group, f"no {name}")
    assert all(line.isprintable() for line in str(raised.value).splitlines())


def test_two_that_offer_one_name_are_both_told_and_told_apart(site: Path) -> None:
    module(site)
    module(site, TOOL.replace("return query", "return 'other'"), "acme_two")
    distribution(site)
    distribution(site, "Other.Tools", offers="[kairos.tools]\nsearch = acme_two:search\n")
    error = refused(TOOLS, "search")
    assert error.message == "several distributions offer the tool 'search'"
    assert error.found == "acme-tools/search, other-tools/search"
    assert error.fix == "say which one: acme-tools/search"
    for spelling in ("other-tools/search", "Other_Tools/search"):
        assert load_extension(TOOLS, spelling)("x") == "other"
    with pytest.raises(ConfigError, match="several distributions"):
        load_extensions(TOOLS, allowlist=["search"])


def test_nobody_takes_a_name_of_ours(site: Path) -> None:
    mark = module(site, "class Claude: stream = stream_async = None\n")
    distribution(site, offers="[kairos.adapters]\nclaude = acme:Claude\n")
    assert load_extension("kairos.adapters", "claude").__module__ == "kairos.adapters.claude"
    listed = [one.full_name for one in extensions("kairos.adapters") if one.name == "claude"]
    assert listed == ["kairos-ai/claude", "acme-tools/claude"]
    assert not mark.exists()


def test_who_takes_a_name_of_ours_is_reached_by_the_full_name(site: Path) -> None:
    module(site, "def only(request): return None\n")
    distribution(site, offers="[kairos.guards]\nread_only = acme:only\n")
    assert load_extension("kairos.guards", "acme-tools/read_only").__module__ == "acme"
    both = load_extensions("kairos.guards", allowlist=["read_only"])
    assert both["read_only"].__module__ == "kairos.agents.authority"
    assert both["acme-tools/read_only"].__module__ == "acme"


def test_a_stranger_that_points_into_kairos_is_not_ours(site: Path) -> None:
    distribution(site, offers="[kairos.guards]\nmine = kairos.agents.authority:only_reading\n")
    (found,) = [one for one in extensions("kairos.guards") if one.name == "mine"]
    assert not found.first_party


def test_a_distribution_that_lies_on_the_path_twice_is_one(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module(site)
    distribution(site)
    older = tmp_path / "older"
    distribution(older, "Acme_Tools", version="0.9")
    monkeypatch.setattr(sys, "path", [*sys.path, str(older)])
    assert [one.version for one in extensions(TOOLS) if one.name == "search"] == ["1.2"]


def test_what_only_a_hidden_older_copy_offers_is_not_offered(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(site, offers="")
    older = tmp_path / "older"
    distribution(older, version="0.9")
    monkeypatch.setattr(sys, "path", [*sys.path, str(older)])
    assert not [one for one in extensions(TOOLS) if one.distribution == "acme-tools"]


@pytest.mark.parametrize("broken", ["no metadata", "no text", "no entry points"])
def test_a_broken_distribution_hides_nothing_of_the_others(site: Path, broken: str) -> None:
    module(site)
    distribution(site)
    info = distribution(site, "zerbrochen")
    if broken == "no metadata":
        (info / "METADATA").unlink()
    elif broken == "no text":
        (info / "METADATA").write_bytes(b"\xff\xfe\x00")
    else:
        (info / "entry_points.txt").write_bytes(b"\xff[kairos.tools\n= =\n")
    assert load_extension(TOOLS, "search")("x") == "x"


# --- what is broken


@pytest.mark.parametrize(
    "source, value, found",
    [
        ("import nowhere_at_all\n", "acme:search", "ModuleNotFoundError: No module named"),
        ("", "acme:search", "AttributeError: module 'acme' has no attribute 'search'"),
        ("", "acme.deeper:search", "ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "acme:search", "it ended the program when it was imported"),
        ("1 / 0\n", "acme:search", "ZeroDivisionError: division by zero"),
        ("def (:\n", "acme:search", "SyntaxError"),
        ("raise ValueError('key sk-ant-api03-" + "x" * 90 + "')\n", "acme:search", "ValueError"),
        ("raise ValueError('\\x1b[2J bad \\u202e')\n", "acme:search", "ValueError"),
    ],
)
def test_what_cannot_be_imported_is_told_with_its_distribution(
    site: Path, source: str, value: str, found: str
) -> None:
    module(site, source)
    distribution(site, offers=f"[kairos.tools]\nsearch = {value}\n")
    error = refused(TOOLS, "search")
    assert error.message.startswith("the extension 'search' of acme-tools 1.2 cannot be loaded")
    assert str(error.found).startswith(found)
    assert "acme-tools" in str(error.fix)
    assert "sk-ant-api03-xxx" not in str(error)
    assert "\x1b" not in str(error)
    assert "\u202e" not in str(error)


@pytest.mark.parametrize("value", ["", "acme search", "acme:", "../acme:search", "acme:1 + 1"])
def test_a_place_that_is_none_is_told(site: Path, value: str) -> None:
    mark = module(site)
    distribution(site, offers=f"[kairos.tools]\nsearch = {value}\n")
    error = refused(TOOLS, "search")
    assert "acme-tools" in str(error) or "there is no tool" in str(error)
    assert not mark.exists()


@pytest.mark.parametrize(
    "group, source, why",
    [
        ("kairos.adapters", "it = 3", "no callable"),
        ("kairos.adapters", "def it(prompt): ...", "does not take model="),
        ("kairos.adapters", "class it:\n    def __init__(self, model): ...", "without stream"),
        ("kairos.tools", "it = 'search'", "a value of class str"),
        ("kairos.tools", "it = []", "an empty list"),
        ("kairos.tools", "it = [print, 3]", "a list with which is a value of class int"),
        ("kairos.tools", "class it: ...", "which is a class"),
        ("kairos.guards", "def it(): ...", "does not take one request"),
        ("kairos.guards", "class it: ...", "no function but a class"),
        ("kairos.stores", "it = None", "no callable"),
        ("kairos.stores", "def it(a, b): ...", "takes neither"),
    ],
)
def test_what_is_not_what_its_group_holds_is_refused(
    site: Path, group: str, source: str, why: str
) -> None:
    module(site, source + "\n")
    distribution(site, offers=f"[{group}]\nodd = acme:it\n")
    error = refused(group, "odd")
    assert error.message.startswith("the extension 'odd' of acme-tools 1.2 is no ")
    assert error.expected == GROUPS[group].expected
    assert why in str(error.found)


def test_ctrl_c_while_it_is_imported_is_heard(site: Path) -> None:
    module(site, "raise KeyboardInterrupt\n")
    distribution(site)
    with pytest.raises(KeyboardInterrupt):
        load_extension(TOOLS, "search")


# --- installed as users do


def wheel(folder: Path) -> Path:
    files = {
        "acme_wheel.py": TOOL,
        "acme_wheel-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme-wheel\n"
        "Version: 1.0\n",
        "acme_wheel-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
        "acme_wheel-1.0.dist-info/entry_points.txt": "[kairos.tools]\nacme = acme_wheel:search\n",
    }
    record = "acme_wheel-1.0.dist-info/RECORD"
    lines = []
    path = folder / "acme_wheel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
            lines.append(f"{name},sha256={digest.decode()},{len(text)}\n")
        archive.writestr(record, "".join(lines) + f"{record},,\n")
    return path


@pytest.mark.slow
def test_a_package_that_pip_installs_is_found(tmp_path: Path) -> None:
    where = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    command = [*pip, "--no-deps", "--no-index", "--target", str(where), str(wheel(tmp_path))]
    subprocess.run(command, check=True, capture_output=True)
    script = (
        f"import sys; sys.path[:0] = [{str(where)!r}, {str(Path(__file__).parents[1])!r}]\n"
        "from kairos.extensions import extensions, load_extension\n"
        "assert 'acme_wheel' not in sys.modules\n"
        "print([one.full_name for one in extensions('kairos.tools')])\n"
        "assert 'acme_wheel' not in sys.modules\n"
        "print(load_extension('kairos.tools', 'acme')('found'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "['acme-wheel/acme']\nfound\n"


def test_importing_kairos_does_not_look_for_extensions() -> None:
    root = str(Path(__file__).parents[1])
    script = (
        f"import sys; sys.path.insert(0, {root!r})\nimport kairos, kairos.extensions\n"
        "print('importlib.metadata' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout == "False\n", done.stderr


# --- what a person is shown


@pytest.mark.parametrize(
    "hostile, shown",
    [
        ("plain", "plain"),
        ("Grüße, 東京, हिन्दी", "Grüße, 東京, हिन्दी"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("a\u3000b\u00a0c", "a\\u3000b\\xa0c"),
        ("a\u3164\u2800b", "a\\u3164\\u2800b"),
        ("e\u0301\u0301\u0301\u0301", "e\u0301\u0301\\u0301\\u0301"),
        ("\u0301a", "\\u0301a"),
        ("\U000e0041\ud800\ue000", "\\U000e0041\\ud800\\ue000"),
    ],
)
def test_nothing_in_a_shown_text_is_unseen(hostile: str, shown: str) -> None:
    assert visible(hostile) == shown


@given(st.text())
def test_a_shown_text_is_one_line_that_prints(text: str) -> None:
    shown = visible(text, secrets=True)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1


def test_a_credential_is_masked() -> None:
    key: Any = "sk-ant-api03-" + "x" * 90
    assert key not in visible(f"use {key}")
