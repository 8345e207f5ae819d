"""Restricts an SQLite journal to one node, because its WAL index is shared memory of that node."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from flightloop.errors import ConfigError

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def this_node() -> str:
    """Boot id of the kernel, which its containers share, and the host name, for error messages."""
    host = socket.gethostname()
    try:
        return f"{BOOT_ID.read_text().strip()} {host}"
    except OSError:
        return f"{host} {host}"


class NodeLock:
    """Shared lock of all programs that have the journal open. The kernel releases it when a program ends.

    A program that finds the lock free writes its node into the file. A program that finds it taken must run on the node
    in the file.

    Args:
        database: the SQLite file; the lock is a file next to it.
        node: an id and a name, separated by a space.

    Raises:
        ConfigError: programs of another node have the journal open, or the file cannot be locked.
    """

    def __init__(self, database: Path, node: str | None = None) -> None:
        node = node or this_node()
        try:
            database.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(f"{database}.node", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot open the journal's lock {database}.node: {error.strerror}") from error
        try:
            holder = self._enter(node)
        except OSError as error:
            self.release()
            raise ConfigError(f"cannot lock {database}.node ({error.strerror}): put it on a local disk") from error
        if holder.partition(" ")[0] != node.partition(" ")[0]:
            self.release()
            raise ConfigError(
                f"the journal {database} is in use on {holder.partition(' ')[2] or 'another node'}, and SQLite works on"
                " one node only: stop flightloop there, or set FLIGHTLOOP_DATABASE_URL to a PostgreSQL database"
            )

    def release(self) -> None:
        os.close(self._file)

    def _enter(self, node: str) -> str:
        """Acquires the shared lock. Returns the node that is written in the file."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, node.encode(), 0)
        # Waits for a program that is writing. Another node may have come between the two locks, so the file is read.
        fcntl.flock(self._file, fcntl.LOCK_SH)
        return os.pread(self._file, 4096, 0).decode(errors="replace")
