"""Ends processes with all that came of them, and removes the folders that they leave."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

MOST_ROUNDS = 1000
BETWEEN_ROUNDS_S = 0.002


def below(pid: int) -> Iterator[int]:
    """The processes that descend from one, whichever of its threads started them."""
    for thread in _entries(f"/proc/{pid}/task"):
        with suppress(OSError):
            for child in map(int, Path(thread.path, "children").read_text().split()):
                yield child
                yield from below(child)


def end_below(pid: int) -> None:
    """SIGKILL to everything that descends from a process, whatever group or session it is in, until nothing is left.

    What loses its parent on the way becomes a child of the process, if it has asked for that as `tools.child` does, and
    is found in the next round.
    """
    for _ in range(MOST_ROUNDS):
        living = [one for one in below(pid) if _lives(one)]
        if not living:
            return
        for one in living:
            _kill(one)
        time.sleep(BETWEEN_ROUNDS_S)


def end_tree(pid: int) -> None:
    """As `end_below`, and the process itself with its group."""
    end_below(pid)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    _kill(pid)


def remove(folder: Path) -> None:
    """Removes a folder that a tool could fill."""
    empty(folder)
    with suppress(OSError):
        folder.rmdir()


def empty(folder: Path) -> bool:
    """Removes what lies in a folder that a tool could fill; whether all of it could be removed.

    Deep folders are flattened, level by level: to descend into them would take more calls, names or descriptors than
    there are. Links are not followed.
    """
    again = True
    while again:
        again = False
        for entry in _entries(folder):
            with suppress(OSError):
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry)
                    continue
                os.chmod(entry, 0o700)
                for inner in _entries(entry):
                    if inner.is_dir(follow_symlinks=False):
                        os.chmod(inner, 0o700)
                        os.rename(inner, folder / token_hex(8))
                        again = True
                    else:
                        os.unlink(inner)
                os.rmdir(entry)
    return not _entries(folder)


def _entries(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
