"""A process lives as long as one of its threads: what goes on without its first one is ended and counted as any."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.security.conftest import WAYS, Deployment, project_of

HEADLESS = '''
import ctypes, os, threading, time
from flightloop.tool import ToolContext, tool

libc = ctypes.CDLL(None)

def headless(work, count=1):
    """Processes whose first thread ends, and whose second one works."""
    for _ in range(count):
        if os.fork() == 0:
            os.setsid()
            threading.Thread(target=work).start()
            libc.syscall(60, 0)

@tool(effect="pure", permissions=("subprocess",), timeout_s=30)
def beat(context: ToolContext) -> str:
    """Goes on writing."""
    def work():
        for number in range(3000):
            (context.data / "beat").write_text(f"{number}")
            time.sleep(0.02)
        os._exit(0)
    headless(work)
    while not (context.data / "beat").exists():
        time.sleep(0.01)
    return "left"

@tool(effect="pure", permissions=("subprocess",), timeout_s=60)
def feed(processes: int, megabytes: int) -> str:
    """Takes memory."""
    def work():
        taken = bytearray(os.urandom(1)) * (megabytes << 20)
        time.sleep(30)
        os._exit(len(taken) % 2)
    headless(work, processes)
    time.sleep(10)
    return "kept"

@tool(effect="pure", permissions=("subprocess",), timeout_s=60)
def hide(megabytes: int) -> str:
    """Keeps a file open that has no name any more."""
    def work():
        file = open("hidden", "w+b")
        os.unlink("hidden")
        for _ in range(megabytes):
            file.write(bytes(1 << 20))
            file.flush()
            time.sleep(0.01)
        time.sleep(30)
        os._exit(0)
    headless(work)
    time.sleep(10)
    return "kept"

@tool(effect="pure", permissions=("subprocess",), timeout_s=30)
def fill(context: ToolContext) -> str:
    """Makes folders in scratch for as long as it lasts."""
    home = os.environ["TMPDIR"]
    def work():
        number = 0
        while True:
            number += 1
            try:
                os.makedirs(f"{home}/{number}/a/b/c/d/e/f/g/h")
            except OSError:
                time.sleep(0.001)
    headless(work, 3)
    time.sleep(0.5)
    return "left"

@tool(effect="pure")
def secret() -> list:
    """Hides what it has open from whoever counts."""
    return [libc.prctl(4, 0, 0, 0, 0), libc.prctl(3, 0, 0, 0, 0)]

@tool(effect="pure")
def quiet() -> str:
    """Does nothing."""
    return "quiet"
'''


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_nothing_beats_without_a_head(
    deployment: Deployment, tmp_path: Path, mechanisms: tuple[str, ...]
) -> None:
    deployment.mechanisms = mechanisms
    hosts = await deployment.hosts(project_of(tmp_path, HEADLESS))
    assert (await hosts.call("beat", {}, deployment.context())).content == "left"
    await hosts.close()
    beaten = (deployment.data / "beat").read_text()
    await asyncio.sleep(0.5)  # some twenty beats of one that lives
    assert (deployment.data / "beat").read_text() == beaten


@pytest.mark.parametrize("mechanisms", WAYS)
@pytest.mark.slow
async def test_memory_and_files_without_a_head_count(
    deployment: Deployment, tmp_path: Path, mechanisms: tuple[str, ...]
) -> None:
    deployment.mechanisms = mechanisms
    hosts = await deployment.hosts(project_of(tmp_path, HEADLESS), memory_bytes=512 << 20, scratch_bytes=32 << 20)
    fed = await hosts.call("feed", {"processes": 6, "megabytes": 150}, deployment.context())
    assert "cgroup" in mechanisms or "memory" in str(fed.error), fed
    hidden = await hosts.call("hide", {"megabytes": 150}, deployment.context())
    assert "namespaces" in mechanisms or "wrote more than 32 MiB" in str(hidden.error), hidden


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_who_fills_scratch_while_it_is_removed_holds_nobody_up(
    deployment: Deployment, tmp_path: Path, mechanisms: tuple[str, ...]
) -> None:
    deployment.mechanisms = mechanisms
    hosts = await deployment.hosts(project_of(tmp_path, HEADLESS))
    for _ in range(2):
        filled = await hosts.call("fill", {}, deployment.context())
        assert filled.content == "left" or "temporary files" in str(filled.error), filled.error
    async with asyncio.timeout(60):
        assert (await hosts.call("quiet", {}, deployment.context("other"))).content == "quiet"
        await hosts.close()


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_what_a_tool_has_open_can_be_counted(
    deployment: Deployment, tmp_path: Path, mechanisms: tuple[str, ...]
) -> None:
    deployment.mechanisms = mechanisms
    hosts = await deployment.hosts(project_of(tmp_path, HEADLESS))
    refused, dumpable = (await hosts.call("secret", {}, deployment.context())).content
    assert refused == -1
    assert dumpable == 1 or os.geteuid() == 0  # another user's process is none from its start
