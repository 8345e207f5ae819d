"""Scripted model whose answers depend on the user's message: ``conversations.yaml``."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from agent.testing.model_server import ScriptedAnswer, ScriptedServer

MODEL = "scripted"
BOOK: Mapping[str, Sequence[Mapping[str, Any]]] = yaml.safe_load(
    (Path(__file__).parent / "conversations.yaml").read_text()
)
CONTEXT = 4096
"""Words that a conversation can have."""
UNKNOWN = "I have no answer to that."
PACE_S = 0.02
"""Seconds between the words of an answer, so that a client sees them arrive."""


class Conversations(ScriptedServer):
    """Answers from a book. ``GET /v1/endless`` counts endless answers: ``{"begun", "left"}``.

    Args:
        book: answers by a phrase of the user's message.
    """

    def __init__(self, book: Mapping[str, Sequence[Mapping[str, Any]]] = BOOK) -> None:
        super().__init__(models=(MODEL,))
        self._book = book
        self._refused: Counter[str] = Counter()
        self._endless = {"begun": 0, "left": 0}
        self.app.add_api_route("/v1/endless", lambda: self._endless, methods=["GET"])

    def answer_to(self, document: dict[str, Any]) -> ScriptedAnswer:
        if sum(len(_text(message.get("content")).split()) for message in document["messages"]) > CONTEXT:
            return ScriptedAnswer(status=400, body={"error": {"code": "context_length_exceeded"}})
        phrase, made = self._place(document["messages"])
        if phrase is None:
            return ScriptedAnswer(text=UNKNOWN)
        answers = list(self._book[phrase])
        refusal = answers[0]
        if "status" in refusal:
            if "times" not in refusal or self._refused[phrase] < refusal["times"]:
                self._refused[phrase] += 1
                return ScriptedAnswer(status=refusal["status"], body={"error": {"message": "scripted"}})
            self._refused[phrase] = 0
            answers.pop(0)
        return _answer(answers[min(made, len(answers) - 1)], document)

    def _place(self, messages: Sequence[Mapping[str, Any]]) -> tuple[str | None, int]:
        """The phrase of the latest known question, and the number of answers since."""
        made = 0
        for message in reversed(messages):
            if message["role"] == "assistant":
                made += 1
            elif message["role"] == "user":
                text = _text(message.get("content"))
                known = [phrase for phrase in self._book if phrase in text]
                if known:
                    return max(known, key=len), made
        return None, 0

    async def _complete(self, request: Request) -> Response:
        document = await request.json()
        phrase, _ = self._place(document["messages"])
        if phrase is None or "endless" not in self._book[phrase][0]:
            return await super()._complete(request)
        return StreamingResponse(self._words(document["model"]), media_type="text/event-stream")

    async def _words(self, model: str) -> AsyncIterator[str]:
        self._endless["begun"] += 1
        number = 0
        try:
            while True:
                number += 1
                choice = {"index": 0, "delta": {"content": f"{number} "}, "finish_reason": None}
                head = {"id": "chatcmpl-endless", "object": "chat.completion.chunk", "created": 1, "model": model}
                yield f"data: {json.dumps({**head, 'choices': [choice]})}\n\n"
                await asyncio.sleep(PACE_S)
        finally:
            self._endless["left"] += 1


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", "")) for part in content or ())


def _answer(entry: Mapping[str, Any], document: Mapping[str, Any]) -> ScriptedAnswer:
    if "fill" in entry:
        filled = json.dumps(entry["fill"])
        tools = [tool["function"]["name"] for tool in document.get("tools") or ()]
        if not tools:
            return ScriptedAnswer(text=filled, pace_s=PACE_S)
        choice = document.get("tool_choice")
        name = choice["function"]["name"] if isinstance(choice, dict) else tools[-1]
        return ScriptedAnswer(calls=[{"name": name, "arguments": filled}], pace_s=PACE_S)
    calls = [{"name": call["name"], "arguments": json.dumps(call["arguments"])} for call in entry.get("calls", ())]
    return ScriptedAnswer(text=entry.get("text", ""), calls=calls, pace_s=PACE_S)
