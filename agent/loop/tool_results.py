"""Converts a tool's outcome to a result for the journal and the model."""

from __future__ import annotations

from collections.abc import Sequence

from flightloop.events import ToolResult
from flightloop.tool import ToolSpec
from flightloop.verdicts import Action
from flightloop.wellformed import LEVELS, finite, levels, whole
from guardrails.types import Ruling
from tools.host import ToolOutcome

_GUESSED = "not done yet, because this is missing: "
_MISREAD = "not done yet: by the user's words, "
DONE_ALREADY = "it was done already, and was not done again; answer the user"
_ADVICE = "Look it up with another tool, or ask the user for it."
TOO_DEEP = f"(left out: it has more than {LEVELS} levels)"


def told_of_guess(arguments: Sequence[str], overview: str | None = None) -> str:
    """What the model is told of a call whose values it has made up.

    Args:
        overview: the tool that is called next whatever the model thinks; the model is then told nothing, and decides
            anew with its result.
    """
    missing = ", ".join(name.replace("_", " ") for name in arguments)
    return f"{_GUESSED}{missing}; first comes {overview}" if overview else f"{_GUESSED}{missing}. {_ADVICE}"


def is_dropped(result: ToolResult | None) -> bool:
    """Whether another tool is called in place of this call, so that the model does not see it again."""
    return result is not None and result.then not in (None, result.tool)


def told_of_misreading(meant: str) -> str:
    """What the model is told of a call that the user's words contradict, such as ``places is 2``."""
    return f"{_MISREAD}{meant}"


def holds_back(text: str) -> bool:
    """Whether a result says only what the model is told of once. The same call made again is made, or asks a person."""
    return any(told in text for told in (_GUESSED, _MISREAD, DONE_ALREADY))


def result_of(call_id: str, tool: ToolSpec, outcome: ToolOutcome) -> ToolResult:
    return ToolResult(
        call_id=call_id,
        tool=tool.name,
        ok=outcome.ok,
        content=finite(whole(outcome.content)) if levels(outcome.content) <= LEVELS else TOO_DEEP,
        error=whole(outcome.error),
        note=whole(outcome.note),
        seconds=outcome.seconds,
        traceback=whole(outcome.traceback),
        tries=outcome.tries,
        uncertain=outcome.uncertain,
        only_read=not tool.writes,
    )


def guarded(result: ToolResult, ruling: Ruling) -> ToolResult:
    """The result after the guard's ruling, as the model may see it."""
    if ruling.action.severity >= Action.ASK.severity:
        # A person can't be asked about what has already happened, so ``ask`` withholds the result.
        withheld = f"a guardrail withheld the result: {ruling.reason}"
        return result.model_copy(
            update={
                "ok": False,
                "content": None,
                "error": withheld,
                "note": None,
                "tainted": ruling.tainted,
                "traceback": None,
                "uncertain": result.ok or result.uncertain,
            }
        )
    if ruling.action is Action.REDACT:
        field = {"content": ruling.text, "note": None} if result.ok else {"error": ruling.text.removeprefix("error: ")}
        return result.model_copy(update={**field, "tainted": ruling.tainted})
    return result.model_copy(update={"tainted": ruling.tainted})
