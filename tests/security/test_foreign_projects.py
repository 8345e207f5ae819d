"""A project of somebody else, which is loaded, evaluated and written into: it gets nothing of the platform's."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import ValidationError
from rich.console import Console

from agent.admin.evals import Wish, evaluate
from agent.admin.output import tell
from agent.admin.regressions import append
from agent.config import Settings
from agent.evals.databases import MOST_FILES, prepare
from agent.evals.judging import judge
from agent.evals.task import Expectation, Task, TaskError
from agent.evals.transcript import Transcript
from agent.project.project import MOST_DOCUMENTS, LiveProject, load_project
from agent.serve import factories
from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from flightloop.errors import ConfigError
from tools.mcp.pins import FILE as PINS
from tools.mcp.pins import write_pins

KEY = "fl_the_deployments_own_key"
ROOT = Path(__file__).resolve().parents[2]
SEES = """
from pathlib import Path
from flightloop import tool

def tried(path):
    try:
        return Path(path).read_text(errors="replace")
    except OSError as error:
        return type(error).__name__

SEEN = " ".join(map(tried, {paths!r}))

@tool(effect="pure")
def told() -> str:
    "What was seen."
    return SEEN
told.__flightloop_tool__.spec.__dict__["description"] = SEEN
"""
AGENT = "name: clerk\ninstructions: Help.\nplanning: false\ntools: [told]\npolicy: clerk\n"
POLICY = 'name: clerk\nversion: "1"\ntools: {allow: {clerk: [told]}}\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name, text in {"agents/clerk.yaml": AGENT, "policies/clerk.yaml": POLICY, "tools.py": SEES}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "tasks").mkdir()
    return folder


def filled(home: Path) -> Path:
    home.mkdir(mode=0o700)
    for name in ("key", "flightloop.db"):
        (home / name).write_text(KEY)
    return home


@pytest.mark.parametrize("place", [".flightloop", "state"])
def test_a_project_around_the_home_does_not_see_it_while_it_is_loaded(project: Path, place: str) -> None:
    home = filled(project / place)
    paths = [str(home / "key"), str(home / "flightloop.db"), str(project / "agents" / "clerk.yaml")]
    (project / "tools.py").write_text(SEES.format(paths=paths))
    loaded = factories.read_project(Settings(home=home, project=project))
    seen = loaded.registry.get("told").description
    assert KEY not in seen
    assert "instructions: Help." in seen, "what belongs to the project is there"


def test_another_platforms_home_is_not_shown_either(project: Path, tmp_path: Path) -> None:
    home = filled(project / ".flightloop")
    (project / "tools.py").write_text(SEES.format(paths=[str(home / "key")]))
    loaded = factories.read_project(Settings(home=tmp_path / "mine", project=project))
    assert KEY not in loaded.registry.get("told").description


def test_a_journal_that_lies_elsewhere_is_not_shown(project: Path, tmp_path: Path) -> None:
    journals = [project / "runs.db", project / "runs.db-wal"]
    for journal in journals:
        journal.write_text(KEY)
    (project / "tools.py").write_text(SEES.format(paths=list(map(str, journals))))
    settings = Settings(home=tmp_path / "home", project=project, database_url=f"sqlite:///{journals[0]}")
    assert KEY not in factories.read_project(settings).registry.get("told").description
    assert set(journals) <= set(factories.tools_config(settings).protected)


def test_a_project_in_the_home_is_an_error_that_says_what_to_do(project: Path) -> None:
    with pytest.raises(ConfigError, match="move the project elsewhere"):
        factories.read_project(Settings(home=project.parent, project=project))


# -- evaluation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["tasks/data/key.txt", "tasks/data/folder", "tasks/data", "tasks"])
async def test_data_that_tasks_begin_with_is_not_copied_through_a_link(
    project: Path, tmp_path: Path, link: str
) -> None:
    home = filled(tmp_path / "home")
    task = {"id": "a", "agent": "clerk", "turns": [{"user": "Hi"}], "answer": ["."]}
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text(json.dumps(task) + "\n")
    (project / "tools.py").write_text(SEES.format(paths=[]))
    (project / "tasks").rmdir()
    place = project / link
    place.parent.mkdir(parents=True, exist_ok=True)
    if link == "tasks":
        (home / "data").mkdir()
    place.symlink_to(home / "key" if link.endswith(".txt") else home)
    async with ScriptedServer(ScriptedAnswer(text="Hello.")).serving() as url:
        settings = Settings(home=tmp_path / "mine", project=project, model_url=url)
        with pytest.raises(ConfigError, match="regular file or folder"):
            await evaluate(settings, Wish(files=(tasks,)), Console(file=io.StringIO()))


def task_of(**fields: object) -> Task:
    return Task.model_validate({"id": "a", "agent": "clerk", "turns": [{"user": "Hi"}], "answer": ["."], **fields})


@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH 'FOREIGN' AS other",
        "VACUUM INTO 'NEW'",
        "COMMIT",
        "PRAGMA temp_store_directory = '/tmp'",
        "PRAGMA writable_schema = ON",
        "SELECT load_extension('FOREIGN')",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "SELECT zeroblob(1000000000)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT zeroblob(9000000) FROM n",
    ],
)
@pytest.mark.parametrize("name", ["shop.db", "notes.sqlite"])
def test_a_tasks_sql_stays_in_its_database(
    tmp_path: Path, statement: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.evals.databases.MOST_SECONDS", 0.2)
    (data := tmp_path / "data").mkdir()
    foreign, new, own = data / "foreign.db", tmp_path / "new.db", data / name
    with closing(sqlite3.connect(foreign)) as journal:
        journal.execute("CREATE TABLE keys (secret TEXT)")
        journal.execute("INSERT INTO keys VALUES ('them')")
        journal.commit()
    before = foreign.read_bytes()
    statement = statement.replace("FOREIGN", str(foreign)).replace("NEW", str(new))
    with pytest.raises(TaskError, match="task a: setup"):
        prepare(data, task_of(database=name, setup=["CREATE TABLE t (a)", statement]))
    assert (foreign.read_bytes(), new.exists()) == (before, False)
    with closing(sqlite3.connect(own)) as shop:
        assert shop.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,), "all of a setup or nothing"
    if not statement.startswith(("COMMIT", "VACUUM")):
        asking = task_of(expect=[Expectation(sql=statement, rows=[], database=name)])
        with pytest.raises(TaskError, match="task a: expect"):
            judge(data, asking, Transcript(["hello"]))


def test_a_tasks_regular_expressions_have_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.evals.judging.MOST_SECONDS", 0.2)
    with pytest.raises(TaskError, match=r"task a: '\^\(a\|a\)\*\$': takes longer than 0.2 s"):
        judge(tmp_path, task_of(answer=["^(a|a)*$"]), Transcript(["a" * 60 + "b"]))
    with pytest.raises(ValidationError, match="is too complex"):
        task_of(answer=["((a{1,100}){1,100}){1,100}"])
    assert judge(tmp_path, task_of(answer=[r"\bdone\b"]), Transcript(["It is Done."])).solved


def test_a_setup_and_an_expectation_do_what_they_are_for(tmp_path: Path) -> None:
    setup = ["CREATE TABLE t (a, b)", "INSERT INTO t VALUES (1, 'x'), (2, 'y')"]
    prepare(tmp_path, task_of(database="notes.db", setup=setup))
    right = task_of(expect=[Expectation(sql="SELECT a, upper(b) FROM t ORDER BY a", rows=[[1, "X"], [2, "Y"]])])
    assert judge(tmp_path, right, Transcript(["hello"])).solved


def works(data: Path, **database: str) -> list[Callable[[], object]]:
    """What opens a task's database."""
    expectation = Expectation(sql="SELECT * FROM keys", rows=[], **database)
    return [
        lambda: prepare(data, task_of(setup=["SELECT 1"], **database)),
        lambda: judge(data, task_of(expect=[expectation]), Transcript(["hello"])),
    ]


