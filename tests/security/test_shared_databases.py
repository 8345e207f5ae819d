"""A database that a tool makes is every tool's, as all of the deployment's tool data: hosts have users of their own."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.security.conftest import WAYS, Deployment

NOTES = '''
import sqlite3
from contextlib import closing

from flightloop.tool import ToolContext, tool


@tool(effect="unsafe")
def note(context: ToolContext, name: str, text: str, uri: bool = False) -> int:
    """Writes a note; returns how many there are."""
    with closing(sqlite3.connect(name.replace("DATA", str(context.data)), uri=uri)) as database, database:
        database.execute("PRAGMA journal_mode = wal")
        database.execute("CREATE TABLE IF NOT EXISTS notes (text TEXT)")
        database.execute("INSERT INTO notes VALUES (?)", (text,))
        return database.execute("SELECT count(*) FROM notes").fetchone()[0]


@tool(effect="unsafe")
def hold(context: ToolContext, name: str) -> str:
    """Opens a database a second time while it writes; what another program sees of its lock."""
    path = str(context.data / name)
    with closing(sqlite3.connect(path, isolation_level=None)) as first:
        first.execute("CREATE TABLE notes (text TEXT)")
        first.execute("BEGIN IMMEDIATE")
        with closing(sqlite3.connect(path, timeout=0)) as second:
            try:
                second.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                return str(error)
    return "free"
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project" / "tools.py"
    path.parent.mkdir()
    path.write_text(NOTES)
    return path


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_hosts_that_ran_before_write_what_another_one_makes(
    deployment: Deployment, project: Path, mechanisms: tuple[str, ...]
) -> None:
    deployment.mechanisms = mechanisms
    hosts = await deployment.hosts(project)
    tenants = [deployment.context(name) for name in ("one", "two", "three")]
    await asyncio.gather(*(hosts.call("note", {"name": ":memory:", "text": "a"}, each) for each in tenants))
    names = [("DATA/notes.db", False), ("file:DATA/by%20uri.db", True), ("file:DATA/more.db?mode=rwc", True)]
    for name, uri in names:
        given = {"name": name, "text": "a", "uri": uri}
        outcomes = [await hosts.call("note", given, each) for each in tenants]
        assert [outcome.content for outcome in outcomes] == [1, 2, 3], outcomes
    assert {path.name for path in deployment.data.glob("*.db")} == {"notes.db", "by uri.db", "more.db"}


async def test_what_is_no_file_makes_none(deployment: Deployment, project: Path) -> None:
    hosts = await deployment.hosts(project)
    for name in (":memory:", "", "file::memory:", "file:DATA/no.db?mode=ro", "file:DATA/no.db?mode=memory"):
        await hosts.call("note", {"name": name, "text": "a", "uri": name.startswith("file:")}, deployment.context())
    assert not list(deployment.data.iterdir())


async def test_a_second_look_at_a_database_keeps_its_locks(deployment: Deployment, project: Path) -> None:
    hosts = await deployment.hosts(project)
    held = await hosts.call("hold", {"name": "held.db"}, deployment.context())
    assert held.content == "database is locked", held.error
    with closing(sqlite3.connect(deployment.data / "held.db")) as database:
        assert database.execute("SELECT count(*) FROM notes").fetchone() == (0,)
