"""Expectations of one turn: judged right after it, on its answer and its calls."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agent.admin.evals import Wish, check
from agent.config import load_settings
from agent.evals.dialogue import dialogue
from agent.evals.play import Model, Played, Player
from agent.evals.task import Task, TaskError, load
from agent.loop.local_hosts import LocalHosts
from agent.models.answer_chunks import Turn, calls, plan, text
from agent.project.project import Project, load_project
from agent.testing.fakes import RuleGuard, ScriptedChatModel, on
from agent.testing.images import local_images
from flightloop import ToolRefused, tool
from flightloop.cli.console import PlainConsole
from flightloop.cli.project import write_project
from flightloop.errors import ConfigError
from flightloop.tool import ToolContext, tool_of
from flightloop.verdicts import Action, Stage
from tools.registry import Registry

COUNT = "SELECT count(*) FROM reminders"
ADD = {"tool": "add_reminder"}
ASKS_FIRST = {
    "id": "asks-first",
    "agent": "notes",
    "database": "reminders.db",
    "setup": ["CREATE TABLE reminders (key TEXT PRIMARY KEY, tenant TEXT, owner TEXT, session TEXT, text TEXT)"],
    "turns": [
        {
            "user": "Remind me of something.",
            "says": ["\\?"],
            "says_not": ["added"],
            "not_called": [ADD],
            "expect": [{"sql": COUNT, "rows": [[0]]}],
        },
        {"user": "Call the dentist.", "called": [ADD], "expect": [{"sql": COUNT, "rows": [[1]]}]},
    ],
}
ASKS: list[Turn] = [plan("ask"), text("Of what?")]
ADDS: list[Turn] = [plan("add", "add_reminder"), calls(("add_reminder", {"text": "dentist"})), text("It is added.")]
SAYS: list[Turn] = [plan("say"), text("It was added.")]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_project(tmp_path / "notes")
    return load_project(tmp_path / "notes", ())


async def played(
    project: Project, script: list[Turn], hosts: LocalHosts | None = None, guard: RuleGuard | None = None, **change: Any
) -> Played:
    made = hosts or LocalHosts(Registry.load(project.tools.sources).tools())
    model, rules = Model(ScriptedChatModel(script), "fake"), guard or RuleGuard()
    async with Player(
        project, model, lambda *_: made, lambda _: rules, lambda path: None, lambda path: local_images()
    ) as player:
        return await player.play(Task.model_validate(ASKS_FIRST | change), "f:1")


async def test_each_turn_is_judged_by_its_own_answer_calls_and_rows(project: Project) -> None:
    assert (await played(project, [*ASKS, *ADDS])).problems == ()
    early = await played(project, [*ADDS, *SAYS])  # right at the end, and wrong in both turns
    assert early.problems == (
        f"turn 1: {COUNT}: expected [[0]], found [[1]]",
        "turn 1: the answer does not match '\\\\?'",
        "turn 1: the answer matches 'added'",
        "turn 1: called: add_reminder",
        "turn 2: not called: add_reminder",
    )


async def test_a_dialogue_names_the_turn_beside_the_task_s_own_problems(project: Project) -> None:
    one = await played(project, [*SAYS, *ADDS], says=["dentist"])
    shown = io.StringIO()
    PlainConsole(file=shown, width=160).print(dialogue(one))
    assert [line.strip() for line in shown.getvalue().splitlines() if "  why" in line] == [
        "why    turn 1: the answer does not match '\\\\?'",
        "why    turn 1: the answer matches 'added'",
        "why    the last answer does not match 'dentist'",
    ]


async def test_a_turn_says_how_its_run_ended_and_what_is_wrong_with_its_sql(project: Project) -> None:
    blocked = await played(project, [], guard=RuleGuard(on(Stage.INPUT, Action.BLOCK)), turns=[ASKS_FIRST["turns"][0]])
    assert blocked.problems[:2] == (
        "turn 1: the answer does not match '\\\\?'",
        "turn 1: it ended blocked (guardrail): the rule says block",
    )
    wrong = {"user": "Hello", "expect": [{"sql": "SELECT a FROM nowhere", "rows": []}]}
    bad = await played(project, [*SAYS, *ASKS], turns=[wrong, {"user": "Bye", "says": ["no"]}])
    assert bad.problems == (
        "f:1: turn 1: task asks-first: expect 'SELECT a FROM nowhere': no such table: nowhere",
        "turn 2: the answer does not match 'no'",
    )


async def test_a_call_that_does_not_fit_the_schema_is_not_made(project: Project) -> None:
    script = [plan("add", "add_reminder"), calls(("add_reminder", {"text": 5})), plan("ask"), text("Of what?"), *ADDS]
    assert (await played(project, script)).problems == ()


def test_the_example_of_the_page_is_a_task() -> None:
    page = (Path(__file__).parents[3] / "docs" / "agents.md").read_text()
    found = re.search(r"### One turn\n.*?```json\n(.*?)```", page, re.DOTALL)
    assert found is not None
    first, second = Task.model_validate_json(found[1]).turns
    assert (first.expects, first.not_called[0].tool, second.called[0].arguments) == (
        True, "move_booking", {"day": "Saturday"},
    )  # fmt: skip


async def test_a_call_that_its_tool_refuses_is_made_and_one_that_is_denied_is_not(project: Project) -> None:
    @tool(effect="keyed")
    def add_reminder(context: ToolContext, text: str) -> str:
        """Adds a reminder."""
        raise ToolRefused("The list is full.")

    script = [plan("add", "add_reminder"), calls(("add_reminder", {"text": "dentist"})), plan("say"), text("Full?")]
    declared = tool_of(add_reminder)
    assert declared is not None
    others = [one for one in Registry.load(project.tools.sources).tools() if one.spec.name != "add_reminder"]
    hosts, turns = LocalHosts([declared, *others]), [{"user": "Remind me.", "called": [ADD]}]
    assert (await played(project, script, hosts, turns=turns)).problems == ()
    asks = RuleGuard(on(Stage.TOOL_CALL, Action.ASK))
    denied = await played(project, script, hosts, asks, turns=turns, approve=False)
    assert denied.problems == ("turn 1: not called: add_reminder",)


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        ({"says": ["("]}, "turns.0.says: '(' is not a regular expression"),
        ({"says_nt": ["a"]}, "turns.0.says_nt: no such field; did you mean says_not?"),
        ({"called": [{"tool": ""}]}, "turns.0.called.0.tool"),
        ({"expect": [{"sql": "SELECT 1", "rows": [], "database": "/a"}]}, "turns.0.expect.0.database: must be"),
        ({}, "expects nothing: set one of expect"),
    ],
)
def test_a_turn_that_cannot_be_judged_is_refused(turn: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text(json.dumps({"id": "a", "agent": "notes", "turns": [{"user": "x"} | turn]}))
    with pytest.raises(TaskError, match=r"one\.jsonl:1: ") as caught:
        load(tmp_path / "one.jsonl")
    assert said in str(caught.value)


def test_rows_cannot_be_expected_of_recorded_results() -> None:
    with pytest.raises(ValueError, match="setup and expect can't be used with recorded results"):
        Task.model_validate(ASKS_FIRST | {"setup": [], "recorded": []})


def test_the_tools_that_a_turn_names_are_checked_without_a_model(tmp_path: Path) -> None:
    write_project(tmp_path / "notes")
    wrong = {"id": "a", "agent": "notes", "turns": [{"user": "x", "not_called": [{"tool": "add_remindr"}]}]}
    (tmp_path / "notes" / "tasks" / "more.jsonl").write_text(json.dumps(wrong))
    printed = io.StringIO()
    settings = load_settings(home=tmp_path / "home", project=tmp_path / "notes")
    assert not check(settings, Wish(), Console(file=printed, width=200))
    assert "more.jsonl:1: turns.0.not_called.0.tool: notes has no tool named add_remindr; did you mean" in (
        printed.getvalue()
    )


def test_a_broken_seed_is_told_without_a_model(tmp_path: Path) -> None:
    write_project(tmp_path / "notes")
    (tmp_path / "notes" / "seed.py").write_text("def seed(data):\n    raise AttributeError('no such table')\n")
    settings = load_settings(home=tmp_path / "home", project=tmp_path / "notes")
    with pytest.raises(ConfigError, match="no such table"):
        check(settings, Wish(), Console(file=io.StringIO(), width=200))
