"""Keeps the journal: in SQL (SQLite or PostgreSQL) or in memory."""

from agent.store.journal import StoreJournal
from agent.store.opening import memory_journal, sql_journal

__all__ = ["StoreJournal", "memory_journal", "sql_journal"]
