"""Prompt format: renders messages and tools as the text format that the model was trained on.

ChatML, as SmolLM2 expects it::

    <|im_start|>system
    {system text}

    Tools:
    - find_orders(customer_id: string, status?: "open"|"sent") - Lists a customer's orders.
    To use tools, answer with nothing but <tool_call>[...]</tool_call><|im_end|>
    <|im_start|>user
    {text}<|im_end|>
    <|im_start|>assistant
    <tool_call>[{"name": "find_orders", "arguments": {"customer_id": "C-1"}}]</tool_call><|im_end|>
    <|im_start|>tool
    <tool_response>{"name": "find_orders", "content": [...]}</tool_response><|im_end|>
    <|im_start|>assistant

A message is rendered independently of what follows it, so a later step's prompt extends an earlier one's,
and the KV cache of the common prefix is reused. A JSON schema goes into the first turn, since requests with
the same schema usually differ only in later turns, as in classification or grading. The instruction for a
forced call concerns a single answer and comes last, as a system message.

An assistant message with the name ``plan`` is a plan and goes between ``<plan>`` and ``</plan>``. A request
for a plan (``response_format`` with that name) needs no instructions: its prompt ends with ``<plan>``, so
that the answer continues like the plans of the conversation so far.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Protocol

from flightloop.chat import ChatMessage, ChatRequest, NamedToolChoice
from flightloop.errors import ContextTooLong
from model.chat.calls import COMPACT, CallFormat
from model.chat.content import content_text
from model.chat.conversation import Piece
from model.chat.hints import PLAN_NAME, asks_for_plan, schema_hint
from model.signature import signature

TURN_OPEN, TURN_CLOSE = "<|im_start|>", "<|im_end|>"
CALL_OPEN, CALL_CLOSE = COMPACT.marks[0].open, COMPACT.marks[0].close
RESPONSE_OPEN, RESPONSE_CLOSE = "<tool_response>", "</tool_response>"
PLAN_OPEN, PLAN_CLOSE = "<plan>", "</plan>"
DEFAULT_SYSTEM = "You are a helpful assistant."

_CALL_HINT = (
    "To use tools, answer with nothing but "
    f'{CALL_OPEN}[{{"name": "TOOL", "arguments": {{"PARAMETER": "VALUE"}}}}]{CALL_CLOSE}'
)
_ROLES = {"developer": "system"}


class TextEncoder(Protocol):
    """The part of a tokenizer that prompts need. ``encode`` must treat names of special tokens as plain text."""

    special: dict[str, int]

    def encode(self, text: str) -> list[int]: ...


class CompactChat:
    """The format as a `model.chat.format.ChatFormat`."""

    calls: CallFormat = COMPACT
    reasons = begins_reasoning = False
    shows_plans = True

    def __init__(self, tokenizer: TextEncoder) -> None:
        self._tokenizer = tokenizer

    def render(self, request: ChatRequest) -> str:
        return render(request)

    def encode(self, request: ChatRequest, limit: int) -> list[int]:
        return encode(request, self._tokenizer, limit)

    def conversation(self, request: ChatRequest, answers: Collection[int]) -> list[Piece]:
        opened, closed = self._tokenizer.special[TURN_OPEN], self._tokenizer.special[TURN_CLOSE]
        pieces: list[Piece] = []
        for (role, text), answer in _numbered(request):
            learned = answer in answers
            # When an answer is generated, its prompt ends here.
            given = PLAN_OPEN if learned and text.startswith(PLAN_OPEN) else ""
            split = len(given) if learned else len(text)
            begun = self._tokenizer.encode(f"{role}\n{text[:split]}")
            rest = (*self._tokenizer.encode(text[split:]), closed)
            pieces += [Piece((opened, *begun)), Piece(rest, answer if learned else None)]
            pieces.append(Piece(tuple(self._tokenizer.encode("\n"))))
        return pieces


def render(request: ChatRequest) -> str:
    """The prompt as text, for people to read. The model gets the ids of `encode`, where text can't forge a turn.

    Raises:
        UnsupportedContent: a content part is neither text nor a table.
    """
    turns = [f"{TURN_OPEN}{role}\n{text}{TURN_CLOSE}\n" for role, text in turns_of(request)]
    return "".join(turns) + f"{TURN_OPEN}assistant\n{_opening(request)}"


def encode(request: ChatRequest, tokenizer: TextEncoder, limit: int) -> list[int]:
    """The prompt as token ids.

    Args:
        request: only its messages, tools, tool choice and response format are used.
        tokenizer: the model's tokenizer.
        limit: maximum number of tokens of prompt and answer together.

    Raises:
        UnsupportedContent: a content part is neither text nor a table.
        ContextTooLong: the prompt leaves no room for an answer.
    """
    opened, closed = tokenizer.special[TURN_OPEN], tokenizer.special[TURN_CLOSE]
    newline = tokenizer.encode("\n")
    ids: list[int] = []
    for role, text in turns_of(request):
        ids += [opened, *tokenizer.encode(f"{role}\n{text}"), closed, *newline]
    ids += [opened, *tokenizer.encode(f"assistant\n{_opening(request)}")]
    if len(ids) >= limit:
        raise ContextTooLong.of(limit, f"the conversation has {len(ids)} and leaves no room for an answer")
    return ids


def turns_of(request: ChatRequest) -> list[tuple[str, str]]:
    """Role and text of each turn of the prompt, without the answer's turn."""
    messages = request.messages
    turns = []
    if not messages or messages[0].role not in ("system", "developer"):
        turns.append(("system", _system_text(DEFAULT_SYSTEM, request)))
    names: dict[str, str] = {}
    for index, message in enumerate(messages):
        names.update({call.id: call.function.name for call in message.tool_calls or []})
        text = _message_text(message, index, names)
        if not turns:
            text = _system_text(text, request)
        turns.append((_ROLES.get(message.role, message.role), text))
    forced = _forced(request)
    return [*turns, ("system", forced)] if forced else turns


