"""Removes what a database keeps of rows that were changed or deleted."""

from __future__ import annotations

import time

from agent.store.sql.connection import Connection, Database, first_line

TABLES = (
    "runs", "events", "writes", "approvals", "answers", "interrupts", "keys", "audit", "spending", "reservations"
)  # fmt: skip
"""Tables that erasure changes."""
PATIENCE_S = 10.0
"""How long to wait for readers that still use the log of an SQLite database."""
PAUSE_S = 0.05


def compacted(database: Database, whole: bool) -> list[str]:
    """Empties the write-ahead log of SQLite and, with ``whole``, rewrites the database's files, for which its other
    users wait. Returns the problems.

    SQLite overwrites what is deleted (``secure_delete``), but versions of the platform before that left it to the
    build of SQLite. ``VACUUM FULL`` of PostgreSQL writes new files of the tables; its write-ahead log has its own
    retention.
    """
    connection = None
    try:
        connection = database.connect()
        if connection.kind == "sqlite":
            if whole:
                connection.say("VACUUM")
            return [] if _truncated(connection) else [f"others read {database.shown}: its write-ahead log stays"]
        for table in TABLES if whole else ():
            connection.say(f"VACUUM (FULL) {table}")
        return []
    except database.unavailable as error:
        return [f"{database.shown} could not be compacted, run the command again: {first_line(error)}"]
    finally:
        if connection is not None:
            connection.close()


def _truncated(connection: Connection) -> bool:
    """Whether the write-ahead log was emptied. Transactions that began earlier and read it prevent that."""
    end = time.monotonic() + PATIENCE_S
    while connection.driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        if time.monotonic() > end:
            return False
        time.sleep(PAUSE_S)
    return True
