"""Journal storage: SQL (SQLite or PostgreSQL) or memory."""

from agent.store.journal import StoreJournal
from agent.store.opening import memory_journal, sql_journal

__all__ = ["StoreJournal", "memory_journal", "sql_journal"]
