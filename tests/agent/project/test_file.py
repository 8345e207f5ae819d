"""``project.yaml``, ``seed.py`` and ``documents/``: what a project brings, and what tools are told of it."""

from __future__ import annotations

import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from agent.admin.evals import Wish, evaluate
from agent.admin.graph import show_graph
from agent.config import Settings
from agent.project.project import EMBEDDED, LiveProject, load_project
from agent.project.project_file import read_project_file
from agent.serve.factories import seed_data
from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from flightloop.errors import ConfigError
from flightloop.tool import ToolContext
from tools.config import ToolsConfig
from tools.host import ToolHosts

AGENT = "name: librarian\ninstructions: Help.\nplanning: false\ntools: [search_knowledge, query_sql]\npolicy: default\n"
DECLARED = """\
database: library.db
tables: [books]
products: >-
  SELECT id, title AS name, shelf AS category, fee_cents AS price_cents, copies AS stock,
  0 AS warranty_months, 0 AS final_sale FROM books;
terms:
  branch: SELECT branch AS name FROM books
descriptions:
  search_knowledge: Search the library's books and rules.
"""
SEED = """\
import sqlite3
from contextlib import closing
from pathlib import Path

from .shelves import BOOKS


def seed(data: Path) -> None:
    with closing(sqlite3.connect(data / "library.db")) as database, database:
        database.execute("CREATE TABLE books (id INTEGER PRIMARY KEY, title, shelf, fee_cents, copies, branch)")
        database.execute("CREATE TABLE loans (book INTEGER, reader TEXT)")
        database.executemany("INSERT INTO books VALUES (?, ?, ?, ?, ?, ?)", BOOKS)
"""
SHELVES = "BOOKS = [(1, 'Moby Dick', 'novels', 50, 3, 'Harbour'), (2, 'Ulysses', 'novels', 70, 1, 'Hill')]\n"
LOANS = "# Loans\n\nA loan lasts 28 days. Each day after that costs 0.20 EUR.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "agents/librarian.yaml": AGENT,
        "project.yaml": DECLARED,
        "seed.py": SEED,
        "shelves.py": SHELVES,
        "documents/loans.md": LOANS,
    }
    for name, text in files.items():
        (tmp_path / "library" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "library" / name).write_text(text)
    return tmp_path / "library"


