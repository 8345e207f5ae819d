"""Free disk space of an SQLite journal: a minimum for new work, and a reserve file for emergency stops."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Protocol

import structlog

from agent.store.sql.urls import journal_file
from flightloop import private
from flightloop.errors import Overloaded

log = structlog.get_logger(__name__)
MIB = 1 << 20
MOST = 512 * MIB
SHARE = 0.05
"""Share of the file system that new work leaves free, at most ``MOST``."""
LOOK_S = 1.0
NEAR = 256 * MIB
"""Margin above the minimum. Within it, every call reads the free space: large runs fill tens of MiB a second."""
LOGGED_S = 60.0
RETRY_S = 30.0
SIZE = 8 * MIB
PORTION = MIB
"""Bytes released at a time. An emergency stop needs some KiB; other writes may use up the rest."""


class Usage(Protocol):
    """Result of ``shutil.disk_usage``."""

    @property
    def total(self) -> int: ...

    @property
    def free(self) -> int: ...


class Room:
    """Watches the free disk space. Thread-safe.

    Args:
        file: the journal's file; None if there is no disk to watch, as with PostgreSQL.
        least_mb: MiB that new work leaves free; None: computed from ``SHARE`` and ``MOST``; 0: none.
        keeps: whether to maintain a reserve file next to the journal, which ``give`` shrinks; for the process that
            receives emergency stops.
    """

    def __init__(
        self,
        file: Path | None = None,
        least_mb: int | None = None,
        *,
        keeps: bool = False,
        usage: Callable[[Path], Usage] = shutil.disk_usage,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = file and file.parent
        self._least_mb = least_mb
        self._kept = file.with_name(f"{file.name}.reserve") if file and keeps else None
        self._usage = usage
        self._clock = clock
        self._lock = Lock()
        self._looked = self._logged = float("-inf")
        self._near = False
        self._lacking: str | None = None

    @classmethod
    def of(cls, database_url: str, least_mb: int | None = None, *, keeps: bool = False) -> Room:
        """The room of a journal's database. Raises ConfigError if it is not a database URL."""
        return cls(journal_file(database_url), least_mb, keeps=keeps)

    def lacking(self) -> str | None:
        """Problem with the disk; None if there is none. Recreates the reserve file if there is room for it."""
        with self._lock:
            now = self._clock()
            if self._near or now - self._looked >= LOOK_S:
                self._looked, self._lacking = now, self._look()
            if self._lacking and now - self._logged >= LOGGED_S:  # rarely: the log may be on the same disk
                self._logged = now
                log.warning(self._lacking)
            return self._lacking

    def check(self) -> None:
        """Raises Overloaded if too little space is left. Call it before storing something that may be large."""
        if (lacking := self.lacking()) is not None:
            raise Overloaded(
                f"{lacking}: new work is refused; running work and stops continue. Free disk space or lower"
                " FLIGHTLOOP_DISK_RESERVE_MB, then try again",
                retry_after=RETRY_S,
            )

    def held(self) -> int:
        """Size of the reserve file in bytes."""
        with suppress(OSError):
            return self._kept.lstat().st_size if self._kept else 0
        return 0

    def give(self, held: int) -> bool:
        """Releases a portion of the reserve, unless it is already smaller than ``held``. False if none is left."""
        with self._lock:
            left = self.held()
            if left < held:
                return True
            if self._kept is None or not left:
                return False
            with suppress(OSError):
                if left > PORTION:
                    file = private.opener(str(self._kept), os.O_WRONLY)
                    try:
                        os.ftruncate(file, left - PORTION)
                    finally:
                        os.close(file)
                else:
                    self._kept.unlink()
                return True
        return False

    def _look(self) -> str | None:
        if self._folder is None:
            return None
        try:
            found = self._usage(self._folder)
        except OSError:  # the journal will raise the same error
            return None
        if found.free >= 2 * SIZE and self._kept is not None and self.held() < SIZE:
            self._keep(self._kept)
        least = min(MOST, int(found.total * SHARE)) if self._least_mb is None else self._least_mb * MIB
        self._near = found.free < least + NEAR
        if found.free >= least:
            return None
        return (
            f"the journal's disk is nearly full ({found.free // MIB} MiB are left, {-(-least // MIB)} MiB are reserved"
            " for stops and running work)"
        )

    def _keep(self, path: Path) -> None:
        with suppress(OSError):  # another process was faster; the next look tries again
            file = private.opener(str(path), os.O_RDWR | os.O_CREAT)
            try:
                os.posix_fallocate(file, 0, SIZE)
            finally:
                os.close(file)
