"""Memory and disk that a call takes are limited together, and gone after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.security.conftest import WAYS, Deployment
from tools.host import ToolOutcome
from tools.sandbox.limits import PREFIX, join_group, leave_group

Python = Callable[..., Awaitable[ToolOutcome]]

OUTLIVING = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
calls = {
    'shmget': (29, 0x1234, 1 << 20, 0o1600), 'shmat': (30, 0, 0, 0), 'semget': (64, 0x1234, 1, 0o1600),
    'msgget': (68, 0x1234, 0o1600), 'mq_open': (240, b'/q', 0o102, 0o600, 0), 'memfd_create': (319, b'm', 0),
    'memfd_secret': (447, 0), 'add_key': (248, b'user', b'k', b'v', 1, -4), 'request_key': (249, b'user', b'k', 0, -4),
    'keyctl': (250, 0, -3, 1),
}
for name, call in calls.items():
    print(name, 'done' if libc.syscall(*call) >= 0 else 'refused')
for path in ('/dev/shm/kept', '/tmp/kept', '/var/tmp/kept', '/run/kept'):
    try:
        open(path, 'w').write('kept')
        print(path, 'done')
    except OSError:
        print(path, 'refused')
"""
FILL = """
written = 0
try:
    for number in range(400):
        with open(f'part{number}', 'wb') as part:
            written += part.write(bytes(4 << 20))
except OSError as error:
    print(type(error).__name__, error.errno)
print(written >> 20)
"""
HUNGRY = '''
import mmap, os, subprocess, sys
from flightloop.tool import tool

@tool(effect="pure", permissions=("subprocess",), timeout_s=60)
def feed(processes: int, megabytes: int) -> str:
    """Takes memory in several processes at once."""
    code = "import sys; x = bytearray(int(sys.argv[1]) << 20); print('ready', flush=True); sys.stdin.read()"
    command = [sys.executable, "-S", "-c", code, str(megabytes)]
    made = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(processes)]
    ready = [one.stdout.readline() for one in made]
    for one in made:
        one.stdin.close()
    return str(sum(line == b"ready\\n" for line in ready))
'''


async def test_nothing_is_kept_where_no_limit_counts_it(python: Python) -> None:
    tried = (await python(OUTLIVING)).content["output"].splitlines()
    assert len(tried) == 14
    assert [line for line in tried if line.endswith("done")] == []


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_scratch_has_a_size(deployment: Deployment, mechanisms: tuple[str, ...]) -> None:
    deployment.mechanisms = mechanisms
    hosts = await deployment.hosts("tools.builtin", scratch_bytes=64 << 20)
    told = await hosts.call("run_python", {"code": FILL}, deployment.context())
    if told.ok:  # the disk was full for the program, or its host was ended
        assert int(told.content["output"].split()[-1]) <= 64
    else:
        assert "wrote more than 64 MiB" in str(told.error)
    again = await hosts.call("run_python", {"code": "import os; print(os.listdir())"}, deployment.context())
    assert again.content["output"] == "[]\n"


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_the_processes_of_a_call_share_one_limit(
    deployment: Deployment, tmp_path: Path, mechanisms: tuple[str, ...]
) -> None:
    deployment.mechanisms = mechanisms
    (tmp_path / "tools.py").write_text(HUNGRY)
    hosts = await deployment.hosts(tmp_path / "tools.py", memory_bytes=512 << 20)
    fed = await hosts.call("feed", {"processes": 8, "megabytes": 200}, deployment.context())
    assert not fed.ok or int(fed.content) < 8, fed
    less = await hosts.call("feed", {"processes": 2, "megabytes": 50}, deployment.context())
    assert less.content == "2", less.error


@pytest.mark.parametrize("version", [1, 2])
def test_a_host_has_a_group_where_groups_can_be_made(tmp_path: Path, version: int) -> None:
    """On folders laid out as the kernel lays out its own; what the kernel does with them is tested above."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path.lstrip("/")))
    if version == 2:
        (tmp_path / "cgroup.controllers").write_text("memory pids")
        mine = tmp_path / own.get("", "")
        place = mine if mine == tmp_path else mine.parent
    elif "memory" in own:
        place = tmp_path / "memory" / own["memory"]
    else:
        pytest.skip("this process has no group of the first version")
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{PREFIX}1").mkdir()
    assert not join_group(1 << 30, 64, tmp_path)  # a new group of these has no files that take limits
    assert not (place / f"{PREFIX}1").exists()
    (place / f"{PREFIX}7").mkdir()
    leave_group(7, tmp_path)
    assert not (place / f"{PREFIX}7").exists()
