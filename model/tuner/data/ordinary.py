"""Ordinary conversations without tools: prompts of ``model/tuner/ordinary.yaml``, answered by a larger model.

A model that is tuned to calls alone forgets how to talk. The answers are kept if they are whole and in the language of
the prompt.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from flightloop.answer import completed
from flightloop.chat import ChatRequest
from model.tuner.compose.compose import offers
from model.tuner.compose.family import Domain
from model.tuner.data.row import Row
from model.tuner.mistakes import Model

PROMPTS = Path(__file__).parents[1] / "ordinary.yaml"
TOKENS, CODE_TOKENS = 160, 400
"""Longest answer, and longest answer with code."""
SYSTEM = 0.6
"""Share of the conversations with a system message."""
TOOLED = 0.5
"""Share of the conversations that are kept a second time with tools, if no tool would help with their kind."""
_TALK = ("facts", "explain", "howto", "small_talk", "about_you", "follow_up")
_HELPFUL = frozenset(
    {
        *("facts", "dictionary", "knowledge_base", "translation", "news", "zh_translation_notes", "conversions"),
        *("chemistry", "physics", "astronomy", "geology", "recipes", "algebra", "geometry", "dates", "health"),
    }
)
"""Domains whose tools would help with ordinary questions."""
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_FREE = ("translate", "code")  # kinds whose answers may be in another language


def prompts(most: int, seed: int) -> list[Row]:
    """Draws conversations without answers: rows with the kind, the system message and one or two questions."""
    read, source = _read(), random.Random(seed)
    kinds = {kind: asked for kind, asked in read.items() if kind != "systems"}
    drawn = [(kind, asked) for kind, several in kinds.items() for asked in several]
    source.shuffle(drawn)
    return [_row(kind, asked, read["systems"], source) for kind, asked in drawn[:most]]


async def answered(model: Model, name: str, rows: Sequence[Row], at_once: int) -> AsyncIterator[Row | None]:
    """Lets a model answer each question of each row in turn, greedily.

    Yields:
        A row per row, in any order; None if an answer was cut off, empty or in another language.
    """
    places = asyncio.Semaphore(at_once)

    async def one(row: Row) -> Row | None:
        async with places:
            return await _answered(model, name, row)

    for done in asyncio.as_completed([asyncio.create_task(one(row)) for row in rows]):
        yield await done


def with_tools(rows: Sequence[Row], domains: Sequence[Domain], seed: int) -> Iterator[Row]:
    """Some of the rows again, with tools that none of their questions needs: they are answered all the same."""
    source = random.Random(seed)
    unhelpful = [domain for domain in domains if domain.domain not in _HELPFUL]
    for row, tools in zip(rows, offers(unhelpful, seed), strict=False):
        if row["intent"].removesuffix("_zh") in _TALK and source.random() < TOOLED:
            yield {**row, "tools": tools}


async def _answered(model: Model, name: str, row: Row) -> Row | None:
    messages: list[dict[str, Any]] = []
    for message in row["messages"]:
        messages.append(message)
        if message["role"] == "user":
            longest = CODE_TOKENS if row["intent"].removesuffix("_zh") == "code" else TOKENS
            request = ChatRequest(model=name, messages=messages, max_tokens=longest, temperature=0.0)
            choice = (await completed(model.stream(request))).choices[0]
            text = (choice.message.content or "").strip()
            if choice.finish_reason != "stop" or not text or not _fits(row["intent"], message["content"], text):
                return None
            messages.append({"role": "assistant", "content": text})
    return {**row, "messages": messages}


def _fits(kind: str, asked: str, said: str) -> bool:
    return kind.removesuffix("_zh") in _FREE or bool(_CHINESE.search(asked)) == bool(_CHINESE.search(said))


def _row(kind: str, asked: str | list[str], systems: list[str], source: random.Random) -> Row:
    questions = asked if isinstance(asked, list) else [asked]
    fitting = [text for text in systems if bool(_CHINESE.search(text)) == kind.endswith("_zh")]
    opening = [{"role": "system", "content": source.choice(fitting)}] if source.random() < SYSTEM else []
    messages = [*opening, *({"role": "user", "content": text} for text in questions)]
    return {"source": "ordinary", "intent": kind, "messages": messages}


@cache
def _read() -> dict[str, list[Any]]:
    read: dict[str, list[Any]] = yaml.safe_load(PROMPTS.read_text(encoding="utf-8"))
    return read
