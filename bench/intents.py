"""Measures the share of messages whose intent the model finds, by constrained completions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.evals.confidence_interval import wilson
from agent.evals.task import TaskError
from agent.project.intents import Intents
from agent.project.project import EMBEDDED
from bench.rows import Row
from flightloop import Flightloop

TASKS = Path(__file__).parent / "tasks"
ENGLISH, CHINESE = TASKS / "intents.jsonl", TASKS / "intents_zh.jsonl"
"""Held-out messages: no training text has these wordings."""


@dataclass(frozen=True)
class Message:
    text: str
    intent: str


def read(path: Path) -> list[Message]:
    """Reads messages. Raises TaskError: the file can't be read, or a line isn't ``{"text", "intent"}``."""
    try:
        return [Message(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise TaskError(f"{path}: cannot be read: {error}") from None


def measure(client: Flightloop) -> list[Row]:
    """The rows ``intents`` and ``intents_zh``: share of messages whose intent the model finds, in English and Chinese.

    Raises:
        FlightloopError: the platform rejects a request.
    """
    return [_measured(client, name, read(file)) for name, file in (("intents", ENGLISH), ("intents_zh", CHINESE))]


def _measured(client: Flightloop, name: str, messages: Sequence[Message]) -> Row:
    intents = Intents.read(EMBEDDED)
    model = client.models.list().data[0].id
    right = sum(_found(client, intents, message, model) for message in messages)
    share = right / len(messages)
    return Row(name, share, "share", interval=wilson(share, len(messages)), cases=len(messages))


def _found(client: Flightloop, intents: Intents, message: Message, model: str) -> bool:
    asked = intents.request(message.text, model).model_dump(mode="json", by_alias=True, exclude_defaults=True)
    completion = client.chat.completions.create(**asked)
    return intents.named(completion.choices[0].message.content or "") == message.intent
