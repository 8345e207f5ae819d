"""Room on the disk of an SQLite journal: what new work has to leave, and a file that is given up for a stop."""

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
"""New work leaves this share of the file system, ``MOST`` at most."""
LOOK_S = 1.0
NEAR = 256 * MIB
"""With less than this to spare the disk is looked at each time: large runs fill it at tens of MiB a second."""
LOGGED_S = 60.0
RETRY_S = 30.0
SIZE = 8 * MIB
PORTION = MIB
"""A stop takes some KiB. Who gave up all at once would have nothing for the next one, once others have written."""


class Usage(Protocol):
    """What ``shutil.disk_usage`` tells."""

    @property
    def total(self) -> int: ...

    @property
    def free(self) -> int: ...


class Room:
    """May be asked from any thread.

    Args:
        file: the journal's; None: there is no disk to look at, as with PostgreSQL.
        least_mb: MiB that new work leaves; None: as ``SHARE`` and ``MOST`` say; 0: none.
        keeps: keeps a file beside the journal that ``give`` gives up. For the process that answers stops.
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
        """Raises ConfigError: not a database URL."""
        return cls(journal_file(database_url), least_mb, keeps=keeps)

    def lacking(self) -> str | None:
        """What is wrong with the disk, if anything is. Makes the file anew where there is room for it."""
        with self._lock:
            now = self._clock()
            if self._near or now - self._looked >= LOOK_S:
                self._looked, self._lacking = now, self._look()
            if self._lacking and now - self._logged >= LOGGED_S:  # seldom: the log may be on that disk, too
                self._logged = now
                log.warning(self._lacking)
            return self._lacking

    def check(self) -> None:
        """Before something is stored that may be large. Raises Overloaded: too little is left."""
        if (lacking := self.lacking()) is not None:
            raise Overloaded(
                f"{lacking}: nothing new is taken, what runs goes on, and stops are answered. Whoever runs the platform"
                " has to free some, or to change FLIGHTLOOP_DISK_RESERVE_MB; then try again",
                retry_after=RETRY_S,
            )

    def held(self) -> int:
        """Bytes that could be given up."""
        with suppress(OSError):
            return self._kept.lstat().st_size if self._kept else 0
        return 0

    def give(self, held: int) -> bool:
        """Gives up a portion, unless somebody else did since ``held``. False: there is nothing left to give."""
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
        except OSError:  # the journal itself will tell
            return None
        if found.free >= 2 * SIZE and self._kept is not None and self.held() < SIZE:
            self._keep(self._kept)
        least = min(MOST, int(found.total * SHARE)) if self._least_mb is None else self._least_mb * MIB
        self._near = found.free < least + NEAR
        if found.free >= least:
            return None
        return (
            f"the journal's disk is nearly full ({found.free // MIB} MiB are left, and {-(-least // MIB)} MiB are kept"
            " for stops and for runs under way)"
        )

    def _keep(self, path: Path) -> None:
        with suppress(OSError):  # somebody else was faster: at the next look
            file = private.opener(str(path), os.O_RDWR | os.O_CREAT)
            try:
                os.posix_fallocate(file, 0, SIZE)
            finally:
                os.close(file)
