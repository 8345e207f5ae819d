"""Nothing of a call outlives it, holds others up, or leads out of its folders."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.security.conftest import WAYS, Deployment, project_of
from tools.ending import empty

LEAVES = '''
import ctypes, os, subprocess, sys, time
from pathlib import Path
from flightloop.tool import ToolContext, tool

@tool(effect="pure", timeout_s=1.0)
def forget() -> list:
    """Tries to outlive its parent, and then everybody's patience."""
    tried = [ctypes.CDLL(None).prctl(1, signal, 0, 0, 0) for signal in (0, 15)]
    try:
        os.setsid()
    except OSError:
        pass
    if min(tried) == 0:
        return tried
    time.sleep(60)

@tool(effect="pure", permissions=("subprocess",), timeout_s=TIMEOUT)
def daemons(mark: str) -> str:
    """Leaves processes that have left its group, its session and their parents."""
    code = "import os, time\\nif os.fork(): os._exit(0)\\nos.setsid()\\nif os.fork(): os._exit(0)\\ntime.sleep(600)"
    for _ in range(3):
        subprocess.run([sys.executable, "-S", "-c", code, mark], close_fds=False)
    time.sleep(HOLD)
    return "left"

@tool(effect="pure", permissions=("subprocess",))
def chain(seconds: int) -> str:
    """Leaves processes that each start the next one and end."""
    for _ in range(4):
        if os.fork() == 0:
            os.setsid()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if os.fork():
                    os._exit(0)
            os._exit(0)
    return "left"

@tool(effect="unsafe")
def dig(context: ToolContext, depth: int, where: str) -> str:
    """Makes folders in each other."""
    os.chdir(context.data if where == "data" else os.environ["TMPDIR"])
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    return "dug"

