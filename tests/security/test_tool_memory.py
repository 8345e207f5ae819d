"""Memory and disk that a call takes are limited together, and gone after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
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
import mmap, os, subprocess, sys, time
from flightloop.tool import tool

@tool(effect="pure", permissions=("subprocess",), timeout_s=60)
def feed_aside(processes: int, megabytes: int) -> str:
    """Takes memory in processes that a second thread starts."""
    from threading import Thread
    told = []
    thread = Thread(target=lambda: told.append(feed(processes, megabytes)))
    thread.start()
    thread.join()
    return told[0]

@tool(effect="pure", permissions=("subprocess",), timeout_s=60)
def share(megabytes: int) -> str:
    """Takes memory that it shares with its children, and so none of its own."""
    pages = mmap.mmap(-1, megabytes << 20)
    for place in range(0, megabytes << 20, 4096):
        pages[place] = 1
        if place % (1 << 20) == 0:
            time.sleep(0.001)
    time.sleep(1)
    return "shared"

@tool(effect="pure", permissions=("subprocess",), timeout_s=60)
def flood() -> int:
    """Starts processes that start processes."""
    tool, made = os.getpid(), 0
    for _ in range(14):
        try:
            made += os.fork() > 0
        except OSError:
            time.sleep(0.01)
        time.sleep(0.05)
    if os.getpid() != tool:
        time.sleep(30)
        os._exit(0)
    return made

@tool(effect="pure", timeout_s=60)
def queue(pairs: int, size: int) -> int:
    """Fills sockets that nobody reads; returns how many bytes wait in them."""
    import socket
    held, waiting = [], 0
    for _ in range(pairs):
        one, other = socket.socketpair()
        for end in (one, other):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
            end.setblocking(False)
        held += [one, other]
        for end in (one, other):
            try:
                while True:
                    waiting += end.send(bytes(65536))
            except BlockingIOError:
                pass
    time.sleep(0.5)
    return waiting

@tool(effect="pure", timeout_s=60)
def hide(megabytes: int) -> str:
    """Writes a file that has no name any more."""
    with open("hidden", "w+b") as file:
        os.unlink("hidden")
        try:
            for _ in range(megabytes):
                file.write(bytes(1 << 20))
                file.flush()
                time.sleep(0.01)
        except OSError:
            return "refused"
        time.sleep(0.5)
    return "hidden"

@tool(effect="pure", timeout_s=60)
def listen(queues: int) -> list:
    """Opens queues of events, and what is counted for the user alone."""
    import ctypes, select
    held = [select.epoll() for _ in range(queues)]
    time.sleep(1)
    libc = ctypes.CDLL(None)
    return [len(held), libc.inotify_init1(0), libc.syscall(206, 1, ctypes.byref(ctypes.c_ulong(0)))]

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
    for tool in ("feed", "feed_aside"):
        fed = await hosts.call(tool, {"processes": 8, "megabytes": 200}, deployment.context())
        assert not fed.ok or int(fed.content) < 8, fed
    shared = await hosts.call("share", {"megabytes": 900}, deployment.context())
    assert not shared.ok, shared
    less = await hosts.call("feed", {"processes": 2, "megabytes": 50}, deployment.context())
    assert less.content == "2", less.error


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_a_file_without_a_name_counts(
    deployment: Deployment, tmp_path: Path, mechanisms: tuple[str, ...]
) -> None:
    deployment.mechanisms = mechanisms
    (tmp_path / "tools.py").write_text(HUNGRY)
    hosts = await deployment.hosts(tmp_path / "tools.py", scratch_bytes=32 << 20)
    told = await hosts.call("hide", {"megabytes": 150}, deployment.context())
    assert told.content == "refused" or "wrote more than 32 MiB" in str(told.error), told


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_what_waits_in_sockets_counts(
    deployment: Deployment, tmp_path: Path, mechanisms: tuple[str, ...]
) -> None:
    deployment.mechanisms = mechanisms
    (tmp_path / "tools.py").write_text(HUNGRY)
    hosts = await deployment.hosts(tmp_path / "tools.py", memory_bytes=256 << 20)
    few = await hosts.call("queue", {"pairs": 5, "size": 64 << 20}, deployment.context())
    assert few.ok, few.error
    assert few.content < 5 * 2 * (1 << 20)
    if "cgroup" not in mechanisms:
        many = await hosts.call("queue", {"pairs": 110, "size": 1 << 20}, deployment.context())
        assert many.ok or "memory" in str(many.error)


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_what_the_kernel_counts_for_the_user_is_little(
    deployment: Deployment, tmp_path: Path, mechanisms: tuple[str, ...]
) -> None:
    """Watches of epoll, instances of inotify, asynchronous requests: without them the platform stands still."""
    deployment.mechanisms = mechanisms
    (tmp_path / "tools.py").write_text(HUNGRY)
    hosts = await deployment.hosts(tmp_path / "tools.py")
    assert (await hosts.call("listen", {"queues": 20}, deployment.context())).content == [20, -1, -1]
    many = await hosts.call("listen", {"queues": 200}, deployment.context())
    assert "cgroup" in mechanisms or "epoll instances" in str(many.error), many


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_a_flood_of_processes_ends(deployment: Deployment, tmp_path: Path, mechanisms: tuple[str, ...]) -> None:
    deployment.mechanisms = mechanisms
    (tmp_path / "tools.py").write_text(HUNGRY)
    hosts = await deployment.hosts(tmp_path / "tools.py", processes=40)
    told = await hosts.call("flood", {}, deployment.context())
    assert not told.ok or told.seconds < 60
    left = [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(one.info["cmdline"] or ())]
    assert len(left) < 60
    less = await hosts.call("feed", {"processes": 2, "megabytes": 5}, deployment.context())
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
