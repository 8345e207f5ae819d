"""Formats a tool's traceback for people who debug it, never for the model.

Frames are indented, and each exception is one line without indentation, so that the two can be distinguished.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from inspect import unwrap
from types import TracebackType
from typing import Any

MOST_CHARACTERS = 8_000
MOST_FRAMES = 20
"""Maximum number of frames per exception; the innermost ones are shown."""
MOST_EXCEPTIONS = 8
"""Maximum number of causes, contexts and members of groups, besides the exception itself."""
MESSAGE_CHARACTERS = 500


def traceback_of(error: BaseException, function: Callable[..., Any]) -> str | None:
    """Formats a traceback from the first frame of the tool's own code on; None if that code was not reached.

    Args:
        function: the tool's function; frames before its file belong to the platform.
    """
    code = getattr(unwrap(function), "__code__", None)
    begun = _from_file(error.__traceback__, code.co_filename) if code else error.__traceback__
    if begun is None:
        return None
    lines = [line[:MOST_CHARACTERS] for part in _parts(error, begun, []) for line in part]
    # Whole lines, since a partial one would lose its indentation.
    while sum(len(line) + 1 for line in lines) > MOST_CHARACTERS + 1:
        lines.pop(0)
    return "\n".join(lines)


def _from_file(found: TracebackType | None, file: str) -> TracebackType | None:
    while found is not None and found.tb_frame.f_code.co_filename != file:
        found = found.tb_next
    return found


def _parts(error: BaseException, begun: TracebackType | None, seen: list[BaseException]) -> Iterator[list[str]]:
    seen.append(error)
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None and _is_next(earlier, seen):
        yield from _parts(earlier, earlier.__traceback__, seen)
        yield ["which caused:" if error.__cause__ else "while this was handled:"]
    yield [*_frames(begun), _line(error)]
    for member in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        if _is_next(member, seen):
            yield ["with:"]
            yield from _parts(member, member.__traceback__, seen)


def _is_next(error: BaseException, seen: list[BaseException]) -> bool:
    return len(seen) <= MOST_EXCEPTIONS and all(error is not other for other in seen)


def _frames(begun: TracebackType | None) -> list[str]:
    stack = traceback.extract_tb(begun, limit=-MOST_FRAMES)
    return [line for frame in stack.format() for line in frame.rstrip("\n").split("\n")]


def _line(error: BaseException) -> str:
    try:
        message = " ".join(str(error).split())
    except Exception:  # the exception's class is the tool's own code
        message = ""
    name = type(error).__name__
    return f"{name}: {message[:MESSAGE_CHARACTERS]}" if message else name
