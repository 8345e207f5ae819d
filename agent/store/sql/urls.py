"""Database URLs: driver, files and servers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import ProgrammingError
from psycopg.pq import Conninfo
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from flightloop.errors import ConfigError

ENDS = ("", "-wal", "-shm", "-journal", ".node", ".workers", ".reserve")
"""Suffixes of the files of an SQLite database; the first one is the database."""


def synchronous(database_url: str) -> str:
    """The URL with the store's synchronous driver: ``sqlite+aiosqlite`` becomes ``sqlite``, and any PostgreSQL driver
    becomes psycopg.

    Raises:
        ConfigError: not a database URL.
    """
    try:
        # libpq accepts both names, and hosting services use either.
        url = make_url(re.sub(r"^postgres(?=[:+])", "postgresql", database_url))
    except ArgumentError as error:
        raise ConfigError(f"FLIGHTLOOP_DATABASE_URL: not a database URL: {error}", param="database_url") from error
    if url.get_backend_name() == "sqlite":
        url = url.set(drivername="sqlite")
    elif url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return url.render_as_string(hide_password=False)


def files_of(database_url: str) -> tuple[Path, ...]:
    """Files of an SQLite database; empty for other databases. Raises ConfigError."""
    url = make_url(synchronous(database_url))
    if url.get_backend_name() != "sqlite" or not url.database:
        return ()
    path = Path(url.database).resolve()
    return tuple(path.with_name(path.name + end) for end in ENDS)


def journal_file(database_url: str) -> Path | None:
    """File of an SQLite database; None for other databases and in memory. Raises ConfigError."""
    named = make_url(synchronous(database_url)).database or ""
    found = () if named.startswith((":memory:", "file:")) else files_of(database_url)
    return found[0] if found else None


def absolute(database_url: str) -> str:
    """The URL with an absolute path, for processes with other working directories. Raises ConfigError."""
    url = make_url(synchronous(database_url))
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith((":memory:", "file:")):
        return database_url
    return url.set(database=os.path.abspath(url.database)).render_as_string(hide_password=False)


@dataclass(frozen=True)
class Servers:
    """Hosts and ports of a database, in any combination. Local sockets are left out."""

    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()


def servers_of(database_url: str) -> Servers:
    """Servers that libpq connects to by this URL and the environment (``PGHOST`` and others).

    Raises:
        ConfigError: not a database URL, or one that uses a libpq service, whose host and port may change later.
    """
    url = make_url(synchronous(database_url))
    if url.get_backend_name() != "postgresql":
        return Servers()
    defaults = {option.keyword.decode(): (option.val or b"").decode() for option in Conninfo.get_defaults()}
    try:
        _, given = url.get_dialect()().create_connect_args(url)
        told = {**defaults, **conninfo_to_dict(given.get("conninfo", "")), **given}
        if told["service"]:
            raise ConfigError(
                "FLIGHTLOOP_DATABASE_URL: give the server's host and port instead of a service (PGSERVICE):"
                " tools are blocked from connecting to them",
                param="database_url",
            )
        hosts = {host for name in ("host", "hostaddr") for host in _listed(told[name]) if host[0] not in "/@"}
        return Servers(tuple(sorted(hosts)), tuple(sorted({int(port) for port in _listed(told["port"])})))
    except (ArgumentError, ProgrammingError, ValueError) as error:
        raise ConfigError(f"FLIGHTLOOP_DATABASE_URL: not a database URL: {error}", param="database_url") from error


def _listed(value: object) -> Iterator[str]:
    """Items of a comma-separated list, which libpq tries in order."""
    return (each.strip() for each in str(value).split(",") if each.strip())
