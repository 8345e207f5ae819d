"""Checks of a Python client, inside the client's own environment: standard library only.

A client's program declares checks and runs them at its end::

    @check
    def says_hello():
        answer = ...
        return answer.text, alike(answer.text, "Hello.")

A check returns what it saw, and whether that is right. An exception is a failed check.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import time
import traceback
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

URL = os.environ.get("URL", "")
"""Base URL of flightloop's API, with ``/v1``."""
KEY = os.environ.get("FLIGHTLOOP_API_KEY", "")
MODEL = os.environ.get("MODEL", "")
POOR_KEY = os.environ.get("POOR_KEY", "")
"""Key of a tenant whose budget is used up."""
SCRIPT_URL = os.environ.get("SCRIPT_URL", "")
"""Base URL of the scripted model server."""
SCRIPTED = os.environ.get("SCRIPTED", "1") == "1"
"""Whether the model is the scripted one, whose answers are known."""
MOST_SEEN = 300
LEFT_S = 10.0
TIMEOUT_S = 240.0 if not SCRIPTED else 60.0

HELLO = "Say hello in one short sentence."
ADD = "What is 2 + 3? Use the tool add."
ADD_TWICE = "What are 2 + 3 and 4 + 5? Use the tool add for both."
ADD_ON = "Add 2 and 3, then add 4 to the sum. Use the tool add for each."
WEATHER = "Use the tools: what is the weather in Paris, and what is 20 + 22?"
PERSON = "Describe this person: Ada Lovelace, 36 years old, lives in London, England."
PEOPLE = "List these people: Ada, 36, of London, and Alan, 41, of Wilmslow."
REACT = "Reason in words: what is 2 + 3?"
SUBMIT = "What is 2 + 3? Submit it."
CIRCLE = "Draw a circle of radius 3."
CAPITALS = "Register Ada in capital letters."
SPANISH = "Please hand me to the Spanish desk."
ENDLESS = "Count upwards for ever: 1 2 3 4 5 6 7 8 9 10"
BUSY = "Busy, then answer."
ALWAYS_BUSY = "Always busy."
BROKEN = "Your server is broken."
SAID_HELLO = "Hello there, my friend."
SAID_SUM, SAID_SUMS, SAID_RESULT = "The sum is 5.", "The sums are 5 and 9.", "The result is 9."
SAID_WEATHER = "It is sunny in Paris, and the sum is 42."
ADD_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
ADD_TOOL = {"type": "function", "function": {"name": "add", "description": "Adds two.", "parameters": ADD_SCHEMA}}

Seen = tuple[Any, bool]
_CHECKS: list[Callable[[], Any]] = []


def check(function: Callable[[], Any]) -> Callable[[], Any]:
    """Declares a check, which may be a coroutine function."""
    _CHECKS.append(function)
    return function


def scripted(function: Callable[[], Any]) -> Callable[[], Any]:
    """Declares a check that needs the scripted model."""
    return check(function) if SCRIPTED else function


def embedded(function: Callable[[], Any]) -> Callable[[], Any]:
    """Declares a check that needs an embedded model, which obeys limits and tells probabilities."""
    return function if SCRIPTED else check(function)


def alike(seen: Any, expected: Any) -> bool:
    """Equality with the scripted model. Of another model's answer, only type and emptiness are compared."""
    if SCRIPTED:
        return bool(seen == expected)
    return type(seen) is type(expected) and bool(seen) == bool(expected)


def raised(kind: type[BaseException], act: Callable[[], Any], **expected: Any) -> Seen:
    """Whether ``act`` raises ``kind``, whose attributes have the expected values."""
    try:
        answer = act()
    except kind as error:
        return _judged(error, expected)
    return f"no error, but {answer!r}", False


async def raised_by(kind: type[BaseException], act: Any, **expected: Any) -> Seen:
    """The same of an awaitable."""
    try:
        answer = await act
    except kind as error:
        return _judged(error, expected)
    return f"no error, but {answer!r}", False


def _judged(error: BaseException, expected: dict[str, Any]) -> Seen:
    seen = {name: getattr(error, name, None) for name in expected}
    return f"{type(error).__name__} {seen} {error}", seen == expected


def left(more_than: int = -1) -> int:
    """Number of endless answers that the model server has stopped; waits until they are more than these."""
    until = time.monotonic() + LEFT_S
    while True:
        with urllib.request.urlopen(f"{SCRIPT_URL}/endless") as answer:
            count: int = json.load(answer)["left"]
        if count > more_than or time.monotonic() > until:
            return count
        time.sleep(0.1)


def run() -> None:
    """Runs all checks and prints a line of JSON for each. One that hangs is ended after a minute."""
    for function in _CHECKS:
        asyncio.run(told(function.__name__, _seen(function)))


async def told(name: str, act: Awaitable[Seen]) -> None:
    """Runs one check and prints its line."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            seen, ok = await act
    except Exception as error:
        traceback.print_exc()  # into the program's log
        seen, ok = f"{type(error).__name__}: {error}", False
    print(json.dumps({"name": name, "ok": bool(ok), "seen": str(seen)[:MOST_SEEN]}), flush=True)


async def _seen(function: Callable[[], Any]) -> Seen:
    if inspect.iscoroutinefunction(function):
        answer: Seen = await function()
        return answer
    return await asyncio.to_thread(function)
