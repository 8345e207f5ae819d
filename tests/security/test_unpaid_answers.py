"""What a model has read and written is paid for, whoever ends the answer and whatever its server tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from agent.api import ApiDeps, create_app
from agent.api.completions.owner import CompletionOwner
from agent.model_call.call import GuardedCall
from agent.testing.api import KEY, ScriptedChat, api_deps
from flightloop.answer import Answer
from flightloop.chat import ChatChunk, ChatRequest, ChunkChoice, Delta

BODY = {"model": "scripted", "messages": [{"role": "user", "content": "read this: " + "word " * 20}]}


class Silent(ScriptedChat):
    """Reads, and says nothing."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        self.asked.set()
        await asyncio.Event().wait()
        yield ChatChunk(id="never", created=0, model="scripted", choices=[])


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens that completions were charged, prompts and answers together."""
    seen: list[int] = []
    counted = CompletionOwner._used_by

    def noted(self: CompletionOwner, call: GuardedCall) -> Any:
        amounts = counted(self, call)
        seen.append(amounts.tokens)
        return amounts

    monkeypatch.setattr(CompletionOwner, "_used_by", noted)
    return seen


async def asked(deps: ApiDeps) -> httpx.Response:
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        return await client.post("/v1/chat/completions", json=BODY)


async def test_a_prompt_whose_answer_was_stopped_before_its_first_token(used: list[int]) -> None:
    model = Silent()
    deps = api_deps(model=model)
    asking = asyncio.create_task(asked(deps))
    await model.asked.wait()
    await deps.journal.raise_interrupt("default", "all")
    assert (await asking).status_code == 423
    [tokens] = used
    assert tokens > 20


def test_a_long_chunk_is_more_than_a_token() -> None:
    answer = Answer()
    for text in ("a", "b" * 4000):
        choice = ChunkChoice(delta=Delta(content=text))
        answer.add(ChatChunk(id="one", created=0, model="m", choices=[choice]))
    assert answer.tokens == 1001