def _numbered(request: ChatRequest) -> list[tuple[tuple[str, str], int | None]]:
    """Each turn with the index of its message. The instruction for a forced call precedes the last turn."""
    whole = turns_of(request.model_copy(update={"tool_choice": None}))
    before = turns_of(request.model_copy(update={"messages": request.messages[:-1]}))
    count = len(request.messages)
    added = len(whole) - count  # a system turn, if there is none
    numbers = [None] * added + [*range(count - 1)]
    numbers += [None] * (len(before) - len(numbers))
    return list(zip([*before, whole[-1]], [*numbers, count - 1], strict=True))


def call_text(calls: Iterable[tuple[str, dict[str, Any]]]) -> str:
    """Text of the assistant's calls, given as (name, arguments)."""
    return CALL_OPEN + _json([{"name": name, "arguments": arguments} for name, arguments in calls]) + CALL_CLOSE


def plan_text(goal: str, tools: Sequence[str]) -> str:
    """JSON of a plan, as in the answer to a plan request and in a message named ``plan``."""
    return _json({"goal": goal, "tools": list(tools)})


def _system_text(system: str, request: ChatRequest) -> str:
    parts = [system]
    if request.tools:
        parts.append("\n".join(["Tools:", *(f"- {signature(tool.function)}" for tool in request.tools), _CALL_HINT]))
    parts.append(schema_hint(request))
    return "\n\n".join(filter(None, parts))


def _message_text(message: ChatMessage, index: int, names: dict[str, str]) -> str:
    text = content_text(message, index)
    if message.role == "tool":
        return _response_text(text, names.get(message.tool_call_id or "", message.name))
    if message.role != "assistant":
        return text
    if message.name == PLAN_NAME:
        text = f"{PLAN_OPEN}{_as_written(text)}{PLAN_CLOSE}"
    if message.tool_calls:
        text += call_text((call.function.name, call.function.as_object()) for call in message.tool_calls)
    return text


def _as_written(text: str) -> str:
    """A JSON text in the layout that the grammar enforces; any other text unchanged."""
    try:
        return _json(json.loads(text))
    except ValueError:
        return text


def _response_text(text: str, name: str | None) -> str:
    try:
        content = json.loads(text)
    except ValueError:
        content = text
    body = _json({"name": name, "content": content} if name else {"content": content})
    # A result may quote anything, but must not close its own tag.
    return RESPONSE_OPEN + body.replace("</", "<\\/") + RESPONSE_CLOSE


def _opening(request: ChatRequest) -> str:
    """Text at the start of the answer's turn, before the model's first token."""
    return PLAN_OPEN if asks_for_plan(request) else ""


def _forced(request: ChatRequest) -> str:
    choice = request.tool_choice
    if isinstance(choice, NamedToolChoice):
        return f"Call {choice.function.name} now."
    return "Call a tool now." if choice == "required" else ""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
