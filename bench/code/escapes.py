"""Programs that try to leave the sandbox in which generated code is tested.

A program's ``attempt()`` returns what it got: a text with ``ESCAPED``, or with the secret that lies outside. The
sandbox holds if it raises, gets nothing, or is stopped, if the folder outside is unchanged, and if nobody connected.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from bench.rows import Row
from flightloop.tool import ToolContext
from tools.config import ToolsConfig
from tools.host import ToolHosts

ATTEMPTS = Path(__file__).parent / "escapes.yaml"
SECRET = "the secret of the machine"
MARK = "ESCAPED"


def attempts() -> dict[str, str]:
    """Programs by name; FOLDER is a folder outside the sandbox with a file ``secret``, PORT a listening port."""
    return dict(yaml.safe_load(ATTEMPTS.read_text(encoding="utf-8")))


def measure() -> list[Row]:
    """The number of attempts that got out."""
    with TemporaryDirectory(prefix="flightloop-escape-") as name:
        escaped = escaped_of(attempts(), Path(name).resolve())
    note = f"got out: {', '.join(escaped)}" if escaped else None
    return [Row("code_escape", len(escaped), f"of {len(attempts())}", higher_is_better=False, note=note)]


def escaped_of(programs: Mapping[str, str], folder: Path) -> list[str]:
    """Names of the programs that got out of the sandbox. ``folder``: an empty one for this purpose."""
    outside, data = folder / "outside", folder / "data"
    outside.mkdir()
    data.mkdir()
    (outside / "secret").write_text(SECRET)
    with _listening() as (port, connections):
        return asyncio.run(_escaped(programs, outside, data, port, connections))


async def _escaped(
    programs: Mapping[str, str], outside: Path, data: Path, port: int, connections: list[str]
) -> list[str]:
    escaped = []
    async with ToolHosts(["tools.builtin"], ToolsConfig(spare=0)) as hosts:
        for name, code in programs.items():
            before = len(connections)
            told = await run(hosts, data, code.replace("FOLDER", str(outside)).replace("PORT", str(port)))
            if MARK in told or SECRET in told or _changed(outside) or len(connections) > before:
                escaped.append(name)
    return escaped


def _changed(outside: Path) -> bool:
    return [path.name for path in outside.iterdir()] != ["secret"] or (outside / "secret").read_text() != SECRET


async def run(hosts: ToolHosts, data: Path, code: str) -> str:
    """What the tool says about a program that tries something. ``attempt()`` returns what it got."""
    context = ToolContext("bench:0:0", "default", "bench", "bench", "bench", data, ())
    arguments = {"code": code, "tests": [{"call": "attempt()"}]}
    outcome = await hosts.call("run_tests", arguments, context)
    return str(outcome.content if outcome.ok else outcome.error)


@contextmanager
def _listening() -> Iterator[tuple[int, list[str]]]:
    """A port of this machine, and the addresses that connected to it."""
    connections: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                connections.append(str(address))
                connection.close()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], connections
