"""MCP over HTTP, with a server at the other end that does not do what it should."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from kairos.agents.mcp import MCPServerError, mcp_tools
from kairos.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "Bearer not-to-be-told"


def as_json(id_: Any, result: Any) -> tuple[str, bytes]:
    told = {"jsonrpc": "2.0", "id": id_, "result": result}
    return "application/json", json.dumps(told).encode()


def handshake(message: dict[str, Any]) -> tuple[str, bytes] | None:
    """Answer as far as a server has to, until its first call."""
    method, id_ = message["method"], message.get("id")
    if method == "initialize":
        told = {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "odd", "version": "1"},
        }
        return as_json(id_, told)
    if method == "tools/list":
        return as_json(id_, {"tools": [{"name": "x", "inputSchema": {"type": "object"}}]})
    return None


def usual(message: dict[str, Any]) -> tuple[int, str, bytes]:
    if (told := handshake(message)) is not None:
        return 200, *told
    if "id" not in message:
        return 202, "text/plain", b""
    error = {"code": -32601, "message": "Method not found"}
    body = {"jsonrpc": "2.0", "id": message["id"], "error": error}
    return 200, "application/json", json.dumps(body).encode()


class Site:
    """A server on this machine; `answer` says what to each message, `seen` what it was sent."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], tuple[int, str, bytes] | None] = lambda _: None
        self.seen: list[dict[str, str]] = []
        self.packed = False
        self.session = ""
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                message = json.loads(raw)
                site.seen.append(dict(self.headers.items()))
                odd = site.answer(message)
                self._say(*(odd or usual(message)))

            def do_GET(self) -> None:
                self._say(405, "text/plain", b"")

            do_DELETE = do_GET  # noqa: N815 - as the class has it

            def _say(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                if status in {302, 307}:
                    self.send_header("Location", body.decode())
                    body = b""
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                if site.packed:
                    self.send_header("Content-Encoding", "gzip")
                if site.session:
                    self.send_header("Mcp-Session-Id", site.session)
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_given: Any) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_given: Any) -> None:
                """Say nothing: clients leave in the middle here."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/mcp"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@contextmanager
def opened(site: Site) -> Iterator[Any]:
    with mcp_tools(
        url=site.url, allow_localhost=True, headers={"Authorization": SECRET}, timeout=20
    ) as tools:
        yield tools


def called(message: dict[str, Any]) -> bool:
    return bool(message["method"] == "tools/call")


@pytest.mark.parametrize(
    "status,kind,body",
    [
        (200, "text/html", b"<html>Bearer not-to-be-told</html>"),
        (200, "application/json", b"{"),
        (200, "application/json", b"[]"),
        (200, "application/json", b'{"jsonrpc": "2.0", "id": 99, "result": {}}'),
        (200, "application/json", b" " * (17 * 1024 * 1024)),
        (200, "text/event-stream", b"data: {\n\n"),
        (401, "application/json", b'{"error": "Bearer not-to-be-told"}'),
        (500, "text/plain", b"Bearer not-to-be-told"),
        (302, "text/plain", b"https://evil.example/"),
        (307, "text/plain", b"https://evil.example/"),
    ],
)
def test_an_answer_that_is_none_fails_the_call_and_tells_no_secret(
    site: Site, status: int, kind: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site.answer = lambda message: (status, kind, body) if called(message) else None
    with opened(site) as tools, pytest.raises((MCPServerError, TimeoutError)) as told:
        asyncio.run(asyncio.wait_for(tools["x"](), 1))
    assert SECRET not in repr(tools)
    assert "not-to-be-told" not in str(told.value)
    assert site.seen[-1]["Authorization"] == SECRET


def test_a_site_that_is_no_mcp_server_is_told(site: Site) -> None:
    site.answer = lambda _: (200, "text/html", b"<html>Bearer not-to-be-told</html>")
    with pytest.raises(MCPServerError) as told, opened(site):
        pass
    assert "not-to-be-told" not in str(told.value)


def test_a_body_that_is_packed_is_not_unpacked(site: Site) -> None:
    bomb = gzip.compress(b" " * (64 * 1024 * 1024))

    def answer(message: dict[str, Any]) -> tuple[int, str, bytes] | None:
        site.packed = called(message)
        return (200, "application/json", bomb) if called(message) else None

    site.answer = answer
    with opened(site) as tools, pytest.raises(MCPServerError):
        asyncio.run(tools["x"]())
    assert site.seen[-1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_site_that_refuses_is_told_by_its_status(site: Site, status: int) -> None:
    site.answer = lambda _: (status, "text/plain", b"Bearer not-to-be-told")
    with pytest.raises(MCPServerError, match=f"HTTP status {status}") as told, opened(site):
        pass
    assert "not-to-be-told" not in str(told.value)


def test_a_server_that_has_forgotten_the_session_is_opened_anew(site: Site) -> None:
    site.session = "one"
    forgotten = iter([True])

    def answer(message: dict[str, Any]) -> tuple[int, str, bytes] | None:
        if called(message) and next(forgotten, False):
            return 404, "text/plain", b""
        if called(message):
            return 200, *as_json(message["id"], {"content": [{"type": "text", "text": "here"}]})
        return None

    site.answer = answer
    with opened(site) as tools:
        with pytest.raises(MCPServerError):
            asyncio.run(tools["x"]())
        assert asyncio.run(tools["x"]()) == "here"


@pytest.mark.parametrize("value", ["a\nb: c", "schlüssel", 7])
def test_a_header_that_can_be_none_is_refused_without_its_value(value: Any) -> None:
    with pytest.raises(ConfigError) as told:
        mcp_tools(url="https://example.com/mcp", headers={"X-Key": value})
    assert str(value) not in str(told.value).replace("X-Key", "")