@tool(effect="pure")
def disturb(context: ToolContext) -> dict:
    """Tries what is felt by others who open, write or hear the same things."""
    import fcntl, socket
    libc = ctypes.CDLL(None, use_errno=True)
    shop = os.open(context.data / "shop.db", os.O_RDONLY)
    watcher = libc.inotify_init1(0)
    here, there = socket.socketpair()
    tried = {
        "lease": lambda: fcntl.fcntl(shop, fcntl.F_SETLEASE, fcntl.F_RDLCK),
        "notify": lambda: fcntl.fcntl(os.open(context.data, os.O_RDONLY), fcntl.F_NOTIFY, 2),
        "owner": lambda: fcntl.fcntl(shop, fcntl.F_SETOWN, os.getppid()),
        "signal": lambda: fcntl.fcntl(shop, 10, 9),
        "watch": lambda: 1 / (libc.inotify_add_watch(watcher, b"/tmp", 0xfff) >= 0),
        "datagrams": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
        "packets": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET),
        "forget": lambda: 1 / (libc.prctl(1, 0, 0, 0, 0) == 0),
        "owner by ioctl": lambda: fcntl.ioctl(here.fileno(), 0x8901, os.getppid().to_bytes(4, "little")),
        "group by ioctl": lambda: fcntl.ioctl(here.fileno(), 0x8902, os.getppid().to_bytes(4, "little")),
        "signals by ioctl": lambda: fcntl.ioctl(here.fileno(), 0x5452, (1).to_bytes(4, "little")),
        "signals": lambda: fcntl.fcntl(here.fileno(), fcntl.F_SETFL, os.O_ASYNC),
        "cut off": lambda: os.open(os.__file__, os.O_RDONLY | os.O_TRUNC),
        "cut off too": lambda: os.open(os.__file__, os.O_ACCMODE | os.O_TRUNC),
    }
    told = {}
    for name, act in tried.items():
        try:
            told[name] = f"done: {act()}"
        except (OSError, ZeroDivisionError) as error:
            told[name] = "refused"
    socket.socketpair()
    fcntl.fcntl(shop, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    fcntl.lockf(os.open(context.data / "shop.db", os.O_RDWR), fcntl.LOCK_EX)
    return told

@tool(effect="pure", permissions=("subprocess",))
def linger(context: ToolContext, way: str) -> str:
    """Returns, and goes on."""
    import threading
    def beat():
        for number in range(400):
            (context.data / way).write_text(str(number))
            time.sleep(0.02)
        os._exit(0)
    if way == "thread":
        threading.Thread(target=beat, daemon=True).start()
    else:
        sys.modules["__main__"]._end_leftovers = lambda: None
        if os.fork() == 0:
            beat()
    return "gone on"

@tool(effect="pure")
def scratch() -> list:
    """What lies in scratch."""
    return os.listdir(os.environ["TMPDIR"])
'''


def marked(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if mark.encode() in words and state != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_a_tool_does_not_outlive_its_call(
    deployment: Deployment, tmp_path: Path, mechanisms: tuple[str, ...]
) -> None:
    deployment.mechanisms = mechanisms
    hosts = await deployment.hosts(project_of(tmp_path, LEAVES.replace("TIMEOUT", "30").replace("HOLD", "0")))
    started = time.monotonic()
    late = await hosts.call("forget", {}, deployment.context())
    assert late.timed_out
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("mechanisms", WAYS)
@pytest.mark.parametrize("hold", ["0", "60"])
async def test_daemons_end_with_their_call(
    deployment: Deployment, tmp_path: Path, mechanisms: tuple[str, ...], hold: str
) -> None:
    deployment.mechanisms = mechanisms
    mark = f"left-by-{os.getpid()}-{time.monotonic_ns()}"
    text = LEAVES.replace("TIMEOUT", "8" if hold == "60" else "30").replace("HOLD", hold)
    hosts = await deployment.hosts(project_of(tmp_path, text))
    outcome = await hosts.call("daemons", {"mark": mark}, deployment.context())
    assert outcome.timed_out == (hold == "60"), outcome.error
    assert marked(mark) == []


@pytest.mark.parametrize("mechanisms", WAYS)
@pytest.mark.parametrize("where", ["data", "scratch"])
async def test_deep_folders_keep_nobody_from_anything(
    deployment: Deployment,
    tmp_path: Path,
    scratches: Callable[[], list[Path]],
    mechanisms: tuple[str, ...],
    where: str,
) -> None:
    deployment.mechanisms = mechanisms
    hosts = await deployment.hosts(project_of(tmp_path, LEAVES.replace("TIMEOUT", "30").replace("HOLD", "0")))
    try:
        dug = await hosts.call("dig", {"depth": 2500, "where": where}, deployment.context())
        assert dug.ok or "temporary files" in str(dug.error), dug.error
        for tenant in ("default", "other"):
            seen = await hosts.call("scratch", {}, deployment.context(tenant))
            assert seen.content == [], seen.error
        await hosts.close()
        assert scratches() == []
    finally:
        await asyncio.to_thread(subprocess.run, ["rm", "-rf", str(deployment.data)], check=True)


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_what_others_open_write_and_hear_is_left_alone(
    deployment: Deployment, tmp_path: Path, mechanisms: tuple[str, ...]
) -> None:
    deployment.mechanisms = mechanisms
    (deployment.data / "shop.db").write_text("rows")
    hosts = await deployment.hosts(project_of(tmp_path, LEAVES.replace("TIMEOUT", "30").replace("HOLD", "0")))
    told = (await hosts.call("disturb", {}, deployment.context())).content
    assert set(told.values()) == {"refused"}, told
    assert len(told) == 14


@pytest.mark.parametrize("mechanisms", WAYS)
@pytest.mark.parametrize("way", ["thread", "process"])
async def test_nothing_goes_on_after_its_call(
    deployment: Deployment, tmp_path: Path, mechanisms: tuple[str, ...], way: str
) -> None:
    deployment.mechanisms = mechanisms
    hosts = await deployment.hosts(project_of(tmp_path, LEAVES.replace("TIMEOUT", "30").replace("HOLD", "0")))
    assert (await hosts.call("linger", {"way": way}, deployment.context())).content == "gone on"
    beaten = deployment.data / way
    before = beaten.read_text() if beaten.exists() else ""
    for _ in range(3):
        assert (await hosts.call("scratch", {}, deployment.context())).ok
    assert (beaten.read_text() if beaten.exists() else "") == before


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_a_chain_of_processes_ends(deployment: Deployment, tmp_path: Path, mechanisms: tuple[str, ...]) -> None:
    deployment.mechanisms = mechanisms
    hosts = await deployment.hosts(project_of(tmp_path, LEAVES.replace("TIMEOUT", "30").replace("HOLD", "0")))
    assert (await hosts.call("chain", {"seconds": 60}, deployment.context())).content == "left"
    assert (await hosts.call("scratch", {}, deployment.context())).ok
    await hosts.close()
    for _ in range(50):  # each look may come between the end of one and the beginning of the next
        known = psutil.process_iter(["cmdline"])
        assert [one.pid for one in known if str(tmp_path) in " ".join(one.info["cmdline"] or ())] == []


def test_a_folder_is_emptied_without_following_links(tmp_path: Path) -> None:
    """Somebody puts a link in the place of what was just looked at, over and over."""
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True)
    (outside / "kept" / "file").write_text("kept")
    (outside / "kept").chmod(0o750)
    folder = tmp_path / "scratch"
    folder.mkdir()
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            with suppress(OSError):
                (folder / "a").mkdir()
                (folder / "a" / "file").write_text("mine")
                (folder / "a").rename(folder / "b")
                (folder / "a").symlink_to(outside / "kept")
                (folder / "a").unlink()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(300):
            empty(folder)
    finally:
        done.set()
        thread.join()
    assert empty(folder)
    assert (outside / "kept" / "file").read_text() == "kept"
    assert (outside / "kept").stat().st_mode & 0o777 == 0o750
