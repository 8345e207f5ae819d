"""Liveness of workers: each holds a lock that is released when its process ends, so its runs are taken over at once.

A lock proves that the process exists, not that it works. A stalled worker still holds its lock, but loses its runs when
their leases expire. A missing lock does not always prove that the process has ended: see ``Presence.sure_s``.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from agent.store.sql.connection import Connection, Database
from agent.store.sql.statement import Statement
from flightloop.errors import ConfigError

LOCK = Statement("SELECT pg_try_advisory_lock(:number, :worker)")
LOCKS = Statement("SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND classid = :number")
UNLOCK_ALL = Statement("SELECT pg_advisory_unlock_all()")
IS_THERE = Statement("SELECT 1")
KEPT_S = 86_400
"""Seconds after which the file of an ended worker is removed; its runs are taken over long before."""


class Presence(Protocol):
    """Locks of the workers. Thread-safe."""

    def appear(self, worker: str) -> None:
        """Takes the worker's lock, if it is not held yet. Raises ConfigError if another process holds it."""
        ...

    def gone(self, workers: Sequence[str]) -> frozenset[str]: ...

    def sure_s(self) -> float:
        """Seconds of a worker's silence up to which a missing lock proves that the worker has ended. After a longer
        silence, it may have lost only its connection."""
        ...

    def close(self) -> None: ...


def presence(database_url: str) -> Presence:
    database = Database.of(database_url)
    if database.kind == "postgresql":
        return AdvisoryPresence(database_url)
    return FilePresence(Path(f"{database.path}.workers"))


class FilePresence:
    """Locks a file for each worker, in a folder next to the SQLite file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self._held: dict[str, int] = {}

    def appear(self, worker: str) -> None:
        with self._guard:
            if worker not in self._held:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                self._sweep()
                file = os.open(self._path(worker), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(file)
                    raise _taken(worker) from None
                self._held[worker] = file

    def gone(self, workers: Sequence[str]) -> frozenset[str]:
        return frozenset(worker for worker in workers if _free(self._path(worker)))

    def sure_s(self) -> float:
        return math.inf

    def close(self) -> None:
        with self._guard:
            for file in self._held.values():
                os.close(file)
            self._held.clear()

    def _path(self, worker: str) -> Path:
        return self._folder / quote(worker, safe="")

    def _sweep(self) -> None:
        for path in self._folder.iterdir():
            if path.stat().st_mtime < time.time() - KEPT_S and _free(path):
                path.unlink(missing_ok=True)


def _free(path: Path) -> bool:
    """Whether the file exists and its lock is free."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


class AdvisoryPresence:
    """Takes an advisory lock for each worker, on a separate connection.

    The server notices a lost node within half a minute. After a restart of the server, all workers count as gone until
    they appear again, which they do before they claim. Their runs may then be taken over, and nothing is lost.
    """

    NUMBER = 0x666C6774
    """First key of these advisory locks; the second key is the worker's number."""
    SURE_S = 20.0
    """Less than the keepalives need to notice a lost or stalled node. The end of a process is noticed at once."""
    RESTARTED_S = 60.0
    """Seconds after a lost connection in which other workers may have lost theirs too, although they still work."""
    KEEPALIVES = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"

    def __init__(self, database_url: str) -> None:
        self._database = Database.of(database_url, options=self.KEEPALIVES)
        self._guard = threading.Lock()
        self._connection: Connection | None = None
        self._workers: set[str] = set()
        self._locked: set[str] = set()
        self._lost_at = -math.inf

    def appear(self, worker: str) -> None:
        self._workers.add(worker)
        self._asked(IS_THERE)

    def gone(self, workers: Sequence[str]) -> frozenset[str]:
        there = set(self._asked(LOCKS, number=self.NUMBER))
        return frozenset(worker for worker in workers if _number(worker) not in there)

    def sure_s(self) -> float:
        return self.SURE_S if time.monotonic() - self._lost_at > self.RESTARTED_S else 0.0

    def close(self) -> None:
        with self._guard:
            if self._connection is not None:
                # Otherwise the server releases the locks some time after the connection has ended.
                with suppress(*self._database.unavailable):
                    self._connection.rows(UNLOCK_ALL)
            self._drop()

    def _asked(self, query: Statement, **given: int) -> list[int]:
        """Runs a query on the connection that holds the locks; replaces the connection if it is lost."""
        with self._guard:
            try:
                return self._ask(query, **given)
            except self._database.unavailable:
                self._lost_at = time.monotonic()
                self._drop()
                return self._ask(query, **given)

    def _ask(self, query: Statement, **given: int) -> list[int]:
        if self._connection is None:
            self._connection = self._database.connect()
        for worker in self._workers - self._locked:
            if self._connection.column(LOCK, number=self.NUMBER, worker=_number(worker)) != [True]:
                raise _taken(worker)
            self._locked.add(worker)
        return self._connection.column(query, **given)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._locked.clear()
        if connection is not None:
            connection.close()


def _taken(worker: str) -> ConfigError:
    return ConfigError(f"another process has a worker named {worker!r}: give each worker a unique name")


def _number(worker: str) -> int:
    """Number of the worker's lock: 31 bits, so that it fits a positive int4."""
    return int.from_bytes(hashlib.sha256(worker.encode()).digest()[:4]) >> 1
