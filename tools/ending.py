"""Ends processes with all their descendants, and removes folders that they leave behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

MOST_ROUNDS = 1000
BETWEEN_ROUNDS_S = 0.002
ENDS_ITSELF_S = 2.0
EMPTY_S = 10.0
THREADS = ThreadPoolExecutor(max_workers=16, thread_name_prefix="ending")
"""Threads that end hosts and remove their folders, so that a stop doesn't queue behind other work."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def below(pid: int) -> Iterator[int]:
    """Yields all descendants of a process, whichever of its threads started them."""
    waiting = [pid]
    while waiting:
        for thread in _entries(f"/proc/{waiting.pop()}/task"):
            with suppress(OSError):
                children = [*map(int, Path(thread.path, "children").read_text().split())]
                waiting += children
                yield from children


def end_below(pid: int) -> None:
    """Sends SIGKILL to all descendants of a process, whatever their process group or session, until none is left.

    The process should be a child subreaper, as `tools.child` is: orphaned descendants are then reparented to it and
    killed in the next round.
    """
    for _ in range(MOST_ROUNDS):
        living = [one for one in below(pid) if _lives(one)]
        if not living:
            return
        for one in living:
            _kill(one)
        time.sleep(BETWEEN_ROUNDS_S)


def end_tree(pid: int) -> None:
    """Ends a tool host (`tools.child`). Sends SIGTERM first, since the host can keep its descendants from starting
    new processes."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + ENDS_ITSELF_S
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(BETWEEN_ROUNDS_S)
    end_below(pid)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    _kill(pid)


def end_started(command: Sequence[str]) -> None:
    """Ends (`end_tree`) the child process that a library started with this command line, which must be unique."""
    wanted = os.fsencode("\0".join(command)) + b"\0"
    for thread in _entries("/proc/self/task"):
        with suppress(OSError):
            for pid in map(int, Path(thread.path, "children").read_text().split()):
                if Path(f"/proc/{pid}/cmdline").read_bytes() == wanted:
                    end_tree(pid)


def remove(folder: Path) -> None:
    """Removes a folder that a tool could write to."""
    empty(folder)
    with suppress(OSError):
        folder.rmdir()


def empty(folder: Path) -> bool:
    """Removes the content of a folder that a tool could write to. Returns whether all of it could be removed.

    Flattens deep folders level by level, since descending could exceed limits of recursion, path length or open files.
    Opens everything relative to the open folder, so that symbolic links can't lead out of it.
    """
    try:
        top = os.open(folder, FOLDER)
    except OSError:
        return False
    try:
        deadline = time.monotonic() + EMPTY_S  # a process may be filling it
        while any([_remove_entry(top, name) for name in os.listdir(top)]) and time.monotonic() < deadline:
            continue
        return not os.listdir(top)
    finally:
        os.close(top)


def _remove_entry(top: int, name: str) -> bool:
    """Removes a file or an empty folder. Moves subfolders of a folder into ``top``, and returns whether there were
    any."""
    moved = False
    with suppress(OSError):
        if _unlinked(name, top):
            return False
        _open_up(name, top)
        folder = os.open(name, FOLDER, dir_fd=top)
        try:
            for inner in os.listdir(folder):
                if not _unlinked(inner, folder):
                    _open_up(inner, folder)
                    os.rename(inner, token_hex(8), src_dir_fd=folder, dst_dir_fd=top)
                    moved = True
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=top)
    return moved


def _unlinked(name: str, folder: int) -> bool:
    """Removes a file; returns False for a folder."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        return False
    return True


def _open_up(name: str, folder: int) -> None:
    """Gives this user access to a folder whose permissions a tool removed."""
    found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if os.fstat(found).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{found}", 0o700)
    finally:
        os.close(found)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def _lives(pid: int) -> bool:
    """Whether any thread of the process is alive; its main thread may end before the others."""
    return any(_runs(thread.path) for thread in _entries(f"/proc/{pid}/task"))


def _runs(thread: str) -> bool:
    try:
        return Path(thread, "stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
