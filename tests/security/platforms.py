"""Platforms in processes of their own, for the tests of this folder."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from agent.testing.model_server import ScriptedServer

ROOT = Path(__file__).parents[2]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Of a platform whose state, home and caches are in ``folder``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLIGHTLOOP_", "RAY_"))}
    paths = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "sdk"), os.environ.get("PYTHONPATH")]))
    own = {"PYTHONPATH": paths, "HOME": str(folder), "FLIGHTLOOP_HOME": str(folder / "home")}
    return {**kept, **own, "PYTHONDONTWRITEBYTECODE": "1", **more}


def free_port() -> int:
    """One that the kernel gives to nobody by itself, as it does with those of connections."""
    while True:
        port = random.randrange(15_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@dataclass
class Standalone:
    """``python -m agent serve``."""

    process: asyncio.subprocess.Process
    url: str
    key: str

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def front(self) -> psutil.Process:
        [front] = [child for child in self.children() if "agent.serve.front" in child.cmdline()]
        return front


@dataclass
class OnRay:
    """``python -m agent up`` on ports of its own, without a model of its own; its output is in ``log``."""

    env: dict[str, str]
    log: Path
    port: int = field(default_factory=free_port)
    console_port: int = field(default_factory=free_port)
    prometheus_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return (Path(self.env["FLIGHTLOOP_HOME"]) / "key").read_text().strip()

    @property
    def said(self) -> str:
        return self.log.read_text()

    def start(
        self, until: str = "Ctrl-C stops everything", folder: Path = ROOT, options: Sequence[str] = ()
    ) -> list[psutil.Process]:
        """Returns its processes, itself first, once it has said that.

        Args:
            folder: the working folder.
            options: of Python.
        """
        ports = ("--console-port", str(self.console_port), "--prometheus-port", str(self.prometheus_port))
        command = [sys.executable, *options, "-m", "agent", "up", "--port", str(self.port), *ports]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=self.env, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        end = time.monotonic() + 200
        while until not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.1)
        started = psutil.Process(self.process.pid)
        return [started, *started.children(recursive=True)]

    def end(self, by: signal.Signals) -> int:
        """Sends a signal and waits for the end; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(by)
        return self.process.wait(60)


@contextmanager
def on_ray(folder: Path, **settings: str) -> Iterator[OnRay]:
    """Not started yet. Ray's own folder has a short path: the names of its sockets may have 107 bytes."""
    with TemporaryDirectory(prefix="fl-ray-", dir="/tmp") as ray:
        platform = OnRay(environment(folder, RAY_TMPDIR=ray, **settings), folder / "up.log")
        try:
            yield platform
        finally:
            if platform.process is not None and platform.process.poll() is None:
                platform.process.kill()
                platform.process.wait()
            wait_until_free(platform.port)


def wait_until_free(port: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            time.sleep(0.1)
            continue
        return


@asynccontextmanager
async def standalone(env: dict[str, str]) -> AsyncIterator[Standalone]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", "serve", "--port", "0"),
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line.startswith("flightloop answers at "), (await process.communicate())[1].decode()
        key = (Path(env["FLIGHTLOOP_HOME"]) / "key").read_text().strip()
        yield Standalone(process, line.split()[3].rstrip(";"), key)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def scripted(folder: Path) -> AsyncIterator[Standalone]:
    """A standalone platform before a scripted model."""
    async with (
        ScriptedServer().serving() as model,
        standalone(environment(folder, FLIGHTLOOP_MODEL_URL=model)) as platform,
    ):
        yield platform


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if _is_alive(process)]


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):  # between the two questions
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


async def until(met: Callable[[], object], timeout_s: float = 60.0) -> float:
    """Waits for a condition; returns the seconds that it took."""
    began = time.monotonic()
    while not met():
        assert time.monotonic() - began < timeout_s, "it did not come"
        await asyncio.sleep(0.005)
    return time.monotonic() - began
