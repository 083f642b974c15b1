"""Both directions with the real SDK at the other end, over standard streams and over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]
import pytest

from kairos.agents import Final, ToolProgress, agent
from kairos.agents.mcp import MCPServerError, mcp_tools
from kairos.testing import CallTool, ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.agents.mcp import MCPTools

HERE = Path(__file__).parent
WITH_SDK = [sys.executable, str(HERE / "mcp_with_sdk.py")]
KAIROS = [sys.executable, "-m", "kairos"]

FLOWS = '''\
import asyncio, os, sys, threading
from pydantic import BaseModel
from kairos import Schema, Step, StepContext, Workflow
from kairos.agents import ToolError, tool

print("said by the module")

class Sum(BaseModel):
    total: int

def add(ctx):
    print("said by a step")
    os.system("echo said by a child; cat")
    return {"total": ctx.inputs["a"] + ctx.inputs["b"]}

adding = Workflow(
    "add up", [Step("add", add, output_contract=Sum)],
    inputs=Schema({"a": int, "b": int}), metadata={"description": "Add two numbers."},
)

def fail(ctx):
    raise ValueError("a secret value 4711")

failing = Workflow("failing", [Step("first", lambda ctx: 1), Step("fail", fail)], inputs=[])
undeclared = Workflow("undeclared", [Step("x", lambda ctx: 1)])
secret = Workflow(
    "secret", [Step("x", lambda ctx: {"api_key": "sk-abcdefghijklmnopqrstuvwxyz", "n": 1})],
    inputs=[],
)
spoiled = Workflow(
    "spoiled", [Step("x", lambda ctx: {"password": 1}, output_contract=Schema({"password": int}))],
    inputs=[],
)
texts = Workflow(
    "texts",
    [Step("a", lambda ctx: 1), Step("b", lambda ctx: "hi", depends_on=["a"], output_contract=str)],
    inputs=[],
)

seen = threading.Event()

def wait(ctx: StepContext):
    while not ctx.cancelled:
        seen.wait(0.01)
    sys.stderr.write("the step was told\\n")
    sys.stderr.flush()
    raise RuntimeError

waiting = Workflow(
    "waiting", [Step("start", lambda ctx: 1), Step("wait", wait, depends_on=["start"])], inputs=[]
)

@tool(effect="read")
def double(n: int) -> int:
    """Double a number."""
    return 2 * n

@tool
async def closed(n: int) -> int:
    raise ToolError("closed on Sundays")

inside = []

@tool(concurrency=1)
async def alone(n: int) -> int:
    inside.append(n)
    most = len(inside)
    await asyncio.sleep(0.01)
    inside.remove(n)
    return most

@tool
def broken(n: int) -> int:
    raise KeyError("a secret value 4711")
'''


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("served")
    (made / "flows.py").write_text(FLOWS, encoding="utf-8")
    return made


def _sdk(folder: Path, work: Any, *, mode: str = "auto", **options: Any) -> Any:
    """Do something with the SDK's client against `kairos mcp serve flows.py`."""
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client

    async def main() -> Any:
        arguments = [*KAIROS[1:], "mcp", "serve", "flows.py"]
        given = StdioServerParameters(command=KAIROS[0], args=arguments, cwd=folder)
        async with Client(stdio_client(given, errlog=errors), mode=mode, **options) as client:
            return await work(client)

    with (folder / "stderr").open("w") as errors:
        return asyncio.run(main())


def text(result: Any) -> str:
    return "".join(each.text for each in result.content)


# --- ours, asked by the SDK


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_sdk_sees_workflows_as_tools_and_calls_them(folder: Path, mode: str) -> None:
    async def work(client: Any) -> None:
        tools = {each.name: each for each in (await client.list_tools()).tools}
        assert set(tools) == {
            "add_up", "failing", "secret", "spoiled", "texts", "waiting", "double", "closed",
            "broken", "alone",
        }  # fmt: skip
        assert tools["add_up"].description == "Add two numbers."
        assert tools["add_up"].input_schema["required"] == ["a", "b"]
        assert tools["add_up"].output_schema["properties"]["total"]["type"] == "integer"
        assert tools["texts"].output_schema["properties"] == {"result": {"type": "string"}}
        assert tools["double"].annotations.read_only_hint is True
        assert tools["add_up"].annotations is None

        done = await client.call_tool("add_up", {"a": 1, "b": 2})
        assert (done.structured_content, text(done), done.is_error) == (
            {"total": 3}, '{"total": 3}', False,
        )  # fmt: skip
        assert (await client.call_tool("texts", {})).structured_content == {"result": "hi"}
        assert (await client.call_tool("double", {"n": 4})).structured_content == {"result": 8}

    _sdk(folder, work, mode=mode)
    said = (folder / "stderr").read_text()
    for line in (
        "said by the module",
        "said by a step",
        "said by a child",
        "left out: workflow 'und",
    ):
        assert line in said


