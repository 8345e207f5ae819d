"""Tasks of users who are signed in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from agent.evals.play import Model, Player
from agent.evals.task import Task
from agent.loop.local_hosts import LocalHosts
from agent.models.answer_chunks import Turn, calls, plan, text
from agent.project.project import load_project
from agent.testing.fakes import AnsweringChatModel
from flightloop.chat import ChatRequest
from flightloop.cli.project import write_project
from guardrails.guard import Guard
from guardrails.policy import parse_policy, unhurried
from tools.registry import Registry

BOUND = """
name: notes
version: "1"
tools: {allow: {"*": ["*"]}}
subject: {anonymous: {tools: [list_reminders]}, arguments: {text: {}}}
"""


async def test_a_task_has_a_subject_and_recorded_results_are_not_bound(tmp_path: Path) -> None:
    write_project(tmp_path / "notes")
    project = load_project(tmp_path / "notes", ())

    def answer(request: ChatRequest) -> Turn:
        if request.response_format is not None:
            return plan("add", "add_reminder")
        asked = request.messages[-1].role == "tool"
        return text("dentist") if asked else calls(("add_reminder", {"text": "dentist"}))

    bound = replace(project, policies={**project.policies, "notes": parse_policy(BOUND)})
    hosts = LocalHosts(Registry.load(project.tools.sources).tools())
    model = Model(AnsweringChatModel(answer), "fake")
    recorded = [{"tool": "add_reminder", "arguments": {"text": "dentist"}, "content": {"added": "dentist"}}]
    async with Player(bound, model, lambda *_: hosts, lambda one: Guard(unhurried(one)), lambda _: None) as playing:
        for subject, record, solved in (
            ("dentist", None, True),
            ("doctor", None, False),
            (None, None, False),
            ("doctor", recorded, True),
        ):
            wanted = {"id": "a", "agent": "notes", "turns": [{"user": "Add it."}], "answer": ["dentist"]}
            expected = {"subject": subject, "called": [{"tool": "add_reminder"}], "recorded": record}
            played = await playing.play(Task.model_validate(wanted | expected), "t")
            assert [run.subject and run.subject.id for run in played.runs] == [subject]
            assert played.solved is solved, played.problems
