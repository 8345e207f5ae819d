"""Checks at start that the keys of the audit log are those that sealed it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg

from agent.store.backend import AuditContext
from agent.store.sql.connection import Database
from agent.store.sql.transaction import SqlTransaction
from agent.store.sql.urls import synchronous
from flightloop.errors import ConfigError
from guardrails.audit_keys import AuditKeys

NO_TABLE = (sqlite3.OperationalError, psycopg.Error)
"""Errors of a database that is new or older than these keys, or can't be used: opening the journal tells."""


def check_sealing(database_url: str, keys: AuditKeys) -> None:
    """Raises ConfigError if the latest records were sealed with a key that is not among ``keys``.

    With another key, the log would look forged from here on.
    """
    known = {key.id for key in keys.ring()}
    if lost := sealing_keys(database_url) - known:
        raise ConfigError(
            f"FLIGHTLOOP_AUDIT_KEY: the audit log was sealed with the key {', '.join(sorted(lost))}, which is neither"
            " set nor in audit-key of FLIGHTLOOP_HOME: restore it. If it is lost, 'python -m agent audit new-key"
            " --lost' begins with another one; older records can then no longer be verified"
        )


def sealing_keys(database_url: str) -> set[str]:
    """Ids of the keys that sealed the last record of each tenant."""
    database = Database.of(synchronous(database_url))
    if database.path is not None and not Path(database.path).is_file():
        return set()  # connecting would create it
    try:
        with closing(database.connect()) as connection:
            tx = SqlTransaction(connection, AuditContext())
            heads = map(tx.audit_head, tx.audit_tenants())
            return {head.key_id for head in heads if head is not None and head.key_id is not None}
    except NO_TABLE:
        return set()