@pytest.mark.parametrize("name", ["shop.db", "notes.sqlite", "deep/notes.db"])
@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-journal", "folder"])
def test_a_link_that_a_tool_left_in_the_databases_place_is_not_followed(tmp_path: Path, end: str, name: str) -> None:
    foreign = tmp_path / "foreign"
    (foreign / name).parent.mkdir(parents=True)
    prepare(foreign, task_of(database=name, setup=["CREATE TABLE keys (secret TEXT)"]))
    data = tmp_path / "data"
    if end == "folder":
        place = (data / name).parent
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to((foreign / name).parent)
    else:
        (data / name).parent.mkdir(parents=True)
        (data / f"{name}{end}").symlink_to(foreign / name)
    for work in works(data, database=name):
        with pytest.raises(TaskError, match="is not a regular f"):
            work()


def test_a_link_is_not_taken_for_the_only_database(tmp_path: Path) -> None:
    prepare(tmp_path, task_of(database="foreign.db", setup=["CREATE TABLE keys (secret TEXT)"]))
    (data := tmp_path / "data").mkdir()
    (data / "notes.db").symlink_to(tmp_path / "foreign.db")
    os.mkfifo(data / "pipe.db")
    for work in works(data):
        with pytest.raises(TaskError, match="the tools' data has no database"):
            work()


