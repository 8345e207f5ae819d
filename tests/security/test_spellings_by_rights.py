"""A call is the same one in spellings that its tool's types need the tool's own rights to know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.models.answer_chunks import calls, text
from flightloop.runs import Run
from flightloop.tool import ToolContext
from tests.agent.conftest import Bench
from tests.security.benches import ALLOWED, bench
from tools.config import ToolsConfig
from tools.host import ToolHosts, Unsure

SPELLINGS = ("bob", "BOB ", "Robert")
TOOLS = '''
import json, socket, subprocess
from pathlib import Path
from typing import Annotated
from pydantic import AfterValidator
from flightloop.tool import ToolContext, tool

BOOK, PORT = Path(%(book)r), %(port)d

def in_book(name: str) -> str:
    return json.loads((BOOK / "names.json").read_text())[name]

def asked(name: str) -> str:
    with socket.create_connection(("127.0.0.1", PORT), 5) as line:
        line.sendall(name.encode() + b"\\n")
        return line.makefile().readline()

def by_program(name: str) -> str:
    done = subprocess.run(["/bin/sh", "-c", "echo bob"], capture_output=True, text=True, check=True)
    return done.stdout.strip()

def note(context: ToolContext, name: str, to: str) -> str:
    with (context.data / "paid").open("a") as file:
        file.write(f"{name} {to}\\n")
    return "paid"

@tool(effect="keyed", permissions=("files",), folders=(str(BOOK),))
def pay(to: Annotated[str, AfterValidator(in_book)], context: ToolContext) -> str:
    """Pays."""
    return note(context, "pay", to)

@tool(effect="keyed", permissions=("network",), hosts=(f"127.0.0.1:{PORT}",))
def wire(to: Annotated[str, AfterValidator(asked)], context: ToolContext) -> str:
    """Pays."""
    return note(context, "wire", to)

@tool(effect="keyed", permissions=("subprocess",))
def post(to: Annotated[str, AfterValidator(by_program)], context: ToolContext) -> str:
    """Pays."""
    return note(context, "post", to)
'''


class Shop:
    """An agent with the tools in their own processes, and what they have paid."""

    def __init__(self, folder: Path, hosts: ToolHosts) -> None:
        self.folder, self.hosts = folder, hosts

    def desk(self, *script: Any, policy: str = ALLOWED, **spec: Any) -> Bench:
        made = bench(self.folder / "data", *script, policy=policy, **spec)
        made.hosts = self.hosts  # type: ignore[assignment]
        made.agent = made.agent.model_copy(update={"tools": ("pay", "wire", "post")})
        return made

    @property
    def context(self) -> ToolContext:
        return ToolContext("run:0:0", "default", "helper", "session", "run", self.folder / "data")

    @property
    def paid(self) -> list[str]:
        file = self.folder / "data" / "paid"
        return file.read_text().split("\n")[:-1] if file.exists() else []


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"bob")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    for name in ("project", "data", "book"):
        (tmp_path / name).mkdir()
    (tmp_path / "book" / "names.json").write_text('{"bob": "bob", "BOB ": "bob", "Robert": "bob"}')
    file = tmp_path / "project" / "tools.py"
    file.write_text(TOOLS % {"book": str(tmp_path / "book"), "port": server.sockets[0].getsockname()[1]})
    async with server, ToolHosts([file], ToolsConfig(spare=0)) as hosts:
        yield Shop(tmp_path, hosts)


async def decide(desk: Bench, run: Run, decision: Any) -> dict[str, Any]:
    (approval,) = (await desk.journal.approvals(run.tenant_id, status="pending")).data
    await desk.journal.decide(run.tenant_id, approval.id, decision, "ann")
    return approval.arguments


async def test_types_read_the_folders_of_their_tool(shop: Shop) -> None:
    told = [await shop.hosts.known_by("pay", {"to": one}, shop.context) for one in SPELLINGS]
    assert told == [{"to": "bob"}] * 3
    assert await shop.hosts.known_by("pay", {"to": "nobody"}, shop.context) is None  # nor could it be called
    desk = shop.desk(*[calls(("pay", {"to": one})) for one in ("bob", "BOB ", "BOB ")])
    run = await desk.work(await desk.start("Pay it"))
    assert (run.status, shop.paid) == ("waiting_approval", ["pay bob"])


@pytest.mark.parametrize("name", ["wire", "post"])
async def test_what_types_could_not_look_at_is_asked_about(shop: Shop, name: str) -> None:
    with pytest.raises(Unsure):
        await shop.hosts.known_by(name, {"to": "bob"}, shop.context)
    desk = shop.desk(*[calls((name, {"to": one})) for one in SPELLINGS], text("Paid."))
    run = await desk.work(await desk.start("Pay it"))
    assert (run.status, shop.paid) == ("waiting_approval", [f"{name} bob"])
    assert await decide(desk, run, "approve") == {"to": "BOB "}
    run = await desk.work(run)  # what was approved is made, and no other spelling of it
    assert (run.status, shop.paid) == ("waiting_approval", [f"{name} bob"] * 2)
    assert await decide(desk, run, "deny") == {"to": "Robert"}
    run = await desk.work(run)
    assert (run.status, shop.paid) == ("succeeded", [f"{name} bob"] * 2)


async def test_nor_is_it_made_side_by_side(shop: Shop) -> None:
    desk = shop.desk(calls(*[("wire", {"to": one}) for one in SPELLINGS]), parallel_calls=3)
    run = await desk.work(await desk.start("Pay it"))
    assert (run.status, shop.paid) == ("waiting_approval", ["wire bob"])


async def test_it_is_made_unasked_beside_writes_of_other_tools(shop: Shop) -> None:
    desk = shop.desk(calls(("pay", {"to": "bob"})), calls(("wire", {"to": "bob"})), text("Paid."))
    run = await desk.work(await desk.start("Pay it"))
    assert (run.status, shop.paid) == ("succeeded", ["pay bob", "wire bob"])


async def test_a_later_run_of_the_session_is_asked_about_it_too(shop: Shop) -> None:
    desk = shop.desk(calls(("wire", {"to": "bob"})), text("Paid."), calls(("wire", {"to": "Robert"})))
    await desk.work(await desk.start("Pay it", session_id="s"))
    run = await desk.work(await desk.start("And when does it arrive?", session_id="s"))
    assert (run.status, shop.paid) == ("waiting_approval", ["wire bob"])
