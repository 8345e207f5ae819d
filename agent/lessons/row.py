"""A run as a training row: the messages of its last prompt, and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.loop.context import Conversation
from agent.run.history import CallState, History, Turn
from flightloop.chat import ToolDef
from flightloop.events import CallsDecided

Message = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A conversation in the format of docs/tuning.md, as JSON data.

    Attributes:
        begun: number of messages before the run's own first decision.
    """

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...]
    begun: int

    def data(self) -> dict[str, Any]:
        return {"messages": list(self.messages), "tools": list(self.tools)}


def row_of(conversation: Conversation, history: History, tools: Sequence[ToolDef]) -> Row:
    """Makes a row from a run. The run's decisions are learned; examples and earlier runs of its session get weight 0.

    Each prompt since the run's last compaction is a prefix of these messages, so one row covers them all.

    Args:
        conversation: the run's conversation, with everything that its prompts contained.
        tools: the tools that the policy let the model see.
    """
    own = [wanted for turn in history.kept for wanted in _learned(turn)]
    messages = conversation.prompt(history, tools).messages
    shown = [message.model_dump(mode="json", exclude_none=True) for message in messages]
    begun = len(shown) - len(own)
    for message, wanted in zip(shown, [False] * begun + own, strict=True):
        if message["role"] == "assistant" and not wanted:
            message["weight"] = 0
    return Row(tuple(shown), tuple(tool.model_dump(mode="json", exclude_none=True) for tool in tools), begun)


def _learned(turn: Turn) -> list[bool]:
    """Returns for each message of a turn whether it is a decision to learn."""
    decided = turn.decision
    if not isinstance(decided, CallsDecided):
        return [True]
    if decided.calls:
        return [all(map(_performed, turn.calls)), *[False] * len(turn.calls)]
    return [False, False] if decided.text else [False]


def _performed(call: CallState) -> bool:
    """Whether a call reached a tool or a person. Calls that the loop or a rail refused were mistakes of the model."""
    return call.intent is not None or call.request is not None
