"""Lessons that a model plays: which of its runs are kept, and that no run changes the next case's data."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agent.lessons.attempts import Attempts
from agent.lessons.mix import drawn
from agent.lessons.oracle import Oracle
from agent.lessons.project_lessons import read_lessons
from agent.lessons.stage import Player
from agent.models.answer_chunks import text
from agent.models.chat_model import Capabilities
from agent.project.project import EMBEDDED, Project, load_project
from flightloop.chat import ChatChunk, ChatRequest
from flightloop.lessons import Case, NoCase, Solution
from flightloop.model_card import ModelCard

SEED = 11


@pytest.fixture(scope="module")
def project() -> Project:
    return load_project(None, ())


class Model:
    """A model without a network: what it answers is up to ``solution``."""

    capabilities = Capabilities()

    async def models(self) -> list[ModelCard]:
        return [ModelCard(id="m")]


class Follower(Model):
    """Draws the same cases from the same data, and plays their solutions."""

    def __init__(self, data: Path) -> None:
        self._solutions = self._drawn(data)
        self._oracle: Oracle | None = None

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        if request.response_format is not None and request.messages[-1].role == "user":  # a turn begins with its plan
            self._oracle = Oracle(next(self._solutions))
        assert self._oracle is not None
        async for chunk in self._oracle.stream(request):
            yield chunk

    def _drawn(self, data: Path) -> Iterator[Solution]:
        lessons, random = read_lessons(EMBEDDED), Random(SEED)
        lessons.seed(data, random)
        while True:
            try:
                case: Case = drawn(lessons, random)(lessons.begin(data, random))
            except NoCase:
                continue
            yield from (turn.solution for turn in case.turns)


class Idler(Model):
    """Answers without looking anything up or doing anything."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        for chunk in text("I am not sure about that."):
            assert isinstance(chunk, ChatChunk)
            yield chunk


async def played(project: Project, model: Any, cases: int) -> tuple[Attempts, list[list[dict[str, Any]]]]:
    attempts, found = Attempts(project, Player(model, "m"), SEED), []
    async with aclosing(attempts.rows()) as made:
        async for rows in made:
            found.append(rows)
            if len(found) == cases:
                break
    return attempts, found


async def test_runs_that_end_as_the_solution_does_are_kept(project: Project, tmp_path: Path) -> None:
    attempts, found = await played(project, Follower(tmp_path), 6)
    assert attempts.endings == {"right": 6}
    assert all(rows for rows in found)
    for rows in found:
        for row in rows:
            assert row["source"] == "attempts"
            assert row["messages"][-1]["role"] == "assistant"


async def test_runs_that_end_otherwise_are_not_kept(project: Project) -> None:
    attempts, found = await played(project, Idler(), 12)
    assert sum(attempts.endings.values()) == 12
    assert attempts.endings["another database"] > 0
    assert attempts.endings["another answer"] > 0
    assert len([rows for rows in found if rows]) == attempts.endings["right"]
