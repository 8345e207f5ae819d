"""Checks size limits of a completion request that concern several fields together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from flightloop.chat import ChatMessage, ChatRequest
from flightloop.content import ImagePart, TablePart, TextPart
from flightloop.errors import ContextTooLong, InvalidRequest
from flightloop.limits import CALLS, PARTS, REQUEST_SCHEMA_VALUES, TABLE_CELLS, TEXT_CHARS
from flightloop.schemas import SchemaProblem, check, values

CHARS_PER_TOKEN = 16
"""Above the average of any text: a text with more characters per context token certainly exceeds the context."""


async def check_size(request: ChatRequest, context_length: int | None) -> None:
    """Checks the size of a request.

    Args:
        context_length: the model's context length in tokens; None: unknown.

    Raises:
        InvalidRequest: too many parts, calls or table cells, too much text, or an unusable schema.
        ContextTooLong: the text certainly exceeds the model's context.
    """
    _check_count("messages", sum(len(message.content) for message in request.messages), PARTS, "parts")
    _check_count("messages", sum(len(message.tool_calls or ()) for message in request.messages), CALLS, "tool calls")
    _check_count("messages", sum(map(_cells, request.messages)), TABLE_CELLS, "table cells")
    characters = sum(map(_characters, request.messages))
    if context_length is not None and characters > context_length * CHARS_PER_TOKEN:
        raise ContextTooLong.of(context_length, f"the conversation has {characters} characters, too many for it")
    _check_count("messages", characters, TEXT_CHARS, "characters")
    if request.tools or request.response_format:
        await asyncio.to_thread(_check_schemas, request)


def _check_count(param: str, given: int, limit: int, what: str) -> None:
    if given > limit:
        raise InvalidRequest(f"{param}: {given} {what} exceed the limit of {limit}", param=param)


def _cells(message: ChatMessage) -> int:
    tables = [part.table for part in message.content if isinstance(part, TablePart)]
    return sum(len(table.columns) + sum(map(len, table.rows)) for table in tables)


def _characters(message: ChatMessage) -> int:
    """Characters of texts, names and calls, without image data."""
    calls = message.tool_calls or ()
    texts = [part.text for part in message.content if isinstance(part, TextPart)]
    links = [part.image_url.url for part in message.content if isinstance(part, ImagePart)]
    written = [text for call in calls for text in (call.id, call.function.name, call.function.arguments)]
    plain_links = [link for link in links if not link.startswith("data:")]
    return sum(map(len, [*texts, *written, *plain_links, message.tool_call_id or ""]))


def _check_schemas(request: ChatRequest) -> None:
    total = 0
    for param, schema in _schemas(request):
        try:
            check(schema)
        except SchemaProblem as problem:
            raise InvalidRequest(f"{param}{problem.at}: {problem.problem}", param=param) from problem
        total += values(schema)
    _check_count("tools", total, REQUEST_SCHEMA_VALUES, "values of all schemas together")


def _schemas(request: ChatRequest) -> Iterator[tuple[str, dict[str, object]]]:
    for index, tool in enumerate(request.tools or []):
        yield f"tools[{index}].function.parameters", tool.function.parameters
    form = request.response_format
    if form is not None and form.json_schema is not None:
        yield "response_format.json_schema.schema", form.json_schema.schema_
