"""Opens a journal on each kind of backend."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

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
) -> StoreJournal:
    """A durable journal; ``database_url`` is SQLAlchemy's, e.g. ``sqlite:////data/flightloop.db``.

    Args:
        urgent: its writes go before those of other processes: the stop's.
        room: what it keeps is given up for writes that a full disk refuses.

    Raises:
        ConfigError: the database cannot be opened or migrated.
    """
    return StoreJournal(SqlBackend(synchronous(database_url), urgent=urgent, room=room), clock=clock, poll_s=poll_s)


def memory_journal(*, clock: Callable[[], datetime] = utcnow, poll_s: float = POLL_S) -> StoreJournal:
    """A journal that is gone with its process."""
    return StoreJournal(MemoryBackend(), clock=clock, poll_s=poll_s)
