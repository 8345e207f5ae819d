"""Parses answers of MCP servers leniently and within limits.

The SDK's own types record every mistake in an answer, which takes minutes and gigabytes for a million mistakes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from mcp import Client
from mcp.types import INVALID_PARAMS, METHOD_NOT_FOUND, CallToolRequest, ErrorData, ListToolsRequest
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, model_validator

A = TypeVar("A", bound=BaseModel)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")


class OfferedTool(_Answer):
    name: str
    description: str | None = None
    input_schema: dict[str, Any] = Field(alias="inputSchema")


class OfferedTools(_Answer):
    tools: Annotated[list[OfferedTool], FailFast()]
    next_cursor: str | None = Field(default=None, alias="nextCursor")


class CallResult(_Answer):
    """Result of a call. ``content`` is parsed on use, since only the text of its parts is needed.

    A server may answer with something else: a question to the user (``input_required``), or the id of a task that goes
    on. Both are invalid here, because the call has not been made yet.
    """

    content: list[Any] = Field(default_factory=list)
    structured_content: Any = Field(default=None, alias="structuredContent")
    is_error: bool = Field(default=False, alias="isError")
    result_type: Literal["complete"] = Field(default="complete", alias="resultType")

    @model_validator(mode="after")
    def _has_content(self) -> CallResult:
        if not {"content", "structured_content"} & self.model_fields_set:
            raise ValueError("the result has no content")
        return self

    @property
    def texts(self) -> list[str]:
        parts = [part for part in self.content if isinstance(part, dict) and part.get("type") == "text"]
        return [part["text"] for part in parts if isinstance(part.get("text"), str)]


async def ask(
    client: Client, request_id: int, request: CallToolRequest | ListToolsRequest, answer: type[A], timeout_s: float
) -> A:
    """Like ``client.session.send_request``, but without the SDK's slow validation of the answer.

    Raises:
        MCPError: the server rejects the request, or has disconnected.
        ValidationError: the answer is not of the type ``answer``.
    """
    session: Any = client.session
    asked = request.model_dump(by_alias=True, mode="json", exclude_none=True)
    options: dict[str, Any] = {"timeout": timeout_s, "request_id": request_id}
    session._stamp(asked, options)
    raw = await session._dispatcher.send_raw_request(asked["method"], asked.get("params"), options)
    return answer.model_validate(raw, by_name=False)


def begun(error: ErrorData) -> bool:
    """Whether a call may have begun, although the server answers it with an error.

    Only two error codes exclude that: unknown method and invalid arguments. But some servers also report invalid
    arguments when a tool's output doesn't match its schema, after the tool has done its work.
    """
    if error.code == INVALID_PARAMS:
        return "output" in error.message.lower()
    return error.code != METHOD_NOT_FOUND


def first_line(error: BaseException) -> str:
    """First line of an error message, cut to 300 characters since it may come from a server."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ValidationError):
        return f"{error.title} with {error.error_count()} errors"
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
