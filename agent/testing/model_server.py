"""Scripted OpenAI-compatible server on a real socket, for tests of ``RemoteChatModel``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.requests import ClientDisconnect

from agent.serve.http_server import running


@dataclass(frozen=True)
class ScriptedAnswer:
    """One answer: ``status`` with ``body``, or ``text`` and ``calls`` (each ``{"name", "arguments": str}``)."""

    text: str = ""
    calls: Sequence[dict[str, str]] = ()
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    chunks: Sequence[str] | None = None
    """Raw data of the stream's events, in place of those made from the text and calls."""
    done: bool = True
    """Whether the stream ends with ``[DONE]``."""
    cut: bool = False
    """Whether the connection breaks at the end of the stream."""
    gate: asyncio.Event | None = None
    """Event for which the answer waits."""
    pace_s: float = 0.0
    """Seconds before each of the stream's events."""


class ScriptedServer:
    """Gives its answers to chat completions in order, and repeats the last one. ``requests`` records all requests; the
    first one sets ``asked``. ``card``: more fields of the listed models."""

    def __init__(self, *answers: ScriptedAnswer, models: Sequence[str] = ("scripted",), **card: Any) -> None:
        self._answers = list(answers) or [ScriptedAnswer(text="ok")]
        self._cards = [{"id": name, "object": "model", **card} for name in models]
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.asked = asyncio.Event()
        self.app = FastAPI(openapi_url=None)
        self.app.add_api_route("/v1/chat/completions", self._complete, methods=["POST"], response_model=None)
        self.app.add_api_route("/v1/models", self._list, methods=["GET"])

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serves while the context is open. Yields the base URL, with ``/v1``."""
        async with running(self.app, grace_s=1) as url:
            yield f"{url}/v1"

    def answer_to(self, document: dict[str, Any]) -> ScriptedAnswer:
        """The answer to a request; subclasses may choose it by the request."""
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    async def _list(self) -> dict[str, Any]:
        return {"object": "list", "data": self._cards}

    async def _complete(self, request: Request) -> Response:
        try:
            document = await request.json()
        except ClientDisconnect:
            return Response(status_code=499)  # nginx's code for a disconnected client
        self.requests.append(document)
        self.headers.append(dict(request.headers))
        self.asked.set()
        answer = self.answer_to(document)
        if answer.gate is not None:
            await answer.gate.wait()
        if answer.status != 200 or answer.body is not None:
            return JSONResponse(answer.body, answer.status, headers=answer.headers)
        if document.get("stream"):
            return StreamingResponse(_stream(answer, document["model"]), media_type="text/event-stream")
        return JSONResponse(_completion(answer, document["model"]))


def _completion(answer: ScriptedAnswer, model: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None}
    if answer.calls:
        message["tool_calls"] = [
            {"id": f"call_{i}", "type": "function", "function": dict(call)} for i, call in enumerate(answer.calls)
        ]
    reason = "tool_calls" if answer.calls else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    return {**_head(model, "chat.completion"), "choices": [choice], "usage": _usage(answer)}


async def _stream(answer: ScriptedAnswer, model: str) -> AsyncIterator[str]:
    documents = list(answer.chunks) if answer.chunks is not None else _chunks(answer, model)
    for document in documents:
        await asyncio.sleep(answer.pace_s)
        yield f"data: {document}\n\n"
    if answer.cut:
        raise ConnectionAbortedError("scripted: the connection breaks here")
    if answer.done:
        yield "data: [DONE]\n\n"


def _chunks(answer: ScriptedAnswer, model: str) -> list[str]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in _words(answer.text)]
    for index, call in enumerate(answer.calls):
        half = len(call["arguments"]) // 2
        opening: dict[str, Any] = {"name": call["name"], "arguments": call["arguments"][:half]}
        begun: dict[str, Any] = {"index": index, "id": f"call_{index}", "type": "function", "function": opening}
        deltas.append({"tool_calls": [begun]})
        rest: dict[str, Any] = {"index": index, "function": {"arguments": call["arguments"][half:]}}
        deltas.append({"tool_calls": [rest]})
    reason = "tool_calls" if answer.calls else "stop"
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": reason})
    head = _head(model, "chat.completion.chunk")
    documents: list[dict[str, Any]] = [{**head, "choices": [choice]} for choice in choices]
    documents.append({**head, "choices": [], "usage": _usage(answer)})
    return [json.dumps(document) for document in documents]


def _words(text: str) -> list[str]:
    words = text.split(" ")
    return [word if i == 0 else f" {word}" for i, word in enumerate(words)] if text else []


def _head(model: str, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-scripted", "object": kind, "created": 1, "model": model}


def _usage(answer: ScriptedAnswer) -> dict[str, Any]:
    words = len(answer.text.split()) + len(answer.calls)
    return {"prompt_tokens": 7, "completion_tokens": words, "total_tokens": 7 + words, "prompt_tokens_details": None}
