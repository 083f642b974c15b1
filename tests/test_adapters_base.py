"""What every adapter shares."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from kairos.adapters import ModelResponse, TokenUsage
from kairos.adapters.base import sdk
from kairos.exceptions import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

USAGE = TokenUsage(input_tokens=3, output_tokens=4, total_tokens=7)


def test_an_sdk_that_is_installed_is_imported() -> None:
    assert sdk("json", "anything") is json


@pytest.mark.parametrize("module", ["no_such_sdk", "no_such_sdk.models", "json.no_such_part"])
def test_a_missing_sdk_names_the_extra_to_install(module: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sdk(module, "gemini")
    assert module in caught.value.message
    assert caught.value.fix == "pip install 'kairos-ai[gemini]'"


def test_an_sdk_that_lacks_something_of_its_own_says_so_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_sdk.py").write_text("import no_such_dependency", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        sdk("broken_sdk", "gemini")


def test_a_price_that_is_not_known_is_not_free() -> None:
    assert USAGE.estimated_cost_usd is None


def test_what_the_sdk_answered_stays_out_of_the_repr() -> None:
    response = ModelResponse("hello", "m-1", USAGE, latency_ms=12.5, raw="key=sk-secret")
    assert "sk-secret" not in repr(response)
    assert response.raw == "key=sk-secret"


@pytest.mark.parametrize("record", [USAGE, ModelResponse("hello", "m-1", USAGE, latency_ms=1.0)])
def test_an_answer_cannot_be_changed(record: TokenUsage | ModelResponse) -> None:
    name = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, name, "other")
