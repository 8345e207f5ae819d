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

from agent.admin.evals import Show, Wish, evaluate
from agent.api import create_app
from agent.config import Settings
from agent.evals.databases import prepare
from agent.evals.dialogue import dialogue
from agent.evals.judging import judge
from agent.evals.play import Model, Played, Player
from agent.evals.recording import Recording
from agent.evals.tally import Tally
from agent.evals.task import Call, RecordedCall, Task, TaskError, load, read
from agent.evals.transcript import Transcript
from agent.loop.local_hosts import LocalHosts
from agent.models.answer_chunks import Turn, calls, plan, text
from agent.models.chat_model import Capabilities
from agent.project.project import Project, load_project
from agent.run.budgets import Prices
from agent.serve.http_server import bind, running
from agent.testing.api import KEY, Said, ScriptedChat, api_deps
from agent.testing.fakes import RuleGuard, ScriptedChatModel, on
from agent.testing.images import local_images
from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from flightloop.cli.console import PlainConsole
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
    transcript = Transcript(["One moment.", "The dentist."], made, asked=made[:1])
    return judge(Path(), task(**fields), transcript).problems


def test_calls_are_judged_by_the_arguments_that_are_named() -> None:
    assert told(called=[{"tool": "add", "arguments": {"a": 1}}, {"tool": "list"}]) == ()
    assert told(called=[{"tool": "add", "arguments": {"a": 2}}]) == ('not called: add {"a": 2}',)
    assert told(called=[{"tool": "list", "arguments": {"all": None}}]) == ('not called: list {"all": null}',)
    assert told(not_called=[{"tool": "drop"}, {"tool": "add", "arguments": {"a": 2}}]) == ()
    assert told(not_called=[{"tool": "list"}]) == ("called: list",)
    assert told(asked=[{"tool": "add", "arguments": {"b": 2}}]) == ()
    assert told(asked=[{"tool": "list"}]) == ("no approval was requested for: list",)


def test_what_is_said_is_judged_by_the_last_answer_or_by_all() -> None:
    assert told(answer=["MOMENT"], says=["dentist"], says_not=["doctor"]) == ()
    assert told(says=["moment"]) == ("the last answer does not match 'moment'",)
    assert told(says_not=["moment", "doctor"]) == ("an answer matches 'moment'",)


def filled(database: Path, *texts: str) -> None:
    database.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("PRAGMA journal_mode = WAL")
        opened.execute("CREATE TABLE notes (text TEXT)")
        opened.executemany("INSERT INTO notes VALUES (?)", [(text,) for text in texts])
        opened.commit()


def found(data: Path, *texts: str, **database: str) -> tuple[str, ...]:
    expectation = {"sql": "SELECT text FROM notes", "rows": [[text] for text in texts]}
    return judge(data, task(expect=[expectation], **database), Transcript(["The dentist."])).problems


def test_the_only_database_is_asked_or_the_one_that_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"task a: the tools' data has no database; .* name it"):
        found(tmp_path)
    (tmp_path / "notes.txt").write_text("no database")
    filled(tmp_path / "one.sqlite", "one")
    assert found(tmp_path, "one") == ()
    filled(tmp_path / "two.db", "two")
    filled(tmp_path / "deep" / "three.db", "three")
    with pytest.raises(TaskError, match=r"several databases \(one.sqlite, two.db\); name one"):
        found(tmp_path)
    assert found(tmp_path, "two", database="two.db") == ()
    assert found(tmp_path, "three", database="deep/three.db") == ()
    mixed = task(
        database="one.sqlite",
        expect=[
            {"sql": "SELECT text FROM notes", "rows": [["one"]]},
            {"sql": "SELECT text FROM notes", "rows": [["two"]], "database": "two.db"},
        ],
    )
    assert judge(tmp_path, mixed, Transcript(["The dentist."])).solved
    with pytest.raises(TaskError, match=r"the tools' data has no file four\.db"):
        found(tmp_path, database="four.db")


