"""Opens journals: in an SQL database or in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from agent.store.backend import AuditContext
from agent.store.journal import POLL_S, StoreJournal, utcnow
from agent.store.memory import MemoryBackend
from agent.store.sql.backend import SqlBackend
from agent.store.sql.disk_room import Room
from agent.store.sql.urls import synchronous


def sql_journal(
    database_url: str,
    *,
    clock: Callable[[], datetime] = utcnow,
    poll_s: float = POLL_S,
    urgent: bool = False,
    room: Room | None = None,
    audit: AuditContext | None = None,
) -> StoreJournal:
    """Opens a durable journal.

    Args:
        database_url: SQLAlchemy URL, such as ``sqlite:////data/flightloop.db``.
        urgent: whether its writes take precedence over those of other processes; used for the emergency stop.
        room: reserved disk space that is released for writes that fail because the disk is full.
        audit: keys that seal audit records; None: the records have digests only.

    Raises:
        ConfigError: the database cannot be opened or migrated.
    """
    backend = SqlBackend(synchronous(database_url), urgent=urgent, room=room, audit=audit)
    return StoreJournal(backend, clock=clock, poll_s=poll_s)


def memory_journal(
    *, clock: Callable[[], datetime] = utcnow, poll_s: float = POLL_S, audit: AuditContext | None = None
) -> StoreJournal:
    """Opens a journal that lives in this process only."""
    return StoreJournal(MemoryBackend(audit), clock=clock, poll_s=poll_s)
