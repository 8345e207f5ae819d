"""Instructions in a prompt for plans and other structured answers, for models that aren't trained on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flightloop.chat import ChatRequest
from model.signature import type_text

PLAN_NAME = "plan"
"""Name of the response format that asks for a plan, and of the messages that are plans."""


GOAL_CHARS, PLAN_TOOLS = 80, 4
"""Longest goal of a plan, and the most tools that it names."""


def plan_schema(names: Sequence[str]) -> dict[str, Any]:
    """The form of a plan that may name these tools."""
    return {
        "type": "object",
        "properties": {
            "goal": {"type": "string", "maxLength": GOAL_CHARS},
            "tools": {"type": "array", "items": {"type": "string", "enum": list(names)}, "maxItems": PLAN_TOOLS},
        },
        "required": ["goal", "tools"],
        "additionalProperties": False,
    }


def asks_for_plan(request: ChatRequest) -> bool:
    """Whether the answer is a plan."""
    form = request.response_format
    return form is not None and form.json_schema is not None and form.json_schema.name == PLAN_NAME


def schema_hint(request: ChatRequest) -> str:
    """Instruction about the response format for the start of the conversation; empty for text and plans."""
    form = request.response_format
    if form is None or asks_for_plan(request):
        return ""
    if form.type == "json_schema":
        return _schema_text(request, "Answer as JSON")
    return "Answer as a JSON object." if form.type == "json_object" else ""


def plan_hint(request: ChatRequest) -> str:
    """Instruction to plan, for the end of the conversation with an untrained model; empty for other answers."""
    return _schema_text(request, "Write only your plan, as JSON") if asks_for_plan(request) else ""


def plan_in_words(text: str) -> str:
    """A plan of an earlier step in words: models that see JSON in their own messages write it as an answer."""
    try:
        plan = json.loads(text)
        goal, tools = str(plan["goal"]).rstrip(" ."), ", ".join(map(str, plan["tools"]))
    except (ValueError, TypeError, LookupError):
        return text
    return f"My plan: {goal}{f' (with {tools})' if tools else ''}."


def _schema_text(request: ChatRequest, words: str) -> str:
    form = request.response_format
    if form is None or form.json_schema is None:
        return ""
    about, hint = form.json_schema.description, f"{words}: {type_text(form.json_schema.schema_)}"
    return f"{about}\n{hint}" if about else hint
