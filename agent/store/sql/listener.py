"""Listens for writes of other processes with PostgreSQL's LISTEN, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

import psycopg
import structlog

from agent.store.notifier import CHANNEL
from agent.store.sql.connection import Database, first_line

log = structlog.get_logger(__name__)
_AGAIN_S = 1.0
"""Wait before the next attempt to connect."""
_TURN_S = 5.0
"""Longest wait for a notification, after which a lost connection and ``close`` are noticed."""


class Listener:
    """Calls ``on_topic`` with the topic of each notification, and with None when some may have been missed.

    Args:
        database: a PostgreSQL database.
        on_topic: called in the listener's thread.
    """

    def __init__(self, database: Database, on_topic: Callable[[str | None], None]) -> None:
        self._database = database
        self._on_topic = on_topic
        self._ended = threading.Event()
        self.connected = False
        """Whether the listener is connected; if not, waiters must poll."""
        self._thread = threading.Thread(target=self._run, name="journal-listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._listen()
            except psycopg.Error as error:
                log.warning("not listening for the journal's notifications, will try again", error=first_line(error))
            finally:
                self.connected = False
            self._ended.wait(_AGAIN_S)

    def _listen(self) -> None:
        with closing(self._database.connect()) as connection:
            connection.say(f"LISTEN {CHANNEL}")
            self.connected = True
            self._on_topic(None)
            while not self._ended.is_set():
                for notification in connection.driver.notifies(timeout=_TURN_S, stop_after=1):
                    self._on_topic(notification.payload)
