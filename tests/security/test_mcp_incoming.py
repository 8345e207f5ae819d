"""What an MCP server sends besides answers to calls: it is not parsed, however many mistakes it has."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.types import (
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agent.serve.http_server import running
from tools.config import ToolsConfig
from tools.mcp.incoming import FIRST_ID, MOST_VALUES, admitted
from tools.mcp.programs import Programs
from tools.mcp.servers import Server
from tools.mcp.session import MCPError, ServerGone, Session

WRONG = [{}] * MOST_VALUES
SAMPLING: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": "mine",
    "method": "sampling/createMessage",
    "params": {"maxTokens": 1, "messages": [{"role": "user", "content": WRONG}]},
}
LOG = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": WRONG}}


class Chatty:
    """An MCP server that asks for things and tells things before it answers a call."""

    def __init__(self, elsewhere: str = "", whole: Any = None, **about: Any) -> None:
        self._about, self._elsewhere, self._whole = about, elsewhere, whole
        self.answered: list[dict[str, Any]] = []

    async def serve(self, request: Request) -> Response:
        if self._elsewhere:
            return Response(status_code=307, headers={"location": self._elsewhere})
        if request.method != "POST":
            return Response(status_code=405)
        asked = await request.json()
        if "method" not in asked:
            self.answered.append(asked)
        if "id" not in asked or "method" not in asked:
            return Response(status_code=202)
        if asked["method"] == "initialize":
            info = {"name": "chatty", "version": "1", **self._about}
            return _result(asked, {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info})
        if asked["method"] == "tools/call" and self._whole is not None:
            return _result(asked, {"content": [], "structuredContent": self._whole})
        if asked["method"] == "tools/call":
            events = [SAMPLING, LOG, {"jsonrpc": "2.0", "id": asked["id"], "result": {"content": []}}]
            return StreamingResponse(_events(events), media_type="text/event-stream")
        return JSONResponse({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": "unknown"}})


def _result(asked: dict[str, Any], result: dict[str, Any]) -> Response:
    return JSONResponse({"jsonrpc": "2.0", "id": asked["id"], "result": result})


async def _events(messages: list[dict[str, Any]]) -> AsyncIterator[str]:
    for message in messages:
        yield f"event: message\ndata: {json.dumps(message)}\n\n"


@asynccontextmanager
async def talking(chatty: Chatty, folder: Path) -> AsyncIterator[Session]:
    paths = [Route("/mcp", chatty.serve, methods=["GET", "POST", "DELETE"])]
    async with running(Starlette(routes=paths)) as url:
        server = Server.model_validate({"url": f"{url}/mcp", "tools": {"chat": "pure"}, "timeout_s": 20})
        session = Session("chatty", server, Programs(folder, ToolsConfig(spare=0)))
        try:
            yield session
        finally:
            await session.end()


async def test_what_a_server_asks_for_is_refused_unread(tmp_path: Path) -> None:
    """Attack: a request for sampling with a million mistakes, in the middle of a call; its session goes on."""
    chatty = Chatty()
    async with talking(chatty, tmp_path) as session:
        assert (await session.call("chat", {}, "key")).content == []
    (refused,) = chatty.answered
    assert (refused["id"], "error" in refused) == ("mine", True)


async def test_what_a_server_says_of_itself_is_bounded(tmp_path: Path) -> None:
    async with talking(Chatty(icons=WRONG), tmp_path) as session:
        with pytest.raises(ServerGone, match=f"more than {MOST_VALUES} values"):
            await session.call("chat", {}, "key")


async def test_one_message_is_bounded(tmp_path: Path) -> None:
    """Attack: 60 MiB of empty lists, which take more than a gigabyte once they are parsed."""
    async with talking(Chatty(whole=[[]] * 400_000), tmp_path) as session:
        assert len((await session.call("chat", {}, "key")).structured_content) == 400_000
    async with talking(Chatty(whole=[[]] * 800_000), tmp_path) as session:
        with pytest.raises((MCPError, ServerGone)):
            await session.call("chat", {}, "key")


async def test_a_server_sends_nobody_elsewhere(tmp_path: Path) -> None:
    """Attack: a redirect of the first request leads the worker to a port that only it reaches."""
    reached: list[str] = []

    async def inner(request: Request) -> Response:
        reached.append(request.method)
        return Response()

    async with (
        running(Starlette(routes=[Route("/mcp", inner, methods=["GET", "POST", "DELETE"])])) as url,
        talking(Chatty(elsewhere=f"{url}/mcp"), tmp_path) as session,
    ):
        with pytest.raises(ServerGone):
            await session.tools()
    assert reached == []


def request(method: str, params: dict[str, Any] | None) -> JSONRPCMessage:
    return JSONRPCRequest(jsonrpc="2.0", id="x", method=method, params=params)


def answer(number: int | str, result: dict[str, Any]) -> JSONRPCMessage:
    return JSONRPCResponse(jsonrpc="2.0", id=number, result=result)


@pytest.mark.parametrize("method", ["sampling/createMessage", "elicitation/create", "roots/list", "ping", "other"])
def test_requests_lose_their_parameters(method: str) -> None:
    assert admitted(request(method, {"messages": WRONG})) == request(method, None)


def test_notifications_are_dropped() -> None:
    for method in ("notifications/tools/list_changed", "notifications/message", "other"):
        assert admitted(JSONRPCNotification(jsonrpc="2.0", method=method, params={"data": WRONG})) is None


def test_answers_to_calls_are_passed_on_whole() -> None:
    """They are parsed by the platform, which stops at the first mistake."""
    long = answer(FIRST_ID, {"content": WRONG})
    assert admitted(long) == long
    short = answer(0, {"serverInfo": {"name": "x", "icons": WRONG[: MOST_VALUES // 2]}})
    assert admitted(short) == short


@pytest.mark.parametrize("number", [0, FIRST_ID - 1, "0", str(FIRST_ID)])
def test_long_answers_to_the_sdk_are_errors(number: int | str) -> None:
    refused = admitted(answer(number, {"a": {"b": {str(name): 1 for name in range(MOST_VALUES)}}}))
    assert isinstance(refused, JSONRPCError)
    assert refused.id == number


def test_errors_lose_long_data() -> None:
    told = ErrorData(code=-32022, message="no such version", data={"supported": WRONG})
    error = JSONRPCError(jsonrpc="2.0", id=0, error=told)
    assert admitted(error) == JSONRPCError(jsonrpc="2.0", id=0, error=ErrorData(code=-32022, message="no such version"))
