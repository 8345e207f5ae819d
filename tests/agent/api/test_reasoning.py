"""Reasoning of a model in chat completions: released whole, after the final rails."""

from __future__ import annotations

from typing import Any

import pytest

from agent.testing.api import Said, api_deps
from tests.agent.api.test_chat import ask, streamed

THOUGHT = "The user greets.\nSo do I."


async def message(said: Said, **options: Any) -> dict[str, Any]:
    answer = await ask(api_deps(said), **options)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["choices"][0]["message"]
    return found


async def test_it_is_told_beside_the_answer() -> None:
    said = await message(Said("Hello.", reasoning=THOUGHT))
    assert (said["content"], said["reasoning_content"]) == ("Hello.", THOUGHT)
    assert "reasoning_content" not in await message(Said("Hello."))


@pytest.mark.parametrize("streaming", ["held", "live"])
async def test_it_is_streamed_in_one_piece(streaming: str) -> None:
    chunks = await streamed(api_deps(Said("Hello there.", reasoning=THOUGHT), streaming=streaming))
    deltas = [choice["delta"] for chunk in chunks if chunk != "[DONE]" for choice in chunk["choices"]]
    assert [delta["reasoning_content"] for delta in deltas if delta.get("reasoning_content")] == [THOUGHT]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Hello there."


async def test_the_final_rails_redact_it() -> None:
    said = await message(Said("Hello.", reasoning="Their card is 4111 1111 1111 1111."))
    assert "4111" not in said["reasoning_content"]
    assert said["content"] == "Hello."


@pytest.mark.parametrize("word", ["classified", "unfit"])
async def test_what_any_rail_of_answers_blocks_is_withheld(word: str) -> None:
    said = await message(Said("Hello.", reasoning=f"This is {word}."))
    assert "reasoning_content" not in said
    assert said["content"] == "Hello."


async def test_reasoning_alone_is_no_answer_that_leaks() -> None:
    said = await message(Said("", reasoning=THOUGHT, finish_reason="length"))
    assert not said["content"]
    assert said["reasoning_content"] == THOUGHT
