"""Tests client code without a server: ``RecordedAnswers`` replaces the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import BaseModel
from pydantic_core import to_json

from flightloop.chat import ChatChunk
from flightloop.errors import FlightloopError


@dataclass(frozen=True)
class Stream:
    """Server-sent events of one answer in order: events of a run, chunks of a completion or events of a response."""

    items: Sequence[BaseModel]

    def encoded(self) -> bytes:
        done = b"data: [DONE]\n\n" if self.items and isinstance(self.items[-1], ChatChunk) else b""
        return b"".join(map(_message, self.items)) + done


class RecordedAnswers(httpx.MockTransport):
    """Transport that answers requests from a table and records them in ``requests``. Works with both clients.

    Args:
        answers: the answer to each request by method and path, as in ``"GET /v1/runs/run_1"``. A list holds the
            answers to consecutive requests; the last one repeats. An answer is a JSON document or a wire type, a
            ``Stream``, an error of ``flightloop.errors`` (sent as the API sends it), or another exception (raised,
            as ``httpx.ConnectError`` is when a connection fails).
    """

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__(self._answer)
        self._answers = {name: list(given) if isinstance(given, list) else [given] for name, given in answers.items()}
        self.requests: list[httpx.Request] = []

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        name = f"{request.method} {request.url.path}"
        if name not in self._answers:
            known = ", ".join(self._answers)
            raise LookupError(f"no answer for {name}; add it to RecordedAnswers, which has answers for: {known}")
        recorded = self._answers[name]
        answer = recorded.pop(0) if len(recorded) > 1 else recorded[0]
        if isinstance(answer, FlightloopError):
            wait = {} if answer.retry_after is None else {"retry-after": str(answer.retry_after)}
            return httpx.Response(answer.status, json=answer.body(), headers=wait)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Stream):
            return httpx.Response(200, content=answer.encoded(), headers={"content-type": "text/event-stream"})
        return httpx.Response(200, content=to_json(answer, by_alias=True), headers={"content-type": "application/json"})


def _message(item: BaseModel) -> bytes:
    """Encodes one event; durable events of a run get an ``id:``."""
    seq, kind = getattr(item, "seq", 0), getattr(item, "type", None)
    head = (f"id: {seq}\n" if seq else "") + (f"event: {kind}\n" if kind else "")
    return f"{head}data: {item.model_dump_json(by_alias=True)}\n\n".encode()