def test_a_folder_of_countless_files_is_not_searched_for_a_database(tmp_path: Path) -> None:
    for number in range(MOST_FILES + 1):
        (tmp_path / str(number)).touch()
    for work in works(tmp_path):
        with pytest.raises(TaskError, match=f"more than {MOST_FILES} files"):
            work()


@pytest.mark.parametrize("name", ["shop.db", "notes.sqlite"])
def test_a_journal_beside_a_tasks_database_removes_nothing(tmp_path: Path, name: str) -> None:
    """SQLite ends an unfinished write, and removes a file that the write's journal names."""
    (key := tmp_path / "key").write_text(KEY)
    (data := tmp_path / "data").mkdir()
    prepare(data, task_of(database=name, setup=["CREATE TABLE keys (secret TEXT)"]))
    path, magic = str(key).encode(), bytes.fromhex("d9d505f920a163d7")
    end = path + len(path).to_bytes(4, "big") + (sum(path) & 0xFFFFFFFF).to_bytes(4, "big") + magic
    (data / f"{name}-journal").write_bytes(magic + bytes(504) + end)
    for work in (*works(data), *works(data, database=name)):
        with pytest.raises(TaskError, match="has an unfinished transaction"):
            work()
    assert key.read_text() == KEY


# -- what the platform writes into a project ------------------------------------------------------


def test_pins_take_a_links_place_and_go_nowhere_else(tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / PINS).symlink_to(profile)
    path = write_pins(tmp_path / "project", {})
    assert (profile.exists(), path.is_symlink(), json.loads(path.read_text())) == (False, False, {})
    assert sorted(os.listdir(tmp_path / "project")) == [PINS]


def test_a_regression_is_not_written_through_a_link(tmp_path: Path) -> None:
    profile, task = tmp_path / "profile", task_of()
    (tmp_path / "regressions.jsonl").symlink_to(profile)
    with pytest.raises(ConfigError, match="cannot be written"):
        append(tmp_path / "regressions.jsonl", task, [])
    assert not profile.exists()
    append(tmp_path / "plain.jsonl", task, [])
    assert json.loads((tmp_path / "plain.jsonl").read_text())["id"] == "a"


LIBRARIES = ("structlog", "typer", "yaml", "httpx", "pydantic", "numpy", "torch", "rich", "streamlit", "safetensors")
STARTED = {
    "agent": ["--help"],
    "agent.testing": ["no port"],
    "agent.serve.front": [],
    "agent.serve.tether": [],
    "bench": ["--help"],
    "dashboards": [],
    "guardrails.train_content": ["--help"],
    "model.tuner": ["--help"],
    "observability.none": [],
    "tools.child": [],
}
"""A module of each package, with arguments that let it end when it has been imported."""


@pytest.mark.parametrize("module", STARTED)
@pytest.mark.any_user
def test_files_of_the_working_folder_are_no_libraries_of_the_platform(tmp_path: Path, module: str) -> None:
    trace = tmp_path / "trace"
    for name in (*LIBRARIES, *sys.stdlib_module_names):
        (tmp_path / f"{name}.py").write_text(f"open({str(trace)!r}, 'a').write('{name} ')\nraise SystemExit(9)\n")
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sdk")])}
    environment = {**os.environ, **paths, "FLIGHTLOOP_CONSOLE_PORT": "none"}
    command = [sys.executable, "-m", module, *STARTED[module]]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=100)
    assert not trace.exists(), trace.read_text()
    assert ended.returncode != 9


