"""The analyst's project: its data, its policy, and tasks whose expected numbers are computed from the database."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agent.admin.evals import Wish, evaluate
from agent.admin.policies import test_policy as check_cases
from agent.config import Settings
from agent.evals.judging import judge
from agent.evals.play import Model, Player
from agent.evals.task import Call, Task, read
from agent.evals.transcript import Transcript
from agent.models.answer_chunks import Turn, calls, text
from agent.project.project import Project, load_project
from agent.testing.fakes import ScriptedChatModel
from agent.testing.images import local_images
from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from examples.analyst.company.reports import TABLES
from examples.analyst.company.sales import FILE, MONTHS, PRODUCTS, REGIONS, fill
from examples.analyst.seed import seed
from flightloop.events import Judged
from flightloop.tool import ToolContext, ToolRefused
from guardrails.guard import Guard
from guardrails.narrow import narrow
from guardrails.policy import Policy, unhurried
from guardrails.types import GuardContext
from model.engine.compiler import check_tools
from tools.config import ToolsConfig
from tools.host import ToolHosts
from tools.registry import Registry
from tools.seeding import seed as seed_in_sandbox
from tools.vision import ChartReading, read_image

FOLDER = Path(__file__).parents[2] / "examples" / "analyst"
ORACLE: dict[str, dict[str, str]] = json.loads((Path(__file__).parent / "data" / "analyst_oracle.json").read_text())
TASKS = {task.id: task for _, task in read(sorted((FOLDER / "tasks").glob("*.jsonl")))}
TOOLS = Registry.load(["tools.builtin"])


@pytest.fixture(scope="module")
def project() -> Project:
    return load_project(FOLDER, ())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("company")
    seed(folder)
    return folder


@pytest.fixture
def company(data: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(data / FILE)) as database:
        yield database


def call(project: Project, data: Path, name: str, **arguments: Any) -> Any:
    context = ToolContext("run:1:0", "default", "analyst", "session", "run", data, project=project.data)
    assert TOOLS.problems(name, arguments) == []
    return TOOLS.tool(name).function(context, **arguments)


# data


def test_the_company_is_the_same_every_time(data: Path, tmp_path: Path, company: sqlite3.Connection) -> None:
    fill(tmp_path / FILE)
    with closing(sqlite3.connect(tmp_path / FILE)) as again:
        assert list(again.iterdump()) == list(company.iterdump())
    count, regions, products = company.execute(
        "SELECT COUNT(*), COUNT(DISTINCT region), COUNT(DISTINCT product) FROM sales"
    ).fetchone()
    assert (regions, products) == (len(REGIONS), len(PRODUCTS))
    assert count == (len(MONTHS) * len(REGIONS) - 6) * len(PRODUCTS)  # East opened after six months
    wrong = "SELECT COUNT(*) FROM sales JOIN products ON name = product WHERE revenue <> units * price"
    assert company.execute(wrong).fetchone() == (0,)


@pytest.mark.parametrize("name", TABLES)
def test_tables_have_the_database_s_numbers(data: Path, company: sqlite3.Connection, name: str) -> None:
    with (data / "tables" / f"{name}.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert rows == [[str(cell) for cell in row] for row in company.execute(TABLES[name])]


@pytest.mark.parametrize(
    ("chart", "kind", "sql", "printed"),
    [
        ("regions", "bar", "SELECT region, SUM(revenue) FROM sales WHERE month LIKE '2025-%' GROUP BY 1", True),
        ("years", "bar", "SELECT region, SUM(revenue) FROM sales WHERE month LIKE '2024-%' GROUP BY 1", True),
        ("units", "bar", "SELECT product, SUM(units) FROM sales WHERE month LIKE '2025-%' GROUP BY 1", True),
        ("months", "line", "SELECT month, SUM(revenue) FROM sales WHERE month LIKE '2025-%' GROUP BY 1", False),
        ("mix", "pie", """SELECT product, round(100.0 * SUM(revenue) / (SELECT SUM(revenue) FROM sales
            WHERE month LIKE '2025-%')) FROM sales WHERE month LIKE '2025-%' GROUP BY 1""", True),
    ],
)  # fmt: skip
def test_charts_can_be_read(
    data: Path, company: sqlite3.Connection, chart: str, kind: str, sql: str, printed: bool
) -> None:
    reading = read_image((data / "charts" / f"{chart}.png").read_bytes())
    assert isinstance(reading, ChartReading)
    assert reading.kind == kind
    points = reading.series[0].points
    truth = dict(company.execute(sql).fetchall())
    if kind == "line":  # its labels are short names of months
        assert [point.y for point in points] == pytest.approx([truth[month] for month in sorted(truth)], rel=0.05)
        assert [point.x for point in points][::11] == ["Jan", "Dec"]
    else:
        assert {point.x: point.y for point in points} == truth
    assert all(point.printed is printed for point in points)


def test_the_data_are_seeded_in_the_sandbox(tmp_path: Path) -> None:
    seed_in_sandbox(FOLDER, tmp_path / "data", ToolsConfig(spare=0))
    made = sorted(str(path.relative_to(tmp_path / "data")) for path in (tmp_path / "data").rglob("*.*"))
    files = [task.turns[0].table or task.turns[0].image for task in TASKS.values()]
    assert set(made) == {FILE, "charts/years.png"} | {file for file in files if file}


# policy


async def test_the_policy_decides_its_cases_as_expected() -> None:
    told: list[str] = []
    policies = FOLDER / "policies"
    assert await check_cases(Settings(), policies / "analyst.yaml", policies / "cases.jsonl", told.append), told


def test_the_agent_has_no_tool_that_writes_or_reaches_out(project: Project) -> None:
    agent = project.agent("analyst")
    specs = [project.registry.get(name) for name in agent.tools]
    assert len(specs) == 7
    assert [spec.name for spec in specs if spec.writes or spec.permissions] == []
    assert [spec.name for spec in specs if not spec.returns_untrusted] == []
    policy = project.policy_of(agent).document
    assert policy.tools.allowed("analyst") == frozenset(agent.tools)
    assert list(policy.egress.hosts) == []


def test_another_statement_than_a_select_cannot_be_decoded(project: Project) -> None:
    agent = project.agent("analyst")
    tools = narrow(
        project.policy_of(agent).document, project.registry.definitions(agent.tools), GuardContext(agent="analyst")
    )
    sql = {tool.function.name: tool.function.parameters["properties"].get("sql", {}) for tool in tools}
    assert sql["query_sql"]["pattern"] == sql["chart_sql"]["pattern"] == r"^(SELECT|WITH|select|with)\s"
    check_tools(tools)


HOSTILE = {
    "ATTACH DATABASE '/tmp/x.db' AS x": "Only SELECT",
    "SELECT 1; ATTACH DATABASE '/tmp/x.db' AS x": "exactly one statement",
    "PRAGMA table_info(sales)": "Only SELECT",
    "SELECT * FROM pragma_database_list": "No table pragma_database_list",
    "SELECT sql FROM sqlite_master": "No table sqlite_master",
    "SELECT load_extension('/tmp/evil.so')": "not authorized",
    "SELECT writefile('/tmp/x', 'y')": "no such function|not authorized",
    "DELETE FROM sales": "Only SELECT",
    "UPDATE sales SET revenue = 0": "Only SELECT",
    "INSERT INTO sales SELECT * FROM sales": "Only SELECT",
    "CREATE TABLE x (a)": "Only SELECT",
    "SELECT 1 -- harmless\n; DROP TABLE sales": "exactly one statement",
    "/* SELECT */ DROP TABLE sales": "Only SELECT",
    "SELECT 1 /* never closed": "can't be read|failed",
    "WITH x AS (SELECT 1) DELETE FROM sales": "Only SELECT",
    "WITH RECURSIVE b(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM b) SELECT COUNT(*) FROM b": "longer than 3 s",
    "SELECT COUNT(*) FROM sales a, sales b, sales c, sales d": "longer than 3 s",
    "SELECT zeroblob(1000000000)": "more than 100,000 bytes",
    "SELECT replace(hex(zeroblob(40000)), '0', 'long')": "more than 100,000 bytes",
    "SELECT group_concat(a.product || b.product) FROM sales a, sales b": "more than 100,000 bytes",
    "EXPLAIN SELECT 1": "Only SELECT",
    "VACUUM INTO '/tmp/copy.db'": "Only SELECT",
}


@pytest.mark.parametrize("sql", HOSTILE, ids=lambda sql: sql[:40].replace("\n", " "))
def test_hostile_sql_is_refused_and_changes_nothing(project: Project, data: Path, sql: str) -> None:
    before = (data / FILE).read_bytes()
    with pytest.raises(ToolRefused, match=HOSTILE[sql]):
        call(project, data, "query_sql", sql=sql)
    assert (data / FILE).read_bytes() == before
    assert sorted(path.name for path in data.iterdir()) == ["charts", FILE, "tables"]


def test_huge_results_are_cut_and_not_drawn(project: Project, data: Path) -> None:
    found = call(project, data, "query_sql", sql="SELECT * FROM sales")
    assert (len(found["rows"]), found["note"]) == (50, "only the first 50 rows are shown")
    with pytest.raises(ToolRefused, match="more than 50 rows, too many for a chart"):
        call(project, data, "chart_sql", sql="SELECT product, units FROM sales")


# tasks


def test_there_are_eight_questions_for_the_database_six_tables_and_six_charts() -> None:
    assert {task.id for task in TASKS.values()} == set(ORACLE)
    sent = [(bool(task.turns[0].table), bool(task.turns[0].image)) for task in TASKS.values()]
    assert [sent.count(kind) for kind in ((False, False), (True, False), (False, True))] == [8, 6, 6]


def truth_of(company: sqlite3.Connection, task: str) -> list[Any]:
    [row] = company.execute(ORACLE[task]["sql"]).fetchall()
    return list(row)


def solved(task: Task, answer: str, made: list[Call]) -> bool:
    return judge(Path(), task, Transcript([answer], made)).solved


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.id)
def test_the_true_numbers_solve_a_task_and_no_others(
    project: Project, data: Path, company: sqlite3.Connection, task: Task
) -> None:
    truth, answer = truth_of(company, task.id), ORACLE[task.id]["answer"]
    made = made_for(project, data, task.id)
    assert solved(task, answer.format(*truth), made)
    assert not task.called or not solved(task, answer.format(*truth), [])
    assert not solved(task, "", made)
    for place, value in enumerate(truth):
        wrong = [*truth]
        wrong[place] = "Atlantis" if isinstance(value, str) else value + 1
        assert not solved(task, answer.format(*wrong), made), wrong


def made_for(project: Project, data: Path, task: str) -> list[Call]:
    """The right calls of a task for the database, after they were performed."""
    if not task.startswith("sql-"):
        return []
    chart = ORACLE[task].get("chart")
    name, arguments = (
        ("chart_sql", {"sql": chart, "kind": "bar"}) if chart else ("query_sql", {"sql": ORACLE[task]["sql"]})
    )
    assert call(project, data, name, **arguments)
    return [Call(tool=name, arguments=arguments)]


@pytest.fixture
def player(project: Project, data: Path) -> Any:
    def made(script: list[Turn]) -> tuple[Player, ScriptedChatModel]:
        model, images = ScriptedChatModel(script), local_images()

        def fill(folder: Path) -> None:
            shutil.copytree(data, folder, dirs_exist_ok=True)

        def hosts(project: Project, folder: Path) -> ToolHosts:
            return ToolHosts(project.tools, ToolsConfig(spare=0), folder)

        def guards(policy: Policy) -> Guard:
            return Guard(unhurried(policy))

        return Player(project, Model(model, "fake"), hosts, guards, fill, lambda _: images), model

    return made


async def test_a_question_for_the_database_is_played(player: Any, company: sqlite3.Connection) -> None:
    truth = truth_of(company, "sql-region")
    script = [calls(("query_sql", {"sql": ORACLE["sql-region"]["sql"]})), text(f"{truth[0]} had the most, {truth[1]}.")]
    playing, model = player(script)
    async with playing:
        played = await playing.play(TASKS["sql-region"], "here")
    assert played.problems == ()
    assert str(truth[1]) in model.requests[-1].messages[-1].text
    assert "Tables: sales(month, region" in model.requests[0].model_dump_json()


async def test_a_table_and_a_chart_reach_the_model_as_text(player: Any) -> None:
    playing, model = player([text("West, 280092."), text("Espresso has 37 %.")])
    async with playing:
        table = await playing.play(TASKS["csv-largest"], "here")
        chart = await playing.play(TASKS["chart-share"], "here")
    assert (table.problems, chart.problems) == ((), ())
    first, second = (request.messages[-1].text for request in model.requests)
    assert "West|280092|16931" in first
    assert "Espresso: 37" in second


async def test_a_wrong_number_is_marked(player: Any) -> None:
    playing, _ = player([text("West has the largest revenue, 222277.")])
    async with playing:
        played = await playing.play(TASKS["csv-largest"], "here")
    [exchange] = played.exchanges
    verdicts = [event.verdict for event in exchange.events if isinstance(event, Judged)]
    [reason] = [verdict.reason for verdict in verdicts if verdict.rail == "groundedness"]
    assert "the data have West 280092" in str(reason)


async def test_the_command_plays_the_tasks_with_data_seeded_in_the_sandbox(tmp_path: Path) -> None:
    chosen = ["sql-chart", "csv-lookup", "chart-smallest"]
    arguments = json.dumps({"sql": ORACLE["sql-chart"]["chart"], "kind": "bar"})
    answers = {  # in the order of the files of tasks
        "chart-smallest": [ScriptedAnswer(text="Kettle sold the fewest units, 1,403.")],
        "sql-chart": [
            ScriptedAnswer(calls=[{"name": "chart_sql", "arguments": arguments}]),
            ScriptedAnswer(text="East has the least."),
        ],
        "csv-lookup": [ScriptedAnswer(text="South sold 9,622 units.")],
    }
    shown = io.StringIO()
    server = ScriptedServer(*(one for several in answers.values() for one in several))
    async with server.serving() as url:
        settings = Settings(home=tmp_path / "home", project=FOLDER, model_url=url)
        wish = Wish(ids=frozenset(chosen))
        assert await evaluate(settings, wish, Console(file=shown, width=160)), shown.getvalue()
    told = json.dumps([request["messages"][-1] for request in server.requests])
    assert "Kettle: 1403" in told  # what was read in the chart
    assert "vega_lite" in told
    assert "South|160066|9622" in told
