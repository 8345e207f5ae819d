"""Tasks that are played: what solves them, what a recording answers, and what the command says."""

from __future__ import annotations

import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agent.admin.evals import Wish, evaluate
from agent.api import create_app
from agent.budgets import Prices
from agent.chat_model import Capabilities
from agent.config import Settings
from agent.evals.judging import judge
from agent.evals.play import Model, Played, Player
from agent.evals.recording import Recording
from agent.evals.tally import Tally
from agent.evals.task import Call, RecordedCall, Task, TaskError, load, read
from agent.fakes import LocalHosts, RuleGuard, ScriptedChatModel, Turn, calls, on, plan, text
from agent.fakes_api import KEY, Said, ScriptedChat, api_deps
from agent.fakes_server import ScriptedAnswer, ScriptedServer
from agent.project import Project, load_project
from agent.serving import bind, running
from flightloop.cli.project import write_project
from flightloop.errors import ConfigError
from flightloop.tool import ToolContext
from flightloop.verdicts import Action, Stage
from tools.registry import Registry

HEARD = {"id": "a", "agent": "notes", "turns": [{"user": "What is on my list?"}], "answer": ["dentist"]}
CONTEXT = ToolContext("run:1:0", "default", "notes", "session", "run", Path())
LIST: Turn = calls(("list_reminders", {}))
PLAN = plan("look", "list_reminders")


def task(**fields: Any) -> Task:
    return Task.model_validate(HEARD | fields)


def told(**fields: Any) -> tuple[str, ...]:
    made = [Call(tool="add", arguments={"a": 1, "b": 2}), Call(tool="list")]
    return judge(Path(), ["The dentist."], task(**fields), made).problems


def test_calls_are_judged_by_the_arguments_that_are_named() -> None:
    assert told(calls=[{"tool": "add", "arguments": {"a": 1}}, {"tool": "list"}]) == ()
    assert told(calls=[{"tool": "add", "arguments": {"a": 2}}]) == ('not called: add {"a": 2}',)
    assert told(calls=[{"tool": "list", "arguments": {"all": None}}]) == ('not called: list {"all": null}',)
    assert told(never=[{"tool": "drop"}, {"tool": "add", "arguments": {"a": 2}}]) == ()
    assert told(never=[{"tool": "list"}]) == ("called: list",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": []}, "says nothing of success"),
        ({"ends": "running"}, "ends: Value error, a run does not end running"),
        ({"recorded": [], "setup": ["SELECT 1"]}, "no tool is performed where results are recorded"),
        ({"recorded": [{"tool": "a", "result": 1}]}, "recorded.0.result: Extra inputs"),
        ({"calls": [{"tool": ""}]}, "calls.0.tool"),
    ],
)
def test_a_task_that_cannot_be_judged_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text(json.dumps(HEARD | change))
    with pytest.raises(TaskError, match=r"one\.jsonl:1: ") as caught:
        load(tmp_path / "one.jsonl")
    assert said in str(caught.value)


