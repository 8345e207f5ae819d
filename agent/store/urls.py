"""Database URLs as the store's drivers want them."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from flightloop.errors import ConfigError


def synchronous(database_url: str) -> str:
    """The URL for SQLAlchemy's synchronous driver: the store does its own threading, so an
    asynchronous one (``sqlite+aiosqlite``) is exchanged for it, and PostgreSQL's is always psycopg.

    Raises:
        ConfigError: not a database URL.
    """
    try:
        # libpq takes both names, and hosting services hand out either.
        url = make_url(re.sub(r"^postgres(?=[:+])", "postgresql", database_url))
    except ArgumentError as error:
        raise ConfigError(f"FLIGHTLOOP_DATABASE_URL: not a database URL: {error}", param="database_url") from error
    if url.get_backend_name() == "sqlite":
        url = url.set(drivername="sqlite")
    elif url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return url.render_as_string(hide_password=False)


def files_of(database_url: str) -> tuple[Path, ...]:
    """The files that SQLite keeps a database in; none for another one. Raises ConfigError."""
    url = make_url(synchronous(database_url))
    if url.get_backend_name() != "sqlite" or not url.database:
        return ()
    path = Path(url.database).resolve()
    return tuple(path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-journal", ".node", ".workers"))
