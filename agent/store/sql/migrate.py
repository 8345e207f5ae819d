"""Upgrades a database to the newest schema, without an ini file or a shell command."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine
from sqlalchemy.engine import make_url

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATIONS_LOCK = int.from_bytes(b"migrate")
"""Number of the PostgreSQL advisory lock that is held during an upgrade."""


def migrate(database_url: str) -> None:
    """Upgrades to the newest revision; creates a missing SQLite file and its folder.

    Several processes may start at once: the upgrade is one transaction that takes a lock first, so the second process
    finds nothing to do.
    """
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    engine = create_engine(url, poolclass=NullPool, connect_args=_connect_args(url.get_backend_name()))
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATIONS_LOCK})")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("COMMIT")
            connection.commit()
    finally:
        engine.dispose()


def _connect_args(backend: str) -> dict[str, object]:
    return {"isolation_level": None, "timeout": 30} if backend == "sqlite" else {}
