"""A model server that answers at once, in a process of its own: OpenAI's protocol, streams only."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from starlette.requests import ClientDisconnect

from bench.peers.stepping import ANSWER, ARGUMENT, MODEL, TOOL, Load


def instant(load: Load) -> FastAPI:
    """The server's application. Its answers depend only on the number of turns in the request."""

    async def complete(request: Request) -> Response:
        try:
            messages = (await request.json())["messages"]
        except ClientDisconnect:  # the bench kills workers; one may have been sending its request
            return Response(status_code=400)
        numbers = load.numbers(sum(bool(message.get("tool_calls")) for message in messages))
        calls = [
            {
                "index": index,
                "id": f"call_{index}",
                "type": "function",
                "function": {"name": TOOL, "arguments": json.dumps({ARGUMENT: number})},
            }
            for index, number in enumerate(numbers)
        ]
        return StreamingResponse(_stream(calls), media_type="text/event-stream")

    app = FastAPI(openapi_url=None)
    app.add_api_route("/v1/chat/completions", complete, methods=["POST"], response_model=None)
    return app


async def _stream(calls: list[dict[str, Any]]) -> AsyncIterator[str]:
    said = {"role": "assistant", "tool_calls": calls} if calls else {"role": "assistant", "content": ANSWER}
    usage = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
    ended = [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if calls else "stop"}]
    for choices, counted in (([{"index": 0, "delta": said, "finish_reason": None}], None), (ended, None), ([], usage)):
        head = {"id": MODEL, "object": "chat.completion.chunk", "created": 0, "model": MODEL}
        yield f"data: {json.dumps({**head, 'choices': choices, 'usage': counted})}\n\n"
    yield "data: [DONE]\n\n"
