"""Writes checkpoints of the audit logs to a file, which should be on another disk or machine than the database.

A line is written when a log has grown and enough time has passed, and at shutdown. Several processes may write the
same file: a lock on it makes them take turns.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from agent.reporting.background import background
from agent.run.acts import CHECKPOINTS, LogEnd
from agent.run.journal import Journal, Projection
from flightloop import private
from flightloop.acts import Act, system
from flightloop.errors import ConfigError
from guardrails.audit_keys import AuditKeys
from guardrails.checkpoints import Checkpoint, Checkpoints, parse

log = structlog.get_logger(__name__)
WRITER = system("checkpoints")


@dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are written."""

    every_s: float = 30.0
    """Longest time until new records are covered."""
    every_records: int = 1000
    """Number of a tenant's new records that are covered at once."""
    poll_s: float = 1.0


class Checkpointer:
    """Writes the checkpoints of a journal.

    Args:
        journal: its projections remember how many lines the file has.
        path: the file; created when needed.
        keys: the last one signs.
        tenant_id: in whose log the beginning of a new file is recorded.
        clock: time of the lines.
    """

    def __init__(
        self,
        journal: Journal,
        path: Path,
        keys: AuditKeys,
        tenant_id: str,
        config: CheckpointConfig | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._journal = journal
        self._path = path
        self._keys = keys
        self._tenant_id = tenant_id
        self._config = config or CheckpointConfig()
        self._clock = clock
        self._covered: dict[str, int] = {}
        self._size = -1
        self._last: Checkpoint | None = None

    async def run(self) -> None:
        """Writes until cancelled; failures are logged and retried."""
        written = -self._config.every_s
        while True:
            try:
                if time.monotonic() - written >= self._config.every_s or await self._many_new():
                    writing = asyncio.ensure_future(self.write())
                    await asyncio.shield(writing)  # the lock on the file must outlive the threads that write it
                    written = time.monotonic()
            except Exception:
                log.exception("audit checkpoint could not be written, will retry", file=str(self._path))
                written = time.monotonic()
            await asyncio.sleep(self._config.poll_s)

    async def write(self) -> int:
        """Covers all records so far. Returns the number of lines written.

        Raises:
            OSError: writing failed.
            ConfigError: there is no key, or the file can't be opened.
        """
        if not self._keys.ring():
            raise ConfigError("there is no key to sign audit checkpoints with")
        async with self._locked() as file:
            await asyncio.to_thread(self._read, file)
            if self._last is None:
                await self._begin(file)
            ends = await self._journal.acts.ends()
            new = {tenant: end for tenant, end in ends.items() if end.seq != self._covered.get(tenant, 0)}
            return await self._append(file, new) if new else 0

    async def _many_new(self) -> bool:
        ends = await self._journal.acts.ends()
        return any(end.seq - self._covered.get(tenant, 0) >= self._config.every_records for tenant, end in ends.items())

    async def _begin(self, file: int) -> None:
        """Writes the first line, and a record of it: a lost file does not go unnoticed."""
        name = uuid.uuid4().hex
        await self._journal.acts.record(self._tenant_id, Act.CHECKPOINTS_BEGUN, WRITER, name, {"file": self._path.name})
        begins = {tenant: (end.seq, end.sha256) for tenant, end in (await self._journal.acts.unsealed()).items()}
        key = self._keys.ring()[-1]
        first = Checkpoint.signed(key, None, file=name, at=self._now(), begins=begins)
        await self._store(file, [first])

    async def _append(self, file: int, ends: Mapping[str, LogEnd]) -> int:
        key, before = self._keys.ring()[-1], self._last
        assert before is not None
        lines = []
        for tenant_id, end in ends.items():
            fields = {"tenant_id": tenant_id, "seq": end.seq, "sha256": end.sha256}
            before = Checkpoint.signed(key, before, file=before.file, at=self._now(), **fields)
            lines.append(before)
        await self._store(file, lines)
        return len(lines)

    async def _store(self, file: int, lines: list[Checkpoint]) -> None:
        """Appends lines. The database knows before which lines may be there, and after which must be there."""
        name = f"{CHECKPOINTS}:{lines[0].file}"
        known = await self._journal.projection(name)
        cursor = known.cursor if known else 0
        least, most = lines[0].number, lines[-1].number + 1
        await self._journal.save_projection(name, Projection(least, {"to": most}), cursor)
        await asyncio.to_thread(_append, file, "".join(line.line for line in lines))
        await self._journal.save_projection(name, Projection(most, {"to": most}), least)
        self._take(Checkpoints(lines))
        self._size = os.fstat(file).st_size

    def _read(self, file: int) -> None:
        """Reads the file if another process has changed it."""
        if os.fstat(file).st_size != self._size:
            text = self._path.read_text(encoding="utf-8", errors="replace")
            self._covered, self._last = {}, None
            self._take(parse(text, self._keys.ring()))
            self._size = len(text.encode())

    def _take(self, found: Checkpoints) -> None:
        for line in found.lines:
            if line.tenant_id is not None:
                self._covered[line.tenant_id] = line.seq
            self._last = line

    def _now(self) -> str:
        return self._clock().astimezone(UTC).isoformat(timespec="milliseconds")

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[int]:
        """The open file, which no other process writes meanwhile."""
        try:
            private.folder(self._path.parent)
            file = private.opener(str(self._path), os.O_RDWR | os.O_APPEND | os.O_CREAT)
        except OSError as error:
            raise ConfigError(
                f"FLIGHTLOOP_AUDIT_CHECKPOINTS: {self._path} cannot be written ({error.strerror})"
            ) from error
        try:
            await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)


def _append(file: int, text: str) -> None:
    """Writes and syncs. A line that a power failure cut off is ended first."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        text = f"\n{text}"
    data = text.encode()
    while data:
        data = data[os.write(file, data) :]
    os.fsync(file)


@asynccontextmanager
async def checkpointing(checkpointer: Checkpointer) -> AsyncIterator[None]:
    """Writes checkpoints while the context is open, and a last one at its end."""
    try:
        async with background(checkpointer.run()):
            yield
    finally:
        try:
            await checkpointer.write()
        except Exception:
            log.exception("last audit checkpoint could not be written")
