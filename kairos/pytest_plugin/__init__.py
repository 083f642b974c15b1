"""The pytest plugin: `pytest --kairos` makes every workflow of a project a test.

pytest loads this module always, in projects that never say `--kairos` too, so it holds options
and nothing else: the rest comes with the option.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["pytest_addoption", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, and the same as settings."""
    group = parser.getgroup("kairos", "contracts of workflows")
    group.addoption(
        "--kairos", action="store_true", help="Collect every kairos workflow as a test."
    )
    group.addoption(
        "--kairos-strict",
        action="store_true",
        default=None,
        help="Fail on warnings and notes of kairos too.",
    )
    group.addoption(
        "--kairos-lock", metavar="FILE", help="Compare the contracts with this lock as well."
    )
    parser.addini(
        "kairos_workflows",
        "Further files with workflows: patterns, seen from the root folder.",
        type="linelist",
        default=[],
    )
    parser.addini("kairos_strict", "As --kairos-strict.", type="bool", default=False)
    parser.addini("kairos_lock", "As --kairos-lock, from the root folder.", default="")
    parser.addini(
        "kairos_compat",
        "Whom a change may not break: backward, forward, full or none.",
        default="full",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start collecting workflows, where that is asked for."""
    if config.getoption("kairos"):
        from kairos.pytest_plugin.collecting import Workflows  # noqa: PLC0415 - see the module

        config.addinivalue_line("markers", "kairos: a workflow that is validated")
        config.pluginmanager.register(Workflows(config), "kairos-workflows")