def test_failures_are_told_in_words_that_hold_no_value(folder: Path) -> None:
    async def work(client: Any) -> None:
        invalid = await client.call_tool("add_up", {"a": "a secret value 4711"})
        assert invalid.is_error
        assert json.loads(text(invalid)) == {
            "error": "invalid_arguments",
            "fields": [
                {"field": "a", "expected": "int", "found": "str"},
                {"field": "b", "expected": "a value", "found": "missing"},
            ],
        }
        failed = await client.call_tool("failing", {})
        assert json.loads(text(failed)) == {
            "error": "failed",
            "status": "failed",
            "steps": [{"step": "fail", "error": "ValueError"}],
        }
        unknown = await client.call_tool("failing", {"more": 1})
        assert "takes no input 'more'" in text(unknown)
        assert "flows.py" not in text(unknown)
        assert "closed on Sundays" in text(await client.call_tool("closed", {"n": 1}))
        broken = await client.call_tool("broken", {"n": 1})
        assert json.loads(text(broken)) == {"error": "failed", "type": "KeyError"}
        spoiled = await client.call_tool("spoiled", {})
        assert spoiled.is_error
        secret = await client.call_tool("secret", {})
        assert secret.structured_content == {"api_key": "[REDACTED]", "n": 1}
        for each in (invalid, failed, unknown, broken, spoiled, secret):
            assert not re.search("4711|Traceback|sk-abc", each.model_dump_json())

    _sdk(folder, work)


def test_progress_is_told_to_those_who_ask_and_calls_run_at_the_same_time(folder: Path) -> None:
    async def work(client: Any) -> None:
        told: list[Any] = []

        async def progress(*given: Any) -> None:
            told.append(given)

        await client.call_tool("texts", {}, progress_callback=progress)
        assert told == [(1, 2, "a: done"), (2, 2, "b: done")]
        found = await asyncio.gather(*(client.call_tool("double", {"n": n}) for n in range(20)))
        assert [each.structured_content["result"] for each in found] == [2 * n for n in range(20)]

        found = await asyncio.gather(*(client.call_tool("alone", {"n": n}) for n in range(5)))
        assert [each.structured_content["result"] for each in found] == [1] * 5

    _sdk(folder, work)


def test_a_cancelled_call_cancels_its_run(folder: Path) -> None:
    async def work(client: Any) -> None:
        begun = asyncio.Event()

        async def progress(*_given: Any) -> None:
            begun.set()

        calling = asyncio.create_task(client.call_tool("waiting", {}, progress_callback=progress))
        await begun.wait()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        while "the step was told" not in (folder / "stderr").read_text():
            await client.call_tool("double", {"n": 1})

    _sdk(folder, work)


def test_an_unknown_tool_is_an_error_of_the_protocol(folder: Path) -> None:
    from mcp import MCPError

    async def work(client: Any) -> None:
        with pytest.raises(MCPError, match="no such tool"):
            await client.call_tool("nothing", {})

    _sdk(folder, work)


# --- ours, asked by hand


def _serve(folder: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*KAIROS, "mcp", "serve", *arguments],
        cwd=folder,
        text=True,
        **{
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        },
    )


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "by hand", "version": "1"},
    },
}


def _begun(server: subprocess.Popen[str]) -> None:
    _say(server, INITIALIZE)
    assert _hear(server)["id"] == 0
    _say(server, {"jsonrpc": "2.0", "method": "notifications/initialized"})


def _say(server: subprocess.Popen[str], message: Any) -> None:
    assert server.stdin
    server.stdin.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
    server.stdin.flush()


def _hear(server: subprocess.Popen[str]) -> Any:
    assert server.stdout
    return json.loads(server.stdout.readline())


def _call(server: subprocess.Popen[str], id_: int, name: str, **arguments: Any) -> None:
    params = {"name": name, "arguments": arguments, "_meta": {"progressToken": 0}}
    _say(server, {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params})


