"""Recorded runs as tasks: what they hold, what is asked of them, and the whole chain from a new project on."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from agent.admin.regressions import Request, write_regression
from agent.config import Settings
from agent.evals.regression import Wanted, regression
from agent.evals.task import Call, load
from agent.loop.agent_runtime import AgentRuntime
from agent.loop.inline_runner import InlineRunner, Operator, agrees
from agent.loop.local_hosts import LocalHosts
from agent.models.answer_chunks import Turn, calls, plan, text
from agent.project.project import Project, load_project
from agent.run.journal import Journal
from agent.serve import factories
from agent.store import memory_journal
from agent.testing.fakes import RuleGuard, ScriptedChatModel, on
from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from flightloop.cli.project import write_project
from flightloop.errors import ConfigError, Conflict, InvalidRequest, NotFound
from flightloop.events import RunCreated
from flightloop.runs import Budget, Run, RunStatus
from flightloop.subject import Subject
from flightloop.verdicts import Action, Stage
from tools.registry import Registry

ROOT = Path(__file__).parents[3]
PLAN = plan("look", "list_reminders")
LIST: Turn = calls(("list_reminders", {}))
ADD: Turn = calls(("add_reminder", {"text": "call +49 170 1234567"}))
SECOND = "And what is on my list?"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_project(tmp_path / "notes")
    return load_project(tmp_path / "notes", ())


async def converse(
    project: Project,
    journal: Journal,
    *script: list[Turn],
    rules: RuleGuard | None = None,
    operator: Operator = agrees,
    subject: Subject | None = None,
    **budget: int,
) -> list[Run]:
    """Runs of one session, one for each script."""
    registry = Registry.load(project.tools.sources)
    hosts = LocalHosts([registry.tool(name) for name in ("add_reminder", "list_reminders")])
    kit = AgentRuntime(project.agent("notes"), rules or RuleGuard(), hosts)
    runner = InlineRunner(journal, lambda run: kit, project.folder, "test")
    runs = []
    for number, turns in enumerate(script):
        said = SECOND if number else "Please remind me to call +49 170 1234567."
        created = RunCreated(agent="notes", session_id="s", subject=subject, input=said, budget=Budget(**budget))
        runs.append((await runner.run(created, ScriptedChatModel(turns), "fake", operator)).run)
    return runs


async def test_a_session_becomes_turns_and_recorded_calls(project: Project) -> None:
    journal = memory_journal()
    first, second = await converse(
        project, journal, [plan("add", "add_reminder"), ADD, text("Added.")], [PLAN, LIST, text("Nothing.")]
    )
    task = await regression(journal, "default", second.id, Wanted(answer=["170"]))
    assert (task.id, task.agent, task.ends) == (second.id, "notes", RunStatus.SUCCEEDED)
    assert [turn.text() for turn in task.turns] == ["Please remind me to call +49 170 1234567.", SECOND]
    assert [(call.tool, call.content) for call in task.recorded or ()] == [
        ("add_reminder", {"added": "call +49 170 1234567"}),
        ("list_reminders", [{"owner": "", "text": "call +49 170 1234567"}]),
    ]
    assert task.subject is None
    alone = await regression(journal, "default", first.id, Wanted(answer=["done"]))
    assert len(alone.turns) == len(alone.recorded or ()) == 1


async def test_a_task_that_the_failed_run_solves_is_refused(project: Project) -> None:
    journal = memory_journal()
    [wrong] = await converse(project, journal, [PLAN, LIST, text("Nothing.")])
    for wanted in (Wanted(), Wanted(answer=["nothing"]), Wanted(called=[Call(tool="list_reminders")])):
        with pytest.raises(InvalidRequest, match="itself would solve this task"):
            await regression(journal, "default", wrong.id, wanted)
    assert await regression(journal, "default", wrong.id, Wanted(answer=["nothing"], good=True))
    with pytest.raises(InvalidRequest, match="would not solve this task itself: called: list_reminders"):
        await regression(journal, "default", wrong.id, Wanted(not_called=[Call(tool="list_reminders")], good=True))
    with pytest.raises(NotFound):
        await regression(journal, "other", wrong.id, Wanted())


async def test_a_run_that_failed_has_to_succeed(project: Project) -> None:
    journal = memory_journal()
    [failed] = await converse(project, journal, [PLAN, LIST, LIST], steps=3)
    task = await regression(journal, "default", failed.id, Wanted())
    assert (task.ends, [call.tool for call in task.recorded or ()]) == ("succeeded", ["list_reminders"] * 2)


async def test_what_a_person_denied_is_recorded(project: Project) -> None:
    journal, asking = memory_journal(), RuleGuard(on(Stage.TOOL_CALL, Action.ASK))
    script = [plan("add", "add_reminder"), ADD, plan("say"), text("I may not.")]
    [run] = await converse(project, journal, script, rules=asking, operator=lambda approval: "not now")
    task = await regression(journal, "default", run.id, Wanted(answer=["nobody"]))
    assert [(call.tool, call.denied, call.ok) for call in task.recorded or ()] == [("add_reminder", "not now", True)]


async def test_a_run_that_goes_on_is_refused() -> None:
    journal = memory_journal()
    created = RunCreated(agent="notes", session_id="s", input="Hello", budget=Budget())
    run = (await journal.create(created)).run
    with pytest.raises(Conflict, match="is queued: it can only become a task after it has ended"):
        await regression(journal, "default", run.id, Wanted())


async def test_the_command_appends_to_the_project_and_masks(project: Project, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", project=project.folder)
    journal = factories.open_journal(settings)
    ann = Subject(id="ann", claims={"phone": "+49 170 1234567", "vip": True})
    [run] = await converse(project, journal, [plan("add", "add_reminder"), ADD, text("Added.")], subject=ann)
    await journal.close()
    said: list[str] = []
    call = 'add_reminder {"text": "call +49 170 1234567 at noon"}'
    await write_regression(settings, Request(run.id, called=[call]), said.append)
    file = project.folder / "tasks" / "regressions.jsonl"
    assert said[0] == f"task {run.id} in {file}: 1 inputs, 1 recorded calls"
    assert "--mask" in said[1]
    with pytest.raises(ConfigError, match=rf"regressions.jsonl:1: already has a task {run.id}; choose another --id"):
        await write_regression(settings, Request(run.id, called=[call]), said.append)
    file.write_text(file.read_text().rstrip())  # an editor that ends no line
    await write_regression(settings, Request(run.id, called=[call], id="masked", mask=True), said.append)
    plain, masked = load(file)
    assert "1234567" in plain.model_dump_json()
    assert plain.subject == ann
    assert "1234567" not in masked.model_dump_json()
    assert masked.subject is not None
    assert (masked.subject.id, masked.subject.claims["vip"]) == ("ann", True)
    [recorded], [wanted] = masked.recorded or [], masked.called
    number = recorded.arguments["text"].removeprefix("call ")
    assert masked.turns[0].text() == f"Please remind me to call {number}."
    assert wanted.arguments["text"] == f"call {number} at noon"
    for wrong, why in (
        (Request(run.id, called=["add_reminder text"]), "is not a call: write TOOL"),
        (Request(run.id, answer=["("]), "answer: "),
        (Request(run.id, called=[call], id="a b"), "id: "),
    ):
        with pytest.raises(InvalidRequest, match=why):
            await write_regression(settings, wrong, said.append)
    with pytest.raises(ConfigError, match=r"can't be changed: .* --project DIR or FLIGHTLOOP_PROJECT"):
        await write_regression(Settings(home=tmp_path / "home"), Request(run.id), said.append)


async def told(*command: str, at: Path = ROOT, **environ: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=at,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}", "COLUMNS": "160", **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


def scripted(*answers: str | tuple[str, str]) -> ScriptedServer:
    """A plan, then words or calls, in turn."""
    planned = ScriptedAnswer(text=json.dumps({"goal": "look", "tools": ["list_reminders"]}))
    made = [
        ScriptedAnswer(calls=[dict(zip(("name", "arguments"), one, strict=True))])
        if isinstance(one, tuple)
        else ScriptedAnswer(text=one)
        for one in answers
    ]
    return ScriptedServer(planned, *made)


@pytest.mark.slow
async def test_from_a_new_project_over_a_failed_run_to_a_task_that_finds_it(tmp_path: Path) -> None:
    code, out = await told("-c", "from flightloop.cli import main; main()", "new", str(tmp_path / "notes"))
    assert (code, f"agent eval --project {tmp_path / 'notes'}" in out) == (0, True)
    folder, home, lists = tmp_path / "notes", tmp_path / "home", ("list_reminders", "{}")
    # Its tools.py must not be taken for the package where one stands in the folder.
    project = load_project(folder, ())
    journal = factories.open_journal(Settings(home=home, project=folder))
    [run] = await converse(project, journal, [PLAN, LIST, text("Nothing is on your list.")])
    await journal.close()
    where = {"FLIGHTLOOP_HOME": str(home), "FLIGHTLOOP_PROJECT": str(folder)}

    code, out = await told("-m", "agent", "regress", run.id, at=folder, **where)
    assert (code, "itself would solve this task" in out) == (2, True)
    code, out = await told("-m", "agent", "regress", run.id, "--answer", "empty", "--id", "says-empty", **where)
    assert (code, "1 recorded calls" in out) == (0, True), out

    command = ("-m", "agent", "eval", "--task", "says-empty")
    async with scripted(lists, "Nothing is on your list.").serving() as url:
        code, out = await told(*command, at=folder, **where, FLIGHTLOOP_MODEL_URL=url)
    assert (code, "no answer matches 'empty'" in out, "0 of 1 solved" in out) == (1, True, True), out
    async with scripted(lists, "Your list is empty.").serving() as url:
        code, out = await told(*command, at=folder, **where, FLIGHTLOOP_MODEL_URL=url)
    assert (code, "1 of 1 solved: 100%" in out) == (0, True), out
