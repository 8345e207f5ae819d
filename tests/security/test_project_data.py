"""Data that a stranger's project brings: its code and its SQL get no more than its tools have."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from agent.admin.lessons import write_lessons, write_messages
from agent.config import Settings
from agent.serve.factories import seed_data, seed_into
from agent.serve.home import open_home
from flightloop.errors import ConfigError
from flightloop.tool import ProjectData
from tests.security.conftest import KEY
from tools.knowledge.catalogue import Catalogue, read_catalogue

SEED = """
import os, socket, subprocess
from pathlib import Path

def tried(what):
    try:
        return str(what())
    except OSError as error:
        return type(error).__name__

def seed(data):
    attempts = [
        lambda: Path(HOME, "key").read_text(),
        lambda: os.listdir(HOME),
        lambda: Path(PROJECT, "made").write_text("x"),
        lambda: Path(HOME, "made").write_text("x"),
        lambda: socket.create_connection(("127.0.0.1", 9)),
        lambda: subprocess.run(["true"]),
    ]
    (data / "seen.txt").write_text(" ".join(map(tried, attempts)))
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "project").mkdir()
    settings = Settings(home=tmp_path / "home", project=tmp_path / "project")
    open_home(settings.home)
    (settings.home / "key").write_text(KEY)
    (settings.home / "key").chmod(0o600)
    return settings


@pytest.fixture
def project(tmp_path: Path, settings: Settings) -> Path:
    folder = tmp_path / "project"
    (folder / "project.yaml").write_text("database: shop.db\n")
    where = f"HOME, PROJECT = {str(settings.home)!r}, {str(folder)!r}\n"
    (folder / "seed.py").write_text(where + SEED)
    return folder


def test_seeding_runs_in_the_sandbox(project: Path, settings: Settings) -> None:
    seed_data(settings)
    seen = (settings.data / "seen.txt").read_text()
    assert KEY not in seen
    assert all(word.endswith("Error") for word in seen.split()), seen
    assert len(seen.split()) == 6
    assert not (project / "made").exists()
    assert not (settings.home / "made").exists()


def test_a_seed_that_is_a_link_is_refused(project: Path, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text("def seed(data): ...\n")
    (project / "seed.py").unlink()
    (project / "seed.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(ConfigError, match="is a link"):
        seed_data(settings)
    with pytest.raises(ConfigError, match="is a link"):
        seed_into(settings, tmp_path / "data")


def test_a_projects_documents_are_no_links(tmp_path: Path) -> None:
    from tools.knowledge.library import Library

    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "own.md").write_text(f"# Own\n\n{KEY}")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "documents").symlink_to(tmp_path / "private")
    declared = ProjectData(folder=tmp_path / "project")
    assert Library(tmp_path / "data", declared).current().papers.passages == []
    (tmp_path / "project" / "documents").unlink()
    (tmp_path / "project" / "documents").mkdir()
    (tmp_path / "project" / "documents" / "link.md").symlink_to(tmp_path / "private" / "own.md")
    assert Library(tmp_path / "data", declared).current().papers.passages == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT load_extension('/tmp/x.so') AS name",
        "SELECT 1 AS name); ATTACH '/tmp/x.db' AS x; SELECT * FROM (SELECT 1 AS name",
        "SELECT name FROM pragma_database_list",
        "WITH RECURSIVE n(name) AS (SELECT 1 UNION ALL SELECT name + 1 FROM n) SELECT name FROM n",
        "SELECT hex(zeroblob(100000000)) AS name",
        "DELETE FROM products RETURNING name",
        "SELECT name FROM endless",
        "SELECT name FROM slow",
    ],
)
def test_a_projects_sql_reads_and_nothing_else(tmp_path: Path, sql: str) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.execute("CREATE TABLE products (name)")
        database.execute("INSERT INTO products VALUES ('Desk Lamp')")
        database.execute("CREATE VIEW endless AS SELECT a.name FROM products a, products b")
        long = "replace(hex(zeroblob(100000)), '0', word)"
        database.execute(f"CREATE TABLE slow (word, name AS (instr({long}, {long} || 'x')))")
        database.execute("INSERT INTO slow VALUES ('a')")
        database.commit()
    before = (tmp_path / "shop.db").read_bytes()
    with suppress(sqlite3.Error, sqlite3.Warning):
        assert read_catalogue(tmp_path, ProjectData(database="shop.db", terms=(("kind", sql),))) == Catalogue()
    assert (tmp_path / "shop.db").read_bytes() == before


def test_a_virtual_table_of_a_missing_module_hides_no_product(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.execute("CREATE TABLE products (name)")
        database.execute("INSERT INTO products VALUES ('Desk Lamp')")
        database.execute("PRAGMA writable_schema = ON")
        row = ("table", "vec", "vec", 0, "CREATE VIRTUAL TABLE vec USING vec0(x)")
        database.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
        database.commit()
    declared = ProjectData(database="shop.db", terms=(("kind", "SELECT name FROM products"),))
    assert read_catalogue(tmp_path, declared).terms == [("kind", "Desk Lamp")]


async def test_lessons_of_others_need_trust(project: Path, settings: Settings, tmp_path: Path) -> None:
    (project / "lessons").mkdir()
    (project / "lessons" / "cases.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    (project / "agents").mkdir()
    (project / "agents" / "clerk.yaml").write_text("instructions: Help.\n")
    with pytest.raises(ConfigError, match="--trusted"):
        await write_lessons(settings, 1, 1, tmp_path / "rows.jsonl", False, print)
    with pytest.raises(ConfigError, match="--trusted"):
        write_messages(settings, 1, 1, tmp_path / "rows.jsonl", print)
    assert not (tmp_path / "ran").exists()