def test_ids_are_unique_over_files(tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    one.write_text(json.dumps(HEARD))
    two.write_text("\n" + json.dumps(HEARD))
    with pytest.raises(TaskError, match=r"two.jsonl:2: id 'a' is taken by .*one.jsonl:1"):
        read([one, two])


async def test_a_recording_answers_in_order_and_says_what_it_does_not_know(project: Project) -> None:
    add, lists = {"tool": "add_reminder", "arguments": {"text": "x"}}, {"tool": "list_reminders"}
    recorded = [lists | {"content": []}, add | {"content": "added"}, lists | {"content": ["x"], "note": "cut"}]
    hosts = Recording(project.registry, [RecordedCall.model_validate(call) for call in recorded])
    assert (await hosts.call("list_reminders", {}, CONTEXT)).content == []
    assert (await hosts.call("add_reminder", {"text": "x"}, CONTEXT)).content == "added"
    for _ in range(2):  # one that only reads tells the same once more
        again = await hosts.call("list_reminders", {}, CONTEXT)
        assert (again.ok, again.content, again.note) == (True, ["x"], "cut")
    assert hosts.off_the_record == 0
    for text_of_it in ("x", "y"):  # one that writes does not
        outcome = await hosts.call("add_reminder", {"text": text_of_it}, CONTEXT)
        assert not outcome.ok
        assert "not on record" in (outcome.error or "")
    assert hosts.off_the_record == 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_project(tmp_path / "notes")
    return tmp_path / "notes"


@pytest.fixture
def project(folder: Path) -> Project:
    return load_project(folder, ())


def player(project: Project, script: list[Turn], guard: RuleGuard | None = None) -> Player:
    registry = Registry.load(project.tool_sources)
    hosts = LocalHosts([registry.tool(name) for name in ("add_reminder", "list_reminders")])
    model = Model(ScriptedChatModel(script), "fake", Prices(1.0, 1.0))
    made = guard or RuleGuard()
    return Player(project, model, lambda *_: hosts, lambda _: made, lambda path: None)


async def test_a_task_is_played_with_data_of_its_own(project: Project) -> None:
    [(where, first)] = read(project.tasks)
    add = calls(("add_reminder", {"text": "Call the dentist"}))
    script = [plan("add", "add_reminder"), add, text("Added.")] * 2
    async with player(project, [*script, plan("say"), text("Added.")]) as made:
        played = [await made.play(first, where) for _ in range(3)]
    assert [one.solved for one in played] == [True, True, False]  # the second starts anew; the third adds nothing
    assert "no such table: reminders" in played[2].problems[0]
    assert played[2].problems[0].startswith(f"{where}: ")
    assert [call.tool for call in played[0].calls] == ["add_reminder"]
    tally = Tally(played)
    assert (tally.solved, tally.share) == (2, 2 / 3)
    assert tally.sentence().startswith("2 of 3 solved: 67% (")
    document = tally.document()["tasks"][0]
    assert (document["solved"], document["turns"][0]["answer"]) == (True, "Added.")
    assert document["tokens"] > 0
    assert document["cost"] > 0


async def test_recorded_results_come_in_the_place_of_the_tools(project: Project) -> None:
    recorded = [{"tool": "list_reminders", "content": ["call the dentist"]}]
    wrong = calls(("add_reminder", {"text": "x"}))
    script = [PLAN, LIST, text("The dentist."), PLAN, wrong, plan("again"), text("Sorry.")]
    async with player(project, script) as made:
        good = await made.play(task(recorded=recorded, ends="succeeded"), "f:1")
        bad = await made.play(task(recorded=recorded, never=[{"tool": "add_reminder"}]), "f:1")
    assert (good.solved, good.off_the_record) == (True, 0)
    assert bad.off_the_record == 1
    assert bad.problems == ("no answer matches 'dentist'", "called: add_reminder")


async def test_a_person_s_no_is_recorded_too(project: Project) -> None:
    guard = RuleGuard(on(Stage.TOOL_CALL, Action.ASK))
    add = {"tool": "add_reminder", "arguments": {"text": "x"}}
    script = [plan("add", "add_reminder"), calls(("add_reminder", {"text": "x"})), plan("stop"), text("No dentist.")]
    async with player(project, script, guard) as made:
        played = await made.play(task(recorded=[add | {"denied": "not now"}]), "f:1")
    assert (played.solved, played.off_the_record, played.calls) == (True, 0, ())


async def test_how_a_run_ended_is_told(project: Project) -> None:
    guard = RuleGuard(on(Stage.INPUT, Action.BLOCK))
    async with player(project, [], guard) as made:
        blocked = await made.play(task(), "f:1")
        wanted = await made.play(task(answer=[], ends="blocked"), "f:1")
        wrong = await made.play(task(setup=["DELETE FROM nowhere"], expect=[]), "f:7")
    assert blocked.problems == (
        "no answer matches 'dentist'",
        "it ended blocked (guardrail): the rule says block",
    )
    assert wanted.solved
    assert wrong.problems == ("f:7: task a: setup 'DELETE FROM nowhere': no such table: nowhere",)


def test_repeats_are_no_cases_of_their_own_unless_there_is_one_task() -> None:
    def plays(ids: list[str]) -> Tally:
        return Tally([Played(task(id=name), f"f:{name}", (), (), ()) for name in ids])

    assert plays(["a"] * 9).interval[0] > plays(["a"] * 5 + ["b"] * 4).interval[0]


PLANNED = ScriptedAnswer(text=json.dumps({"goal": "look", "tools": []}))


def settings(folder: Path, url: str | None) -> Settings:
    return Settings(home=folder.parent / "home", project=folder, model_url=url)


async def test_the_command_shows_what_was_solved_and_what_not(folder: Path, tmp_path: Path) -> None:
    (folder / "tasks" / "more.jsonl").write_text(json.dumps(HEARD | {"recorded": []}))
    shown, out = io.StringIO(), tmp_path / "out" / "eval.json"
    console = Console(file=shown, width=160)
    server = ScriptedServer(PLANNED, ScriptedAnswer(text="Nothing."), PLANNED, ScriptedAnswer(text="The dentist."))
    async with server.serving() as url:
        assert not await evaluate(settings(folder, url), Wish(out=out), console)
        assert await evaluate(settings(folder, url), Wish(ids=frozenset({"a"}), repeat=2), console)  # the last repeats
        assert await evaluate(settings(folder, url), Wish(agent="notes", at_least=0.5), console)
    assert "no such table: reminders" in shown.getvalue()
    assert "1 of 2 solved: 50% (" in shown.getvalue()
    document = json.loads(out.read_text())
    assert [(one["id"], one["solved"]) for one in document["tasks"]] == [("add-one", False), ("a", True)]


async def test_data_of_the_project_is_there_before_each_task(folder: Path) -> None:
    (folder / "tasks" / "data").mkdir()
    with closing(sqlite3.connect(folder / "tasks" / "data" / "shop.db")) as database:
        database.execute("CREATE TABLE reminders (text TEXT)")
        database.execute("INSERT INTO reminders VALUES ('call the dentist')")
        database.commit()
    async with ScriptedServer(PLANNED, ScriptedAnswer(text="Yes.")).serving() as url:
        assert await evaluate(settings(folder, url), Wish(), Console(file=io.StringIO()))


async def test_a_running_platform_lends_its_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "tasks" / "first.jsonl").write_text(json.dumps(HEARD | {"recorded": []}))
    model = ScriptedChat([Said(PLANNED.text), Said("The dentist.")], Capabilities(context_length=4096))
    monkeypatch.setenv("FLIGHTLOOP_API_KEY", KEY)
    monkeypatch.setenv("FLIGHTLOOP_URL", "http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="set FLIGHTLOOP_MODEL_URL, or start the platform"):
        await evaluate(settings(folder, None), Wish(), Console(file=io.StringIO()))
    async with running(create_app(api_deps(model=model)), bind("127.0.0.1", 0)) as url:
        monkeypatch.setenv("FLIGHTLOOP_URL", url)
        assert await evaluate(settings(folder, None), Wish(), Console(file=io.StringIO()))
    assert len(model.requests) == 2


@pytest.mark.parametrize(
    ("line", "wish", "said"),
    [
        (HEARD | {"agent": "clerk"}, Wish(), "first.jsonl:1: agent: no agent is named 'clerk'"),
        (HEARD, Wish(ids=frozenset({"b"})), "no task has the id b"),
        (HEARD, Wish(agent="clerk"), "no such task is of the agent clerk"),
        (HEARD | {"turns": []}, Wish(), "first.jsonl:1: turns"),
        (HEARD, Wish(files=(Path("none.jsonl"),)), "none.jsonl: can't be read"),
        (None, Wish(), "tasks: no [*].jsonl; name a file with --tasks, or .* --project DIR or FLIGHTLOOP_PROJECT"),
    ],
)
async def test_what_is_wrong_is_told_before_anything_is_played(
    line: dict[str, Any] | None, wish: Wish, said: str, folder: Path
) -> None:
    file = folder / "tasks" / "first.jsonl"
    file.unlink() if line is None else file.write_text(json.dumps(line))
    with pytest.raises(ConfigError, match=said):
        await evaluate(settings(folder, "http://127.0.0.1:1"), wish, Console(file=io.StringIO()))