@pytest.fixture
def settings(folder: Path, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", project=folder)


def titles(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [title for (title,) in database.execute("SELECT title FROM books ORDER BY id")]


def test_data_is_seeded_where_there_is_none(settings: Settings) -> None:
    path = settings.data / "library.db"
    seed_data(settings)
    assert titles(path) == ["Moby Dick", "Ulysses"]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM books WHERE id = 1")
    seed_data(settings)
    assert titles(path) == ["Ulysses"]
    path.write_bytes(b"")
    seed_data(settings)
    assert titles(path) == ["Moby Dick", "Ulysses"]


def test_a_project_without_a_database_seeds_nothing(folder: Path, settings: Settings) -> None:
    (folder / "project.yaml").unlink()
    with pytest.raises(ConfigError, match=r"seed\.py would never run: name the database"):
        seed_data(settings)
    (folder / "seed.py").unlink()
    seed_data(settings)
    assert not settings.data.exists()


def test_a_seed_that_fails_is_told(folder: Path, settings: Settings) -> None:
    (folder / "shelves.py").write_text("BOOKS = [(1,)]\n")
    with pytest.raises(ConfigError, match=r"seed\.py: the data can't be seeded: .*Incorrect number of bindings"):
        seed_data(settings)
    (folder / "seed.py").write_text("import os\nprint('on fire', flush=True)\nos._exit(3)\n")
    (settings.data / "library.db").unlink(missing_ok=True)
    with pytest.raises(ConfigError, match=r"its process ended, .*on fire"):
        seed_data(settings)


async def test_tools_go_by_what_the_project_declares(
    folder: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    seed_data(settings)
    project = load_project(folder, ())
    context = ToolContext("run:0:0", "default", "librarian", "s", "run", settings.data)
    async with ToolHosts(project.tools, ToolsConfig(spare=0), settings.data) as hosts:
        found = await hosts.call("search_knowledge", {"query": "Ulysses"}, context)
        rules = await hosts.call("search_knowledge", {"query": "how long is a loan"}, context)
        rows = await hosts.call("query_sql", {"sql": "SELECT title FROM books WHERE id = 1"}, context)
        hidden = await hosts.call("query_sql", {"sql": "SELECT * FROM loans"}, context)
        stated = await hosts.call("check_facts", {"text": "Ulysses costs 0.50 EUR. A loan lasts 28 days."}, context)
    assert found.content[0] == {
        "document": "products 2",
        "text": "Ulysses: 0.70 EUR, 1 in stock, no warranty, category novels",
    }
    assert rules.content[0]["text"].startswith("Loans: A loan lasts 28 days.")
    assert rows.content["rows"] == [["Moby Dick"]]
    assert hidden.error == "No table loans. Tables: books."
    assert [one["right"] for one in stated.content] == [False, True]
    assert "replacing tool host" not in caplog.text  # the index stays in memory


async def test_a_project_that_declares_nothing_has_no_data(folder: Path, settings: Settings) -> None:
    seed_data(settings)
    (folder / "project.yaml").unlink()
    (folder / "documents" / "loans.md").unlink()
    project = load_project(folder, ())
    context = ToolContext("run:0:0", "default", "librarian", "s", "run", settings.data)
    async with ToolHosts(project.tools, ToolsConfig(spare=0), settings.data) as hosts:
        found = await hosts.call("search_knowledge", {"query": "Ulysses"}, context)
        rows = await hosts.call("query_sql", {"sql": "SELECT title FROM books"}, context)
    assert "There are no documents" in (found.error or "")
    assert "the project names none" in (rows.error or "")


def test_sql_that_does_not_fit_the_database_finds_nothing(
    folder: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "project.yaml").write_text(DECLARED.replace("title AS name", "name"))
    show_graph(settings, "loans", {})
    assert "A loan lasts 28 days." in capsys.readouterr().out
    with pytest.raises(ConfigError, match="nothing is known about 'Ulysses'"):
        show_graph(settings, "Ulysses", {})


def test_descriptions_are_the_projects(folder: Path) -> None:
    live = LiveProject(folder, ())
    before = live.current()
    told = {name: before.registry.get(name).description for name in ("search_knowledge", "calculator")}
    assert told["search_knowledge"] == "Search the library's books and rules."
    assert before.tools.registry.definitions(["search_knowledge"])[0].function.description == told["search_knowledge"]
    (folder / "project.yaml").write_text(DECLARED.replace("books and rules", "shelves"))
    assert live.current().registry.get("search_knowledge").description == "Search the library's shelves."
    assert live.current().tools_sha256 != before.tools_sha256
    assert live.current().registry.get("calculator").description == told["calculator"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", r"project\.yaml: must be a mapping"),
        ("database: ../keys.db", r"project\.yaml:1: database: String should match pattern"),
        ("database: a.db\nproduct: SELECT 1", r"project\.yaml:2: product: no such field; did you mean products\?"),
        ("tables: [books]", r"project\.yaml:1: project: .*set database to its file"),
        (
            "descriptions:\n  serch_knowledge: x",
            r"project\.yaml:2: descriptions: no tool is named serch_knowledge; did",
        ),
        ("database: [", r"project\.yaml:1: not YAML"),
    ],
)
def test_a_mistake_is_told_with_its_place(folder: Path, text: str, said: str) -> None:
    live = LiveProject(folder, ())
    good = live.current()
    (folder / "project.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_project(folder, ())
    assert live.current() is good


async def test_tasks_begin_with_what_is_seeded(folder: Path, settings: Settings) -> None:
    task = {
        "id": "a",
        "agent": "librarian",
        "turns": [{"user": "Hi"}],
        "setup": ["DELETE FROM books WHERE id = 2"],
        "expect": [{"sql": "SELECT title FROM books", "rows": [["Moby Dick"]]}],
    }
    (folder / "tasks" / "data").mkdir(parents=True)
    (folder / "tasks" / "data" / "notes.txt").write_text("kept")
    (folder / "tasks" / "first.jsonl").write_text(f"{json.dumps(task)}\n{json.dumps(task | {'id': 'b'})}\n")
    async with ScriptedServer(ScriptedAnswer(text="Hello.")).serving() as url:
        with_model = settings.model_copy(update={"model_url": url})
        assert await evaluate(with_model, Wish(), Console(file=io.StringIO()))
    assert not settings.data.exists()


def test_the_default_project_declares_its_shop() -> None:
    declared = read_project_file(EMBEDDED)
    assert declared.database == "shop.db"
    assert declared.data(EMBEDDED).folder == EMBEDDED


@pytest.mark.parametrize("tool", ["query_sql", "chart_sql", "describe_table", "summarise_column"])
def test_sql_and_rows_bound_to_the_subject_exclude_each_other(folder: Path, tool: str) -> None:
    (folder / "policies").mkdir(exist_ok=True)
    policy = folder / "policies/readers.yaml"
    policy.write_text("name: readers\nversion: '1'\nsubject:\n  results:\n    reader: {}\n")
    agent = AGENT.replace("query_sql", tool).replace("default", "readers")
    (folder / "agents/librarian.yaml").write_text(agent)
    with pytest.raises(ConfigError, match=rf"librarian.yaml:4: tools: {tool} can rename .* the column reader"):
        load_project(folder, ())
    policy.write_text("name: readers\nversion: '1'\nsubject:\n  results:\n    reader: {tools: [search_knowledge]}\n")
    assert load_project(folder, ()).agents["librarian"].policy == "readers"
