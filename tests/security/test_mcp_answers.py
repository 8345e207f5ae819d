"""What an MCP server answers after it has done something: a write whose answer is lost is not made again unasked."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agent.models.answer_chunks import calls, text
from agent.serve.http_server import running
from flightloop.events import ToolResult
from flightloop.tool import Effect, ToolContext, ToolSpec
from tests.security.benches import bench
from tests.security.conftest import Deployment
from tests.security.platforms import until
from tools.config import ToolsConfig
from tools.host import ToolHosts, ToolOutcome
from tools.mcp import wire
from tools.mcp.answers import begun
from tools.mcp.hosts import McpHosts
from tools.mcp.pins import McpTool, Pin
from tools.mcp.programs import Programs
from tools.mcp.servers import Server
from tools.mcp.session import MCPError, Session

SCHEMA = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
OFFERED = {"name": "pay", "description": "Pays a bill.", "inputSchema": SCHEMA}
PAY = ("bank_pay", {"to": "Ada"})
Answer = Callable[[int], Response]


def message(status: int = 200, **content: Any) -> Answer:
    """A message of JSON-RPC; of the call's id, if it says no other."""
    return lambda asked: JSONResponse({"jsonrpc": "2.0", "id": asked, **content}, status)


def error(code: int, told: str = "no", status: int = 200, **more: Any) -> Answer:
    return message(status, error={"code": code, "message": told}, **more)


def plain(status: int, body: str = "", kind: str = "text/plain", **headers: str) -> Answer:
    return lambda asked: Response(body, status, headers, kind)


def stream(*events: str) -> Answer:
    def answer(asked: int) -> Response:
        return Response("".join(events).replace("ASKED", str(asked)), media_type="text/event-stream")

    return answer


def cut(asked: int) -> Response:
    async def chunks() -> AsyncIterator[str]:
        yield ": here it comes\n\n"
        raise ConnectionError

    return StreamingResponse(chunks(), media_type="text/event-stream")


def event(message: str) -> str:
    return f"event: message\ndata: {message}\n\n"


def told(code: int) -> str:
    return event(f'{{"jsonrpc": "2.0", "id": ASKED, "error": {{"code": {code}, "message": "no"}}}}')


class Bank:
    """An MCP server that pays, and then answers as it likes."""

    def __init__(self, answer: Answer, *, session: bool) -> None:
        self._answer, self._session = answer, session
        self.paid: list[str] = []
        self.gets = 0

    async def serve(self, request: Request) -> Response:
        if request.method == "GET":
            self.gets += 1
            return StreamingResponse(iter(()), media_type="text/event-stream")
        if request.method != "POST":
            return Response()
        asked = await request.json()
        if "id" not in asked:
            return Response(status_code=202)
        if asked["method"] == "initialize":
            about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "bank", "version": "1"}}
            begun = message(result={"protocolVersion": "2025-06-18", **about})(asked["id"])
            if self._session:
                begun.headers["mcp-session-id"] = "one"
            return begun
        if asked["method"] == "tools/list":
            return message(result={"tools": [OFFERED]})(asked["id"])
        if asked["method"] == "tools/call":
            self.paid.append(asked["params"]["arguments"]["to"])
            return self._answer(asked["id"])
        return error(-32601)(asked["id"])


@asynccontextmanager
async def banking(bank: Bank, folder: Path) -> AsyncIterator[McpHosts]:
    paths = [Route(path, bank.serve, methods=["GET", "POST", "DELETE"]) for path in ("/mcp", "/other")]
    async with running(Starlette(routes=paths)) as url:
        server = Server.model_validate({"url": f"{url}/mcp", "tools": {"pay": "keyed"}, "timeout_s": 20})
        hosts = McpHosts(
            ToolHosts(["tools.builtin"], ToolsConfig(spare=0)), {"bank": server}, [tool()], programs(folder)
        )
        try:
            yield hosts
        finally:
            await hosts.close()


def tool(timeout_s: float = 20) -> McpTool:
    pin = Pin(OFFERED["description"], SCHEMA)
    return McpTool(ToolSpec("bank_pay", "Pays a bill.", SCHEMA, Effect.KEYED, timeout_s=timeout_s), "bank", "pay", pin)


def programs(folder: Path, **settings: Any) -> Programs:
    return Programs(folder, ToolsConfig(spare=0, **settings))


