"""A PostgreSQL server of the tests' own: in a folder, on a socket in that folder, gone with the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from agent.store.sql.migrate import migrate
from agent.store.sql.urls import synchronous

NOBODY = 65534


def binaries() -> Path | None:
    """The folder of ``initdb`` and ``pg_ctl``; Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@dataclass
class Postgres:
    folder: Path
    programs: Path
    numbers: Iterator[int] = field(default_factory=count)

    def url(self, database: str) -> str:
        return f"postgresql://flightloop@/{database}?host={self.folder}"

    def database(self) -> str:
        """The URL of a new database with the newest schema."""
        name = f"journal{next(self.numbers)}"
        with psycopg.connect(self._libpq("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE pattern")  # type: ignore[arg-type]
        return self.url(name)

    def drop(self, url: str) -> None:
        """Removes a database that ``database`` made; many that are left take minutes to remove at the end."""
        name = url.partition("?")[0].rpartition("/")[2]
        with psycopg.connect(self._libpq("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]

    def control(self, *arguments: str) -> None:
        """``pg_ctl``; the server refuses to run as root, who becomes nobody for it."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", *arguments)

    def start(self) -> None:
        # Tests don't outlive a power cut: without fsync they take a third of the time.
        given = f"-k {self.folder} -c listen_addresses='' -c fsync=off -c max_connections=200"
        self.control("-l", str(self.folder / "log"), "-o", given, "start")

    def create(self) -> None:
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "flightloop", "-A", "trust", "--no-sync")
        self.start()
        with psycopg.connect(self._libpq("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE pattern")
        migrate(synchronous(self.url("pattern")))

    def _libpq(self, database: str) -> str:
        return f"host={self.folder} user=flightloop dbname={database}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        owner = self.folder.stat()
        done = subprocess.run(
            command,
            user=owner.st_uid,
            group=owner.st_gid,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if "start" not in arguments else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
        )
        assert done.returncode == 0, done.stdout


@contextmanager
def postgres(programs: Path) -> Iterator[Postgres]:
    """A running server."""
    with TemporaryDirectory(prefix="flightloop-postgres-") as folder:
        if os.getuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        server = Postgres(Path(folder), programs)
        server.create()
        try:
            yield server
        finally:
            server.control("-m", "immediate", "stop")
