"""Hears what other processes have written: PostgreSQL's LISTEN, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

import psycopg
import structlog

from agent.store.notifier import CHANNEL
from agent.store.sql.connection import Database

log = structlog.get_logger(__name__)
_AGAIN_S = 1.0
"""Before another try to connect."""
_TURN_S = 5.0
"""How long one look for notifications takes at most: so soon a lost connection or the end is noticed."""


class Listener:
    """Calls ``heard`` with each notification's topic, and with None whenever some may have been missed.

    Args:
        database: of PostgreSQL.
        heard: called in the listener's thread.
    """

    def __init__(self, database: Database, heard: Callable[[str | None], None]) -> None:
        self._database = database
        self._heard = heard
        self._ended = threading.Event()
        self.connected = False
        """While it is not, waiters have to look by themselves."""
        self._thread = threading.Thread(target=self._run, name="journal-listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._listen()
            except psycopg.Error as error:
                log.warning(
                    "the journal's notifications are not heard, will try again", error=str(error).splitlines()[0]
                )
            finally:
                self.connected = False
            self._ended.wait(_AGAIN_S)

    def _listen(self) -> None:
        with closing(self._database.connect()) as connection:
            connection.say(f"LISTEN {CHANNEL}")
            self.connected = True
            self._heard(None)
            while not self._ended.is_set():
                for notification in connection.driver.notifies(timeout=_TURN_S, stop_after=1):
                    self._heard(notification.payload)
