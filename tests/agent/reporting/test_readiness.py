"""Readiness: what is missing, and that asking for it never hangs."""

from __future__ import annotations

import asyncio

from agent.models.chat_model import Capabilities
from agent.reporting.readiness import Readiness, not_ready
from agent.store import memory_journal, sql_journal
from agent.testing.api import api_deps
from agent.testing.fakes import ScriptedChatModel
from flightloop.errors import ModelUnavailable
from flightloop.model_card import ModelCard
from tests.agent.api.test_runs import calling


class Lost(ScriptedChatModel):
    """A model whose server refuses, or never answers."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__([], Capabilities())
        self._error = error

    async def models(self) -> list[ModelCard]:
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()
        return []


async def test_all_is_well() -> None:
    assert await not_ready(memory_journal(), ScriptedChatModel([])) == []
    assert await not_ready(memory_journal(), None) == []


async def test_a_model_that_refuses_or_hangs_is_told() -> None:
    assert await not_ready(memory_journal(), Lost(ModelUnavailable("no answer"))) == ["no answer"]
    assert await not_ready(memory_journal(), Lost(None), timeout_s=0.01) == ["the model did not respond within 0.01 s"]


async def test_a_closed_journal_is_told(tmp_path: object) -> None:
    journal = sql_journal(f"sqlite:///{tmp_path}/journal.db")
    await journal.close()
    [told] = await not_ready(journal, None)
    assert told.startswith("the journal cannot be read: ")


async def test_a_broken_project_is_told_and_is_ready() -> None:
    async def ready() -> Readiness:
        return Readiness(project="agents/a.yaml:3: not YAML")

    async with calling(api_deps(ready=ready)) as client:
        told = await client.get("/readyz")
        assert (told.status_code, told.json()) == (200, {"status": "ok", "project": "agents/a.yaml:3: not YAML"})
    async with calling(api_deps()) as client:
        assert (await client.get("/readyz")).json() == {"status": "ok"}
        assert (await client.get("/v1/project")).json()["problem"] is None