def test_a_file_that_is_no_database_is_a_problem_of_its_task(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database" * 99)
    with pytest.raises(TaskError, match="task a: setup: file is not a database"):
        prepare(tmp_path, task(setup=["SELECT 1"], database="notes.txt"))
    with pytest.raises(TaskError, match="task a: expect 'SELECT text FROM notes': file is not a database"):
        found(tmp_path, database="notes.txt")


def test_a_setup_creates_the_database_that_it_names(tmp_path: Path) -> None:
    make = ["CREATE TABLE notes (text TEXT)", "INSERT INTO notes VALUES ('one')"]
    with pytest.raises(TaskError, match="to create one, name it"):
        prepare(tmp_path, task(setup=make))
    prepare(tmp_path, task(setup=make, database="notes.db"))
    prepare(tmp_path, task(setup=["UPDATE notes SET text = 'two'"]))
    assert found(tmp_path, "two") == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": []}, "expects nothing: set one of expect, answer, says"),
        ({"ends": "running"}, "ends: running is not the status of an ended run"),
        ({"recorded": [], "setup": ["SELECT 1"]}, "setup and expect can't be used with recorded results"),
        ({"recorded": [{"tool": "a", "result": 1}]}, "recorded.0.result: no such field"),
        ({"called": [{"tool": ""}]}, "called.0.tool"),
        ({"asks": [{"tool": "a"}]}, "asks: no such field; did you mean asked?"),
        ({"says_not": ["("]}, "says_not: '(' is not a regular expression"),
        ({"approve": "perhaps"}, "approve: "),
        ({"database": "/etc/passwd"}, "database: must be a relative path within the tools' data"),
        ({"expect": [{"sql": "SELECT 1", "rows": [], "database": "a/../../b"}]}, "expect.0.database: must be"),
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
    with pytest.raises(TaskError, match=r"two.jsonl:2: id 'a' is already used in .*one.jsonl:1"):
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
    registry = Registry.load(project.tools.sources)
    hosts = LocalHosts([registry.tool(name) for name in ("add_reminder", "list_reminders")])
    model = Model(ScriptedChatModel(script), "fake", Prices(1.0, 1.0))
    made = guard or RuleGuard()
    return Player(project, model, lambda *_: hosts, lambda _: made, lambda path: None, lambda path: local_images())


async def test_a_task_is_played_with_data_of_its_own(project: Project) -> None:
    [(where, first), _] = read(project.tasks)
    add = calls(("add_reminder", {"text": "Call the dentist"}))
    script = [plan("add", "add_reminder"), add, text("Added.")] * 2
    async with player(project, [*script, plan("say"), text("Added.")]) as made:
        played = [await made.play(first, where) for _ in range(3)]
    assert [one.solved for one in played] == [True, True, False]  # the second starts anew; the third adds nothing
    assert played[2].problems[0].startswith(f"{where}: task add-one: the tools' data has no database")
    assert [call.tool for call in Transcript.of(played[0].exchanges).calls] == ["add_reminder"]
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
        bad = await made.play(task(recorded=recorded, not_called=[{"tool": "add_reminder"}]), "f:1")
    assert (good.solved, good.off_the_record) == (True, 0)
    assert bad.off_the_record == 1
    heads = [[str(column.header) for column in Tally(plays).table().columns] for plays in ([good], [good, bad])]
    assert ["off record" in head for head in heads] == [False, True]
    assert bad.problems == ("no answer matches 'dentist'", "called: add_reminder")


async def test_a_person_s_no_is_recorded_too(project: Project) -> None:
    guard = RuleGuard(on(Stage.TOOL_CALL, Action.ASK))
    add = {"tool": "add_reminder", "arguments": {"text": "x"}}
    script = [plan("add", "add_reminder"), calls(("add_reminder", {"text": "x"})), plan("stop"), text("No dentist.")]
    async with player(project, script, guard) as made:
        played = await made.play(task(recorded=[add | {"denied": "not now"}]), "f:1")
    assert (played.solved, played.off_the_record, Transcript.of(played.exchanges).calls) == (True, 0, [])


ADD = calls(("add_reminder", {"text": "Call the dentist"}))


@pytest.mark.parametrize("recorded", [None, [{"tool": "add_reminder", "arguments": {"text": "Call the dentist"}}]])
@pytest.mark.parametrize("approve", [True, False])
async def test_the_task_says_what_the_person_decides(project: Project, approve: bool, recorded: Any) -> None:
    guard = RuleGuard(on(Stage.TOOL_CALL, Action.ASK))
    script = [plan("add", "add_reminder"), ADD, *([] if approve else [plan("say")]), text("The dentist.")]
    wanted = {"tool": "add_reminder", "arguments": {"text": "Call the dentist"}}
    made = {"called": [wanted]} if approve else {"not_called": [wanted]}
    asking = task(approve=approve, asked=[wanted], recorded=recorded, **made)
    async with player(project, script, guard) as playing:
        played = await playing.play(asking, "f:1")
    assert played.problems == ()
    shown = printed(played)
    assert shown.startswith(
        "✓ a  f:1\n  user   What is on my list?\n  plan   add  [add_reminder]\n  decide add_reminder"
    )
    assert '  ask    add_reminder({"text": "Call the dentist"}): the rule says ask' in shown
    assert f"  person {'approved' if approve else 'denied'} by eval" in shown
    assert ("a person denied it: the task says so" in shown) is not approve


def printed(played: Played) -> str:
    shown = io.StringIO()
    PlainConsole(file=shown, width=160).print(dialogue(played))
    return "\n".join(line.rstrip() for line in shown.getvalue().splitlines())


async def test_a_dialogue_shows_why_a_task_failed_and_steers_no_terminal(project: Project) -> None:
    script = [PLAN, LIST, text("Nothing \x1b]0;owned is there.")]
    async with player(project, script) as made:
        played = await made.play(task(called=[{"tool": "add_reminder"}]), "f:1")
    shown = printed(played)
    assert "\x1b" not in shown
    assert shown.splitlines()[4:] == [
        "  call   list_reminders()",
        "  result []  0.00 s",
        "  reply  Nothing \ufffd]0;owned is there.  1 tokens, 90% sure",
        "  end    succeeded (answered)",
        "  why    no answer matches 'dentist'",
        "  why    not called: add_reminder",
    ]


async def test_how_a_run_ended_is_told(project: Project) -> None:
    guard = RuleGuard(on(Stage.INPUT, Action.BLOCK))
    async with player(project, [], guard) as made:
        blocked = await made.play(task(), "f:1")
        wanted = await made.play(task(answer=[], ends="blocked"), "f:1")
        wrong = await made.play(task(setup=["DELETE FROM nowhere"], database="n.db"), "f:7")
    assert blocked.problems == (
        "no answer matches 'dentist'",
        "it ended blocked (guardrail): the rule says block",
    )
    assert wanted.solved
    assert wrong.problems == ("f:7: task a: setup 'DELETE FROM nowhere': no such table: nowhere",)


def test_repeats_are_no_cases_of_their_own_unless_there_is_one_task() -> None:
    def plays(ids: list[str]) -> Tally:
        return Tally([Played(task(id=name), f"f:{name}", ()) for name in ids])

    assert plays(["a"] * 9).interval[0] > plays(["a"] * 5 + ["b"] * 4).interval[0]


ADD_ONE = {
    "id": "add-one",
    "agent": "notes",
    "turns": [{"user": "Please remind me to call the dentist."}],
    "expect": [{"sql": "SELECT count(*) FROM reminders WHERE text LIKE '%dentist%'", "rows": [[1]]}],
}
PLANNED = ScriptedAnswer(text=json.dumps({"goal": "look", "tools": []}))


def settings(folder: Path, url: str | None) -> Settings:
    return Settings(home=folder.parent / "home", project=folder, model_url=url)


async def test_the_command_shows_what_was_solved_and_what_not(folder: Path, tmp_path: Path) -> None:
    (folder / "tasks" / "first.jsonl").write_text(json.dumps(ADD_ONE))
    (folder / "tasks" / "more.jsonl").write_text(json.dumps(HEARD | {"recorded": []}))
    shown, out = io.StringIO(), tmp_path / "out" / "eval.json"
    console = Console(file=shown, width=160)
    server = ScriptedServer(PLANNED, ScriptedAnswer(text="Nothing."), PLANNED, ScriptedAnswer(text="The dentist."))
    async with server.serving() as url:
        secret = url.replace("http://", "http://user:word@")
        assert not await evaluate(settings(folder, secret), Wish(out=out), console)
        assert await evaluate(settings(folder, url), Wish(ids=frozenset({"a"}), repeat=2), console)  # the last repeats
        assert await evaluate(settings(folder, url), Wish(agent="notes", at_least=0.5), console)
    [tasks, model, *_] = shown.getvalue().splitlines()
    assert (tasks, model) == (f"2 tasks of {folder}", f"model scripted at {url} (FLIGHTLOOP_MODEL_URL)")
    assert "word" not in shown.getvalue()
    assert "the tools' data has no database" in shown.getvalue()
    assert "  reply  Nothing." in shown.getvalue()
    assert f"95 % confidence) by scripted at {url} (FLIGHTLOOP_MODEL_URL)" in shown.getvalue()
    document = json.loads(out.read_text())
    assert document["model"] == {"name": "scripted", "server": f"{url} (FLIGHTLOOP_MODEL_URL)"}
    assert [(one["id"], one["solved"]) for one in document["tasks"]] == [("add-one", False), ("a", True)]


@pytest.mark.parametrize(
    ("show", "told"), [(Show.NONE, []), (Show.FAILED, ["Nothing."]), (Show.ALL, ["The dentist.", "Nothing."])]
)
async def test_dialogues_are_printed_of_the_tasks_that_were_asked_for(
    folder: Path, show: Show, told: list[str]
) -> None:
    lines = [json.dumps(HEARD | {"id": name, "recorded": []}) for name in ("good", "bad")]
    (folder / "tasks" / "first.jsonl").write_text("\n".join(lines))
    shown = io.StringIO()
    server = ScriptedServer(PLANNED, ScriptedAnswer(text="The dentist."), PLANNED, ScriptedAnswer(text="Nothing."))
    async with server.serving() as url:
        await evaluate(settings(folder, url), Wish(show=show), Console(file=shown, width=160))
    replies = [line.split("  ")[2] for line in shown.getvalue().splitlines() if line.startswith("  reply")]
    assert replies == told


async def test_data_of_the_project_is_there_before_each_task(folder: Path) -> None:
    (folder / "tasks" / "first.jsonl").write_text(json.dumps(ADD_ONE))
    (folder / "tasks" / "data").mkdir()
    with closing(sqlite3.connect(folder / "tasks" / "data" / "notes.sqlite")) as database:
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
        (HEARD, Wish(agent="clerk"), "no selected task belongs to the agent clerk"),
        (HEARD | {"turns": []}, Wish(), "first.jsonl:1: turns"),
        (HEARD, Wish(files=(Path("none.jsonl"),)), "none.jsonl: can't be read"),
        (
            None,
            Wish(),
            "tasks: contains no [*].jsonl; name a file with --tasks, or .* --project DIR or FLIGHTLOOP_PROJECT",
        ),
    ],
)
async def test_what_is_wrong_is_told_before_anything_is_played(
    line: dict[str, Any] | None, wish: Wish, said: str, folder: Path
) -> None:
    file = folder / "tasks" / "first.jsonl"
    file.unlink() if line is None else file.write_text(json.dumps(line))
    with pytest.raises(ConfigError, match=said):
        await evaluate(settings(folder, "http://127.0.0.1:1"), wish, Console(file=io.StringIO()))
