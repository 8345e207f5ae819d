"""What one call does to its host is not felt by the next one, least of all by another tenant's."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.security.conftest import WAYS, Deployment
from tools.host import ToolOutcome
from tools.vitals import Vitals

Python = Callable[..., Awaitable[ToolOutcome]]

AT_THE_HOST = """
import ctypes, os, resource
libc = ctypes.CDLL(None, use_errno=True)
limit = (ctypes.c_uint64 * 2)(1, 1)
one = ctypes.c_uint64(1)
host = os.getppid()
def tried(name, result):
    print(name, 'done' if result == 0 else 'refused')
for pid in (host, 1, 0, os.getpid()):
    tried('prlimit', libc.prlimit(pid, resource.RLIMIT_NOFILE, limit, None))
    tried('priority', libc.setpriority(0, pid, 19))
    tried('affinity', libc.sched_setaffinity(pid, 8, ctypes.byref(one)))
    tried('scheduler', libc.sched_setscheduler(pid, 5, ctypes.byref(ctypes.c_int(0))))
    tried('attributes', libc.syscall(314, pid, (ctypes.c_uint32 * 12)(48, 5), 0))
    tried('input', libc.syscall(251, 1, pid, 3 << 13))
tried('group', libc.setpriority(1, 0, 19))
tried('user', libc.setpriority(2, 0, 19))
for signal in (2, 9, 15, 19):
    tried('kill', libc.kill(host, signal))
    tried('kill', libc.kill(1, signal))
"""
CHANGES = '''
import os, resource, signal
from flightloop.tool import ToolContext, tool

@tool(effect="pure")
def lower() -> str:
    """Lowers a limit of its own process."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))
    return "done"

@tool(effect="pure")
def mask() -> int:
    """Changes the mask of new files."""
    return os.umask(0o777)

@tool(effect="pure")
def ignore() -> str:
    """Ignores a signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return "done"

@tool(effect="pure")
def pid() -> list:
    """The host, as its folder names it, and one of its limits."""
    return [os.environ["TMPDIR"], resource.getrlimit(resource.RLIMIT_NOFILE)[0]]
'''


async def test_a_program_reaches_neither_its_host_nor_itself(deployment: Deployment, python: Python) -> None:
    tried = (await python(AT_THE_HOST)).content["output"].splitlines()
    assert len(tried) == 34
    assert [line for line in tried if line.endswith("done")] == []
    for tenant in ("two", "three"):
        again = await python("print(6 * 7)", tenant)
        assert again.content["output"] == "42\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "tools.py"
    path.write_text(CHANGES)
    return path


@pytest.mark.parametrize("mechanisms", WAYS)
@pytest.mark.parametrize("change", ["lower", "mask", "ignore"])
async def test_a_host_that_differs_is_replaced(
    deployment: Deployment, project: Path, mechanisms: tuple[str, ...], change: str
) -> None:
    deployment.mechanisms = mechanisms
    hosts = await deployment.hosts(project)
    before = (await hosts.call("pid", {}, deployment.context())).content
    assert (await hosts.call(change, {}, deployment.context())).ok
    after = (await hosts.call("pid", {}, deployment.context())).content
    assert after[0] != before[0]
    assert after[1] == before[1] > 12


@pytest.mark.any_user
async def test_a_host_serves_one_tenant(deployment: Deployment, project: Path) -> None:
    hosts = await deployment.hosts(project)
    folders = {}
    for _ in range(2):
        for tenant in ("one", "two", "three"):
            told = (await hosts.call("pid", {}, deployment.context(tenant))).content
            assert folders.setdefault(tenant, told[0]) == told[0]
    assert len(set(folders.values())) == 3


@pytest.mark.any_user
async def test_idle_hosts_are_few(deployment: Deployment, project: Path) -> None:
    hosts = await deployment.hosts(project, idle=1)
    first = (await hosts.call("pid", {}, deployment.context("one"))).content[0]
    assert (await hosts.call("pid", {}, deployment.context("two"))).ok
    assert (await hosts.call("pid", {}, deployment.context("one"))).content[0] != first


def test_what_the_kernel_tells_of_a_process() -> None:
    mine = Vitals.of(os.getpid())
    assert mine is not None
    assert mine.changed(mine) is None
    assert "Max open files" in mine.limits
    assert len(mine.scheduling) == 3
    other = Vitals(mine.limits, mine.status, ("19", *mine.scheduling[1:]), mine.oom_score, mine.folder, 0)
    assert mine.changed(other) == "scheduling"
    assert Vitals.of(2**22 - 1) is None
