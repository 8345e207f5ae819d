"""Runs calls inside a tool host: takes JSON arguments and returns a JSON answer, even if the tool fails."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, validate_call

from flightloop.errors import NotFound
from flightloop.shown import shown
from flightloop.tool import Tool, ToolContext, ToolRefused, ToolSpec
from tools.registry import Registry
from tools.tracebacks import MOST_CHARACTERS, traceback_of
from tools.validated import CONFIG, known_by

MESSAGE_CHARACTERS = 2000
_SPEC = TypeAdapter(ToolSpec)
_CONTEXT = TypeAdapter(ToolContext)


def context_to_json(context: ToolContext) -> dict[str, Any]:
    return dict(_CONTEXT.dump_python(context, mode="json"))


def context_from_json(data: dict[str, Any]) -> ToolContext:
    return _CONTEXT.validate_python(data)


def spec_to_json(spec: ToolSpec) -> dict[str, Any]:
    return dict(_SPEC.dump_python(spec, mode="json"))


def spec_from_json(data: Any) -> ToolSpec:
    """Parses a spec. Raises ValueError if it is invalid: data from a project's process is not trusted."""
    return _SPEC.validate_python(data)


class Answer(BaseModel):
    """A host's answer to a call. The worker doesn't trust it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    call: str
    ok: bool
    content: Any  # JSON result
    error: str | None  # a sentence for the model
    note: str | None  # a hint for the model, for instance that the result was cut
    traceback: str | None = None
    """Traceback of the tool; None if the tool succeeded or refused, or its arguments were invalid."""
    raised: bool = False
    """Whether the tool began and then raised an exception other than a refusal."""
    refused: bool = False
    """Whether the tool raised ``ToolRefused``."""

    def within(self, limit: int) -> Answer:
        """The answer with content of at most ``limit`` bytes as JSON, short error and note, and a traceback without
        terminal escapes. A tool may have forged the answer, so the host's limits don't count."""
        content, note = self.content, None
        # Text that the host has cut may have the maximum length already.
        if not isinstance(content, str) or len(content.encode()) > limit:
            content, note = as_json(content, limit)
        error = None if self.error is None else self.error[:MESSAGE_CHARACTERS]
        note = note or (None if self.note is None else self.note[:MESSAGE_CHARACTERS])
        traceback = None if self.ok or self.traceback is None else shown(self.traceback[-MOST_CHARACTERS:])
        return self.model_copy(update={"content": content, "error": error, "note": note, "traceback": traceback})


class Server:
    """Answers requests ``{"call", "tool", "arguments", "context"}`` with the fields of `Answer`. If ``known_by`` is
    true, the tool is not called, and the content is the call's identity (`tools.validated`)."""

    def __init__(self, registry: Registry, max_result_bytes: int) -> None:
        self._registry = registry
        self._max_result_bytes = max_result_bytes

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"call": request["call"], **self._performed(request)}

    def _performed(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            tool = self._registry.tool(request["tool"])
        except NotFound as error:  # the file has changed since the worker read it
            return _failed(error.message)
        context, most = context_from_json(request["context"]), self._max_result_bytes
        try:
            if request.get("known_by"):
                return _succeeded(known_by(tool, request["arguments"], context, most))
            value = _perform(tool, request["arguments"], context)
            content, note = as_json(value, most)
        except ToolRefused as refusal:
            return {**_failed(str(refusal)), "refused": True}
        except ValidationError as error:
            said = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
            traceback = traceback_of(error, tool.function)
            return _failed("; ".join(said), traceback, raised=traceback is not None or not is_of_arguments(error, tool))
        except BaseException as error:  # a tool may also exit or interrupt itself; its host continues
            return _failed(f"{type(error).__name__}: {_text(error)}", traceback_of(error, tool.function), raised=True)
        return _succeeded(content, note)


def as_json(value: Any, limit: int) -> tuple[Any, str | None]:
    """A value as JSON of at most ``limit`` bytes, and a note if it was converted to text or cut."""
    note = None
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        note = f"{_why_not_json(value, error)}; this is its text"
        value = _text(value)
        text = json.dumps(value, ensure_ascii=False)
    size = len(text.encode("utf-8", "replace"))
    if size > limit:
        whole = value if isinstance(value, str) else text
        value = whole.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")
        cut = f"the result was cut: {size} bytes, {limit} are shown"
        note = f"{note}; {cut}" if note else cut
    elif note is None and not isinstance(value, str | int | float | bool | None):
        value = json.loads(text)  # tuples become lists, keys become strings, as the worker would read them
    return value, note


def _perform(tool: Tool, arguments: dict[str, Any], context: ToolContext) -> Any:
    given = {tool.context_parameter: context} if tool.context_parameter else {}
    result = _checked(tool.function)(**arguments, **given)
    if not inspect.isawaitable(result):
        return result
    import asyncio  # few tools need it

    return asyncio.run(_awaited(result))


async def _awaited(result: Any) -> Any:
    return await result


@cache
def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a function with validation, which converts JSON to the types of its hints."""
    return validate_call(config=CONFIG)(function)


def _succeeded(content: Any, note: str | None = None) -> dict[str, Any]:
    return {"ok": True, "content": content, "error": None, "note": note}


def _failed(message: str, traceback: str | None = None, *, raised: bool = False) -> dict[str, Any]:
    error = message[:MESSAGE_CHARACTERS]
    return {"ok": False, "content": None, "error": error, "note": None, "traceback": traceback, "raised": raised}


def is_of_arguments(error: ValidationError, tool: Tool) -> bool:
    """Whether an error is about the call's arguments (by pydantic's title), and not from the tool's own code."""
    names = (getattr(tool.function, name, None) for name in ("__name__", "__qualname__"))
    return error.title in names


def _why_not_json(value: Any, error: Exception) -> str:
    kind = type(value).__name__
    if not isinstance(value, dict | list | tuple | float):
        return f"the result was not JSON but {kind}"
    if isinstance(error, RecursionError):
        return f"the result was a {kind} of too many levels for JSON"
    return f"the result was a {kind} that JSON cannot hold ({error})"


def _text(value: Any) -> str:
    try:
        return str(value)
    except RecursionError:
        return f"a {type(value).__name__} of too many levels to show"
    except Exception:
        return f"a {type(value).__name__} without text"
