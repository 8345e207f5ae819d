"""Hears what other processes have written: PostgreSQL's LISTEN, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import structlog
from sqlalchemy.engine import make_url

from agent.store.notifier import CHANNEL

log = structlog.get_logger(__name__)
_AGAIN_S = 1.0
"""Before another try to connect."""
_TURN_S = 5.0
"""How long one look for notifications takes at most: so soon a lost connection or the end is noticed."""


class Listener:
    """Calls ``heard`` with each notification's topic, and with None whenever some may have been missed.

    Args:
        database_url: SQLAlchemy's, of PostgreSQL.
        heard: called in the listener's thread.
    """

    def __init__(self, database_url: str, heard: Callable[[str | None], None]) -> None:
        self._conninfo = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
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
        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            self.connected = True
            self._heard(None)
            while not self._ended.is_set():
                for notification in connection.notifies(timeout=_TURN_S, stop_after=1):
                    self._heard(notification.payload)
