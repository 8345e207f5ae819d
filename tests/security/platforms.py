"""Platforms in processes of their own, for the tests of this folder."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Of a platform whose state, home and caches are in ``folder``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLIGHTLOOP_", "RAY_"))}
    paths = os.pathsep.join([str(ROOT), str(ROOT / "agent" / "sdk")])
    own = {"PYTHONPATH": paths, "HOME": str(folder), "FLIGHTLOOP_HOME": str(folder / "home")}
    return {**kept, **own, "PYTHONDONTWRITEBYTECODE": "1", **more}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass
class Standalone:
    """``python -m agent serve``."""

    process: asyncio.subprocess.Process
    url: str
    key: str

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


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


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


async def until(met: Callable[[], object], timeout_s: float = 60.0) -> float:
    """Waits for a condition; returns the seconds that it took."""
    began = time.monotonic()
    while not met():
        assert time.monotonic() - began < timeout_s, "it did not come"
        await asyncio.sleep(0.005)
    return time.monotonic() - began
