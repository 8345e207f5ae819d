"""Tasks of a user who is signed in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.evals.play import Model, Player
from agent.evals.task import Task, TaskError, load
from agent.loop.local_hosts import LocalHosts
from agent.models.answer_chunks import Turn, calls, plan, text
from agent.project.project import Project, load_project
from agent.testing.fakes import AnsweringChatModel
from agent.testing.images import local_images
from flightloop.chat import ChatRequest
from flightloop.cli.project import write_project
from flightloop.subject import Subject
from guardrails.guard import Guard
from guardrails.policy import parse_policy, unhurried
from tools.registry import Registry

HEARD = {"id": "a", "agent": "notes", "turns": [{"user": "What is on my list?"}]}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_project(tmp_path / "notes")
    return load_project(tmp_path / "notes", ())


def test_a_subject_is_an_id_or_an_object_and_may_be_left_out() -> None:
    made = [
        Task.model_validate(HEARD | {"answer": ["."], **more})
        for more in ({}, {"subject": "7"}, {"subject": {"id": "7"}})
    ]
    assert [task.subject for task in made] == [None, Subject(id="7"), Subject(id="7")]


def test_a_wrong_subject_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"id": "a", "agent": "b", "turns": [{"user": "x"}], "answer": ["."], "subject": {"name": "Ann"}}')
    with pytest.raises(TaskError, match=r"t.jsonl:1: subject"):
        load(file)


BOUND = """
name: notes
version: "1"
tools: {allow: {"*": ["*"]}}
subject: {anonymous: {tools: [list_reminders]}, arguments: {text: {}}}
"""


async def test_a_task_has_a_subject_and_recorded_results_are_not_bound(project: Project) -> None:
    def answer(request: ChatRequest) -> Turn:
        if request.response_format is not None:
            return plan("add", "add_reminder")
        asked = request.messages[-1].role == "tool"
        return text("dentist") if asked else calls(("add_reminder", {"text": "dentist"}))

    bound = replace(project, policies={**project.policies, "notes": parse_policy(BOUND)})
    hosts = LocalHosts(Registry.load(project.tools.sources).tools())
    model = Model(AnsweringChatModel(answer), "fake")
    recorded = [{"tool": "add_reminder", "arguments": {"text": "dentist"}, "content": {"added": "dentist"}}]
    async with Player(
        bound, model, lambda *_: hosts, lambda one: Guard(unhurried(one)), lambda _: None, lambda _: local_images()
    ) as playing:
        for subject, record, solved in (
            ("dentist", None, True),
            ("doctor", None, False),
            (None, None, False),
            ("doctor", recorded, True),
        ):
            made = Task.model_validate(
                HEARD | {"subject": subject, "called": [{"tool": "add_reminder"}], "recorded": record}
            )
            played = await playing.play(made, "t")
            assert [run.subject and run.subject.id for run in played.runs] == [subject]
            assert played.solved is solved, played.problems