LOST = {
    "504": plain(504, "gateway timeout"),
    "502 of JSON": plain(502, '{"error": {"code": -32602, "message": "bad gateway"}}', "application/json"),
    "500 that names another request": error(-32602, status=500, id=7),
    "400 that names none": error(-32602, status=400, id=None),
    "404": plain(404),
    "202": plain(202),
    "a redirect to elsewhere": plain(307, location="http://127.0.0.1:9/mcp"),
    "a redirect to another path": plain(307, location="/other"),
    "a page": plain(200, "<html>", "text/html"),
    "nothing": plain(200),
    "broken JSON": plain(200, "{", "application/json"),
    "no message": plain(200, "[1]", "application/json"),
    "a broken event": stream(event("{")),
    "an event of another request": stream(told(-32602).replace("ASKED", "7")),
    "no event": stream(": nothing\n\n"),
    "half an event": stream(told(-32602).rstrip()),
    "a stream that is cut": cut,
    "an event that is too long": stream(event(json.dumps("x" * (2 << 20)))),
    "an internal error": error(-32603),
    "an internal error as an event": stream(told(-32603)),
    "an error of the server's own code": error(-32000),
    "an error whose code says timeout": error(-32001),
    "a question to the user": message(result={"resultType": "input_required", "inputRequests": {}, "content": []}),
    "a task that goes on": message(result={"task": {"taskId": "1", "status": "working"}}),
    "a result without content": message(result={}),
    "a result that was not as declared": error(-32602, "MCP error -32602: Output validation error: no content"),
}
REFUSED = {
    "no such method": error(-32601),
    "wrong arguments": error(-32602),
    "wrong arguments, as a 400": error(-32602, status=400),
    "wrong arguments, as an event": stream(": hello\n\n", told(-32602)),
    "an error of the tool": message(result={"content": [{"type": "text", "text": "no money"}], "isError": True}),
}
SESSION = pytest.mark.parametrize("session", [False, True], ids=["without session", "session"])


@SESSION
@pytest.mark.parametrize("answer", [pytest.param(answer, id=name) for name, answer in (LOST | REFUSED).items()])
@pytest.mark.any_user
async def test_only_a_servers_own_refusal_is_not_done(tmp_path: Path, answer: Answer, session: bool) -> None:
    """A gateway before it, and the SDK itself, may answer for it."""
    bank = Bank(answer, session=session)
    async with asyncio.timeout(30), banking(bank, tmp_path) as hosts:
        script = [calls(PAY), calls(PAY), text("That did not work.")]
        desk = bench(tmp_path, *script, tools=[tool().as_tool()])
        desk.hosts = hosts
        run = await desk.work(await desk.start("Pay Ada."))
        results = [event for event in await desk.events(run) if isinstance(event, ToolResult)]
    assert not any(result.ok for result in results)
    refused = answer in REFUSED.values()
    assert [result.uncertain for result in results] == ([False, False] if refused else [True])
    assert (run.status, len(bank.paid)) == (("succeeded", 2) if refused else ("waiting_approval", 1))


def test_which_errors_say_that_nothing_was_begun() -> None:
    codes = [-32700, -32600, -32601, -32602, -32603, -32000, -32001, 0, 1]
    assert [code for code in codes if not begun(MCPError(code, "no").error)] == [-32601, -32602]


PROGRAM = """
import json, sys

def say(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\\n")
    sys.stdout.flush()

for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("method") == "initialize":
        about = {"protocolVersion": asked["params"]["protocolVersion"], "capabilities": {"tools": {}}}
        say({"id": asked["id"], "result": {**about, "serverInfo": {"name": "bank", "version": "1"}}})
    elif asked.get("method") == "tools/list":
        say({"id": asked["id"], "result": {"tools": [OFFERED]}})
    elif asked.get("method") == "tools/call":
        ANSWER
    elif "id" in asked:
        say({"id": asked["id"], "error": {"code": -32601, "message": "unknown"}})
"""
BY_PROGRAMS = {
    "ends": ("sys.exit()", True),
    "ends within its answer": ("""sys.stdout.write('{"jsonrpc": "2.0", "id"'); sys.exit()""", True),
    "a broken line": ("sys.stdout.write('{broken' + chr(10)); sys.stdout.flush()", True),
    "an error for nobody": ("say({'id': None, 'error': {'code': -32602, 'message': 'no'}})", True),
    "no answer": ("pass", True),
    "no result": ("say({'id': asked['id'], 'result': {'content': 7}})", True),
    "an internal error": ("say({'id': asked['id'], 'error': {'code': -32603, 'message': 'no'}})", True),
    "wrong arguments": ("say({'id': asked['id'], 'error': {'code': -32602, 'message': 'no'}})", False),
    "an error of the tool": ("say({'id': asked['id'], 'result': {'content': [], 'isError': True}})", False),
}