def test_each_package_that_is_started_keeps_the_working_folder_out() -> None:
    """Of the standard library Python loads much before any module of ours, but not on every system the same."""
    mains = [
        path.relative_to(ROOT) for path in ROOT.glob("*/**/*.py") if 'if __name__ == "__main__"' in path.read_text()
    ]
    packages = {path.parts[0] for path in mains if (ROOT / path.parts[0] / "__init__.py").is_file()}
    assert packages >= {"agent", "bench", "dashboards", "guardrails", "model", "observability", "tools"}
    for package in packages:
        imports, guard, *_ = (ROOT / package / "__init__.py").read_text().partition('if sys.argv[:1] == ["-m"]')
        assert guard, package
        assert re.findall(r"^import .*|^from .*", imports, re.MULTILINE) == ["import os", "import sys"], package


async def test_what_a_server_tells_while_it_is_pinned_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tell("weather: new\n    The \x1b]0;owned\x07weather \u202etxt.exe")
    assert capsys.readouterr().out == "weather: new\n    The \ufffd]0;owned\ufffdweather \ufffdtxt.exe\n"


@pytest.mark.parametrize("name", ["agents/f.yaml", "policies/f.yaml", "mcp.yaml", "mcp.lock.json", "tools.py"])
@pytest.mark.parametrize("kind", ["pipe", "device", "endless"])
@pytest.mark.any_user
def test_a_file_that_never_ends_holds_up_nobody(project: Path, name: str, kind: str) -> None:
    """The platform looks at the files of a project while others wait for it: the last good one stays."""
    (project / "tools.py").write_text(SEES.format(paths=[]))
    live = LiveProject(project, ())
    before = live.current()
    place = project / name
    place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    else:
        with place.open("wb") as file:
            file.truncate(64 * 1024**3)
    began = time.monotonic()
    assert live.current() is before
    with pytest.raises(ConfigError):
        load_project(project, ())
    assert time.monotonic() - began < 30


ODD = {
    "aliases": "a: &a [x, x]\nb: &b [*a, *a]\ninstructions: [*b, *b]\n",
    "levels": "[" * 5000,
    "date": "instructions: 2001-13-45\n",
    "number": f"max_tokens: {'9' * 5000}\n",
    "large": f"instructions: {'x' * 300_000}\n",
    "merged": "a: &a {x: 1}\n<<: *a\n",
}


@pytest.mark.parametrize("name", ["agents/f.yaml", "policies/f.yaml", "mcp.yaml"])
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.any_user
def test_a_document_that_unfolds_or_is_odd_is_an_error_with_its_name(project: Path, name: str, odd: str) -> None:
    (project / "tools.py").write_text(SEES.format(paths=[]))
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text(ODD[odd])
    with pytest.raises(ConfigError, match=name):
        load_project(project, ())


def test_documents_that_are_no_text_are_an_error(project: Path) -> None:
    (project / "tools.py").write_text(SEES.format(paths=[]))
    (project / "mcp.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match=r"mcp\.yaml"):
        load_project(project, ())


def test_there_is_an_end_of_documents(project: Path) -> None:
    (project / "tools.py").write_text(SEES.format(paths=[]))
    live = LiveProject(project, ())
    before = live.current()
    for number in range(MOST_DOCUMENTS + 1):
        (project / "agents" / f"agent{number}.yaml").touch()
    assert live.current() is before
    with pytest.raises(ConfigError, match=f"more than {MOST_DOCUMENTS} files"):
        load_project(project, ())


async def test_a_project_that_takes_long_to_load_holds_up_nobody(project: Path) -> None:
    """A thread loads it; the event loop, on which stops are looked for, goes on with the last good one meanwhile."""
    (project / "tools.py").write_text(SEES.format(paths=[]))
    live = LiveProject(project, ())
    before = live.current()
    live.follow(every_s=0.01)
    (project / "tools.py").write_text("import time\ntime.sleep(1)\n" + SEES.format(paths=[]))
    turns = 0
    async with asyncio.timeout(60):
        while live.current() is before:
            turns += 1
            await asyncio.sleep(0.01)
    assert turns > 10
