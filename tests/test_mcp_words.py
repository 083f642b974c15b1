"""Messages of MCP that are nearly none, and what is told of a server that does not begin."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.agents.mcp import MCPServerError, mcp_tools
from kairos.agents.mcp.process import message_of

HERE = Path(__file__).parent
TEXTS = st.text(st.characters(codec=None), max_size=20) | st.sampled_from(["\ud83d", "a\udc00b"])


@given(TEXTS, TEXTS)
def test_half_a_character_keeps_no_message_from_being_one(name: str, text: str) -> None:
    said = {"jsonrpc": "2.0", "id": 1, "result": {name: [text]}}
    message = message_of(json.dumps(said).encode())
    whole = [each.encode("utf-8", "replace").decode() for each in (name, text)]
    assert message.result == {whole[0]: [whole[1]]}


@pytest.mark.parametrize(
    "line", [b"", b"\\ud83d", b'{"a": "\\ud83d"}', b"[" * 100_000 + b'"\\ud83d']
)
def test_what_is_no_message_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):
        message_of(line)


def test_a_text_that_was_cut_in_the_middle_of_a_character_is_a_result() -> None:
    cut = {"content": [{"type": "text", "text": "fine \ud83d"}]}
    options = json.dumps({"tools": ["cut"], "answers": {"cut": cut}})
    command = [sys.executable, str(HERE / "mcp_by_hand.py"), options]
    with mcp_tools(command, timeout=20) as tools:
        assert asyncio.run(tools["cut"]()) == "fine ?"


REFUSE = """\
import json, sys
for line in sys.stdin:
    said = {"jsonrpc": "2.0", "id": json.loads(line).get("id")}
    print(json.dumps({**said, "error": {"code": -32000, "message": "no licence"}}), flush=True)
"""
WAIT = "import sys\nsys.stdin.read()"


@pytest.mark.parametrize(
    "program, found",
    [
        (f"print('listening on stdio', flush=True)\n{WAIT}", "is no message.*: listening on stdio"),
        (f"import sys; print('install it? [y/N]', file=sys.stderr)\n{WAIT}", "said: install it"),
        (f"import os; print(os.environ['KEY'], flush=True)\n{WAIT}", r"said: \[REDACTED\]"),
    ],
)
def test_a_server_that_does_not_answer_is_told_with_what_it_said(
    monkeypatch: pytest.MonkeyPatch, program: str, found: str
) -> None:
    monkeypatch.setenv("KEY", "a-key-of-somebody")
    command = [sys.executable, "-c", program]
    with pytest.raises(MCPServerError, match="did not answer") as caught:
        mcp_tools(command, connect_timeout=1.5, env=["KEY"]).open()
    assert caught.match(rf"found: (.*and |it ){found}" if "said" in found else found)
    assert "a-key" not in str(caught.value)


@pytest.mark.parametrize(
    "program, found",
    [
        ("import sys; sys.exit(3)", "it exited with code 3"),
        (REFUSE, "it refused: no licence"),
    ],
)
def test_a_server_that_does_not_want_to_is_told_with_its_reason(program: str, found: str) -> None:
    with pytest.raises(MCPServerError, match=found) as caught:
        mcp_tools([sys.executable, "-c", program]).open()
    assert caught.type is MCPServerError  # and none whose name is nobody's


# --- ours


def served(folder: Path, *lines: str) -> list[dict[str, Any]]:
    """Return what our server answers to lines, by hand."""
    (folder / "flows.py").write_text(
        "from kairos.agents import tool\n\n\n@tool\ndef echo(said: str) -> str:\n    return said\n",
        encoding="utf-8",
    )
    client = {"protocolVersion": "2025-11-25", "capabilities": {}}
    client["clientInfo"] = {"name": "by hand", "version": "1"}
    begun = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": client}
    noted = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    done = subprocess.Popen(
        [sys.executable, "-m", "kairos", "mcp", "serve", "flows.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert done.stdin
    assert done.stdout
    with done, done.stdin:
        for line in (json.dumps(begun), json.dumps(noted), *lines):
            done.stdin.write(line + "\n")
        done.stdin.flush()
        answers = [json.loads(done.stdout.readline()) for _ in range(1 + len(lines))]
    return answers[1:]


def test_who_asks_with_a_message_that_is_none_is_answered(tmp_path: Path) -> None:
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call"}
    call["params"] = {"name": "echo", "arguments": {"said": "cut \ud83d"}}
    wrong = '{"jsonrpc": "1.0", "id": "old", "method": "ping"}'
    by_id = {each["id"]: each for each in served(tmp_path, json.dumps(call), wrong)}
    assert by_id[2]["result"]["structuredContent"] == {"result": "cut ?"}
    assert by_id["old"]["error"]["code"] == -32600