@pytest.mark.parametrize("how", ["eof", signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_cleanly_in_the_middle_of_a_call(folder: Path, how: Any) -> None:
    server = _serve(folder, "flows.py:waiting")
    _begun(server)
    _call(server, 1, "waiting")
    assert _hear(server)["method"] == "notifications/progress"
    if how == "eof":
        assert server.stdin
        server.stdin.close()
        server.stdin = None
    else:
        server.send_signal(how)
    out, errors = server.communicate(timeout=30)
    assert server.returncode == 0
    assert "Traceback" not in errors
    for line in out.splitlines():
        assert json.loads(line)["jsonrpc"] == "2.0"


def test_a_client_that_does_not_listen_keeps_nobody_from_leaving(folder: Path) -> None:
    reading, writing = os.pipe()
    with _serve(folder, "flows.py:double", stdout=writing) as server:
        os.close(writing)
        _say(server, INITIALIZE)
        assert os.read(reading, 1)  # it has begun
        _say(server, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        for id_ in range(1, 1000):  # more than a pipe can hold
            _say(server, {"jsonrpc": "2.0", "id": id_, "method": "tools/list"})
        server.send_signal(signal.SIGTERM)
        assert server.stderr
        assert server.stderr.read() == "said by the module\n"
        assert server.wait(30) == 0
    os.close(reading)


def test_what_is_no_message_is_passed_over(folder: Path) -> None:
    server = _serve(folder, "flows.py:double")
    for line in ("garbage", "[1, 2", '{"jsonrpc": "2.0"}', "\x00\xff", ""):
        _say(server, line)
    _begun(server)
    _call(server, 1, "double", n=21)
    answers = [_hear(server)]
    assert answers[-1]["result"]["structuredContent"] == {"result": 42}
    server.communicate(timeout=30)
    assert server.returncode == 0


@pytest.mark.parametrize(
    "arguments,told",
    [
        (["flows.py:undeclared"], "does not say what it is given"),
        (["nothing.py"], "no such file"),
        (["flows.py:adding", "flows.py:adding"], "two of what is to be served"),
        (["/etc/passwd"], "outside"),
        (["flows.py:nothing"], "is no workflow"),
    ],
)
def test_what_cannot_be_served_is_told_and_nothing_is_on_standard_output(
    folder: Path, arguments: list[str], told: Any
) -> None:
    server = _serve(folder, *arguments)
    out, errors = server.communicate(timeout=30)
    assert (server.returncode, out) == (2, "")
    assert told in errors


# --- ours, asked by us


def test_several_modules_are_served_with_what_each_imports_later(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / f"{name}_helper.py").write_text(f"said = {name!r}\n")
        (folder / name / f"{name}_flow.py").write_text(
            "from kairos import Step, Workflow\n"
            "def say(ctx):\n"
            f"    import {name}_helper\n"
            f"    return {name}_helper.said\n"
            f"flow = Workflow({name!r}, [Step('say', say)], inputs=[])\n"
        )
    given = [*KAIROS, "mcp", "serve", "one/one_flow.py", "two/two_flow.py:flow"]
    with mcp_tools(given, cwd=folder) as tools:
        assert [asyncio.run(tools[name]()) for name in ("one", "two")] == ["one", "two"]


def test_kairos_calls_kairos(folder: Path) -> None:
    with mcp_tools([*KAIROS, "mcp", "serve", "flows.py"], cwd=folder) as tools:
        calls = (
            CallTool("add_up", {"a": 1, "b": 2}),
            CallTool("texts", {}),
            CallTool("failing", {}),
        )
        said = list(agent(ScriptedModel([calls, "ok"]), tools=[*tools]).stream("go"))
        result = said[-1].result  # type: ignore[union-attr]
    assert [(each.outcome, each.output) for each in result.actions][:2] == [
        ("done", '{"total":3}'),
        ("done", '{"result":"hi"}'),
    ]
    assert result.actions[2].outcome == "failed"
    told = [each.value["message"] for each in said if isinstance(each, ToolProgress)]
    assert {"add: done", "a: done", "b: done", "first: done", "fail: failed"} <= set(told)


def test_a_run_that_is_cancelled_here_is_cancelled_there(folder: Path) -> None:
    with mcp_tools([*KAIROS, "mcp", "serve", "flows.py"], cwd=folder, timeout=None) as tools:
        for said in agent(ScriptedModel([CallTool("waiting", {}), "ok"]), tools=[*tools]).stream(
            "go"
        ):
            if isinstance(said, ToolProgress):
                break  # closing the stream cancels the call
        while "the step was told" not in tools.errors:
            asyncio.run(tools["double"](n=1))


# --- the SDK's, asked by us


@pytest.fixture(scope="module")
def theirs() -> Iterator[MCPTools]:
    with mcp_tools(WITH_SDK, trust_hints=True) as tools:
        yield tools


def test_a_server_of_the_sdk_is_called_through_and_through(theirs: MCPTools) -> None:
    calls = (
        CallTool("add", {"a": 1, "b": 2}),
        CallTool("count", {"to": 3}),
        CallTool("fails", {}),
        CallTool("picture", {}),
    )
    said = list(agent(ScriptedModel([calls, "ok"]), tools=[*theirs]).stream("go"))
    result = said[-1].result  # type: ignore[union-attr]
    assert [(each.outcome, each.output) for each in result.actions] == [
        ("done", '{"total":3}'),
        ("done", '{"result":"counted"}'),
        ("failed", '{"error": "failed", "message": "Error executing tool fails"}'),
        ("done", "[image: image/png, 1,200 bytes]"),
    ]
    far = [each.value for each in said if isinstance(each, ToolProgress)]
    assert [each["message"] for each in far] == ["at 1", "at 2", "at 3"]
    assert theirs["add"].effect == "read"
    assert theirs["fails"].effect == "external"


def test_a_server_of_the_sdk_that_is_killed_in_the_middle_of_a_call(theirs: MCPTools) -> None:
    running = psutil.Process().children()
    tools = mcp_tools(WITH_SDK, timeout=None)
    with tools:
        (server,) = [each for each in psutil.Process().children() if each not in running]
        model = ScriptedModel([(CallTool("waits", {}), CallTool("count", {"to": 1})), "ok"])
        for said in agent(model, tools=[*tools]).stream("go"):
            if isinstance(said, ToolProgress):
                os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(MCPServerError, match="code 3"):
            asyncio.run(tools["ends"]())
    assert psutil.Process().children() == running


def test_a_server_of_the_newest_protocol_that_changes_is_noticed() -> None:
    with mcp_tools(WITH_SDK) as tools:
        digest = tools.digest
    with mcp_tools(WITH_SDK, pin=digest) as tools:
        asyncio.run(tools["grows"]())
        with pytest.raises(MCPServerError, match="not those that it had") as told:  # noqa: PT012
            while True:  # until the word has come, which nothing puts in order
                asyncio.run(tools["add"](a=1, b=2))
        assert "'new' is new" in str(told.value)


# --- HTTP


def _listening(server: subprocess.Popen[str]) -> str:
    assert server.stderr
    for line in server.stderr:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return found.group() + "/mcp"
    raise AssertionError("it never listened")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    server = _serve(folder, "flows.py", "--http", "0")
    try:
        yield _listening(server)
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
    finally:
        server.kill()
        server.communicate()


def test_kairos_calls_kairos_over_http(address: str) -> None:
    with mcp_tools(url=address, allow_localhost=True) as tools:
        calls = (
            CallTool("add_up", {"a": 1, "b": 2}),
            CallTool("texts", {}),
            CallTool("failing", {}),
        )
        said = list(agent(ScriptedModel([calls, "ok"]), tools=[*tools]).stream("go"))
        result = said[-1].result  # type: ignore[union-attr]
    assert [each.outcome for each in result.actions] == ["done", "done", "failed"]
    assert any(isinstance(each, ToolProgress) for each in said)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_sdk_calls_kairos_over_http(address: str, mode: str) -> None:
    from mcp import Client

    async def main() -> None:
        async with Client(address, mode=mode) as client:
            done = await client.call_tool("add_up", {"a": 1, "b": 2})
            assert done.structured_content == {"total": 3}

    asyncio.run(main())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_over_http_the_server_leaves_in_order_in_the_middle_of_a_call(
    folder: Path, number: signal.Signals
) -> None:
    server = _serve(folder, "flows.py:waiting", "--http", "0")
    try:
        with mcp_tools(url=_listening(server), allow_localhost=True) as tools:
            model = ScriptedModel([CallTool("waiting", {}), "done"])
            for said in agent(model, tools=[*tools]).stream("go"):
                if isinstance(said, ToolProgress):
                    server.send_signal(number)
                if isinstance(said, Final):
                    assert said.result.actions[0].outcome == "failed"
        _, errors = server.communicate(timeout=30)
    finally:
        server.kill()
        server.communicate()
    assert server.returncode == 0
    assert errors.replace("the step was told\n", "") == ""


def test_another_host_in_the_request_is_refused(address: str) -> None:
    import httpx2

    headers = {"Host": "evil.example", "Accept": "application/json, text/event-stream"}
    with httpx2.Client(trust_env=False) as client:
        assert client.post(address, json=INITIALIZE, headers=headers).status_code == 421
        headers = {"Origin": "https://evil.example", "Accept": headers["Accept"]}
        assert client.post(address, json=INITIALIZE, headers=headers).status_code == 403


def test_an_http_server_of_the_sdk_that_ends_fails_its_call_with_a_word() -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [*WITH_SDK, str(port)], text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        address = _listening(server)
        with mcp_tools(url=address, allow_localhost=True, timeout=30) as tools:
            assert asyncio.run(tools["add"](a=1, b=2)) == {"total": 3}
            with pytest.raises(MCPServerError):
                asyncio.run(tools["ends"]())
            with pytest.raises(MCPServerError):
                asyncio.run(tools["add"](a=1, b=2))
    finally:
        server.kill()
        server.communicate()


def test_an_address_where_nobody_listens_is_told() -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/mcp"
        with (
            pytest.raises(MCPServerError, match="nobody answers"),
            mcp_tools(url=url, allow_localhost=True, connect_timeout=10),
        ):
            pass