@pytest.mark.parametrize(("answer", "uncertain"), [pytest.param(*how, id=name) for name, how in BY_PROGRAMS.items()])
@pytest.mark.any_user
async def test_of_a_program_too_only_its_own_refusal_is_not_done(
    deployment: Deployment, tmp_path: Path, answer: str, uncertain: bool
) -> None:
    (tmp_path / "bank.py").write_text(PROGRAM.replace("OFFERED", repr(OFFERED)).replace("ANSWER", answer))
    command = [sys.executable, str(tmp_path / "bank.py")]
    server = Server.model_validate({"command": command, "tools": {"pay": "keyed"}, "timeout_s": 20})
    known = programs(tmp_path, protected=(deployment.home,))
    own = ToolHosts(["tools.builtin"], ToolsConfig(spare=0, protected=(deployment.home,)))
    hosts = McpHosts(own, {"bank": server}, [tool(timeout_s=2)], known)
    deployment.ran.push_async_callback(hosts.close)
    outcome: ToolOutcome = await hosts.call("bank_pay", {"to": "Ada"}, deployment.context())
    assert (outcome.ok, outcome.uncertain) == (False, uncertain), outcome


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for between two requests: how many there are is what holds them up."""
    monkeypatch.setattr(wire, "PAUSE_S", 0)


async def test_nobody_listens_to_a_server_that_is_not_asked(
    tmp_path: Path, at_once: None, context: ToolContext
) -> None:
    """Its stream of events would be opened again and again, for as long as the server likes."""
    bank = Bank(message(result={"content": []}), session=True)
    async with banking(bank, tmp_path) as hosts:
        assert (await hosts.call("bank_pay", {"to": "Ada"}, context)).ok
        await asyncio.sleep(0.1)
        assert (await hosts.call("bank_pay", {"to": "Ben"}, context)).ok
    assert (bank.gets, bank.paid) == (0, ["Ada", "Ben"])


async def test_an_answer_is_looked_for_a_bounded_number_of_times(
    tmp_path: Path, at_once: None, context: ToolContext
) -> None:
    """Of streams that end without it, and say that they shall be gone on with at once."""
    bank = Bank(stream("id: 1\nretry: 0\ndata:\n\n"), session=True)
    async with asyncio.timeout(20), banking(bank, tmp_path) as hosts:
        outcome = await hosts.call("bank_pay", {"to": "Ada"}, context)
    assert (outcome.ok, outcome.uncertain, len(bank.paid)) == (False, True, 1)
    assert bank.gets == wire.MOST_RESUMED


async def test_an_answer_is_not_looked_for_once_its_call_has_ended(
    tmp_path: Path, at_once: None, context: ToolContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MOST_RESUMED", 10_000)
    bank = Bank(stream("id: 1\nretry: 1\ndata:\n\n"), session=True)
    async with asyncio.timeout(20), banking(bank, tmp_path) as hosts:
        calling = asyncio.create_task(hosts.call("bank_pay", {"to": "Ada"}, context))
        await until(lambda: bank.gets >= 3)
        calling.cancel()
        with suppress(asyncio.CancelledError):
            await calling
        begun = bank.gets
        await asyncio.sleep(0.3)
    assert bank.gets <= begun + 1


async def test_a_redirect_is_followed_where_questions_were(tmp_path: Path, context: ToolContext) -> None:
    """A slash at the end, mostly."""
    bank = Bank(message(result={"content": []}), session=True)

    async def elsewhere(request: Request) -> Response:
        return Response(status_code=307, headers={"location": "/mcp"})

    paths = [Route("/old", elsewhere, methods=["POST", "GET", "DELETE"]), Route("/mcp", bank.serve, methods=["POST"])]
    async with running(Starlette(routes=paths)) as url:
        server = Server.model_validate({"url": f"{url}/old", "tools": {"pay": "keyed"}, "timeout_s": 20})
        session = Session("bank", server, programs(tmp_path))
        await session.call("pay", {"to": "Ben"}, "key")
        await session.end()
    assert bank.paid == ["Ben"]


@pytest.fixture
def context(tmp_path: Path) -> ToolContext:
    return ToolContext("run:0:0", "default", "agent", "session", "run", tmp_path)
