"""Written conversations, step by step, and the two ways in which they are told.

A talk is a list of steps, each with one of these keys:

    user    a message; ``goal`` is what the assistant sets out to do (not needed without tools)
    call    a tool; ``with`` are its arguments; ``gives``, ``refuses`` or ``fails`` is its result, its refusal or its
            error; ``also: true`` makes the call in the same step as the one before
    say     the assistant's answer, which ends the turn
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from model.chat.hints import GOAL_CHARS, PLAN_NAME, PLAN_TOOLS
from model.tuner.data.row import Message, said

SESSIONS = 0.6
"""Share of the talks told as an agent's sessions: of earlier turns, the model sees only what was said."""
PLANS = 0.4
"""Share of an agent's turns that begin with a plan."""
_OUTCOMES = ("gives", "refuses", "fails")
_KEYS = {"user": {"goal"}, "call": {"with", "also", *_OUTCOMES}, "say": set[str]()}
_WORD = re.compile(r"(?=((?<!\d)\d+|\b[^\W\d_\u4e00-\u9fff]{5,}|[\u4e00-\u9fff]{2}))")
Step = dict[str, Any]


def tell(
    talk: Sequence[Step],
    tools: set[str],
    opening: Sequence[Message],
    source: random.Random,
    sessions: float = SESSIONS,
    plans: float = PLANS,
) -> list[list[Message]]:
    """A talk as conversations: a client's, or the runs of an agent's session.

    Args:
        talk: its steps.
        tools: names of the tools that it may call; without tools, it is a client's.
        opening: what each conversation begins with.
        source: draws which of the two it is, and which turns have a plan.
        sessions: share of sessions.
        plans: share of turns with a plan, in sessions.

    Raises:
        ValueError: a step is wrong; the message shows it.
    """
    turns = _turns(talk, tools)
    if tools and source.random() < sessions:
        return list(_session(opening, turns, plans, source))
    return [_whole(opening, turns)]


def _turns(talk: Sequence[Step], tools: set[str]) -> list[list[Step]]:
    """A talk's steps by turn. Raises ValueError if a step is wrong, or not in the order user, calls, answer."""
    turns: list[list[Step]] = []
    for step in talk:
        role = _role(step, tools)
        if (role == "user") == bool(turns and "say" not in turns[-1][-1]):
            raise ValueError(f"each turn is a user's message, calls and one answer, unlike at {step}")
        if step.get("also") and "call" not in turns[-1][-1]:
            raise ValueError(f"there is no call before {step}")
        if role == "user":
            turns.append([])
        turns[-1].append(step)
    if not turns or "say" not in turns[-1][-1]:
        raise ValueError("a talk must end in an answer")
    return turns


def _role(step: Step, tools: set[str]) -> str:
    """Which of user, call and say a step is. Raises ValueError if the step is wrong."""
    roles = [role for role in _KEYS if role in step] if isinstance(step, dict) else []
    if len(roles) != 1 or set(step) - _KEYS[roles[0]] - set(roles):
        raise ValueError(f"a step is one of user, call and say with its own keys, unlike {step}")
    [role] = roles
    if role == "call":
        if step["call"] not in tools:
            raise ValueError(f"there is no tool {step['call']}")
        if sum(key in step for key in _OUTCOMES) != 1 or not isinstance(step.get("with", {}), dict):
            raise ValueError(f"a call has arguments and one of gives, refuses and fails, unlike {step}")
    elif not isinstance(step[role], str) or (role == "user" and tools and not isinstance(step.get("goal"), str)):
        raise ValueError(f"a text or a goal is missing at {step}")
    if wrong := [key for key in _names(step) if not isinstance(key, str)]:
        raise ValueError(f"the key {wrong[0]} is not a text; quote it")
    return role


def _names(value: Any) -> Iterator[Any]:
    """Keys of all mappings in a value. YAML reads ``no:`` as a key that is false."""
    if isinstance(value, dict):
        yield from value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(each)


def _whole(opening: Sequence[Message], turns: Sequence[Sequence[Step]]) -> list[Message]:
    """A client's conversation: every call and result stays in it."""
    messages = [*opening]
    for turn in turns:
        messages += _messages(turn, len(messages))
    return messages


def _session(
    opening: Sequence[Message], turns: Sequence[Sequence[Step]], plans: float, source: random.Random
) -> Iterator[list[Message]]:
    """An agent's runs, a conversation each. A turn that rests on an earlier turn's unspoken results is left out."""
    earlier: list[Message] = [*opening]
    hidden: set[str] = set()
    for turn in turns:
        asked, *did = _messages(turn, len(earlier))
        if not _rests_on(hidden, turn, earlier):
            plan = [_plan(turn)] if source.random() < plans else []
            yield [*earlier, asked, *plan, *did]
        earlier += [asked, {**did[-1], "weight": 0}]
        hidden |= _words(_outcome(step) for step in turn if "call" in step)


def _messages(turn: Sequence[Step], first: int) -> list[Message]:
    messages: list[Message] = []
    results: list[Message] = []
    for number, step in enumerate(turn, first):
        if "call" in step:
            function = {"name": step["call"], "arguments": _dump(step.get("with", {}))}
            made = {"id": f"call_{number}", "type": "function", "function": function}
            if step.get("also"):
                messages[-1]["tool_calls"].append(made)
            else:
                messages += [*results, {"role": "assistant", "content": None, "tool_calls": [made]}]
                results = []
            results.append({"role": "tool", "tool_call_id": made["id"], "content": _outcome(step)})
        else:
            messages += [*results, said("user", step["user"]) if "user" in step else said("assistant", step["say"])]
    return messages


def _outcome(step: Step) -> str:
    [key] = [key for key in _OUTCOMES if key in step]
    if key == "gives":
        return step[key] if isinstance(step[key], str) else _dump(step[key])
    return f"error: {step[key]}"


def _plan(turn: Sequence[Step]) -> Message:
    names = list(dict.fromkeys(step["call"] for step in turn if "call" in step))[:PLAN_TOOLS]
    content = _dump({"goal": turn[0]["goal"][:GOAL_CHARS], "tools": names})
    return {"role": "assistant", "name": PLAN_NAME, "content": content}


def _rests_on(hidden: set[str], turn: Sequence[Step], earlier: Sequence[Message]) -> bool:
    """Whether a turn uses a word that only results of earlier turns contain, which a session doesn't show."""
    known = _words([*(message["content"] for message in earlier), turn[0]["user"]])
    for step in turn[1:]:
        if _words([_dump(list(step.get("with", {}).values())) if "call" in step else step["say"]]) & (hidden - known):
            return True
        known |= _words([_outcome(step)]) if "call" in step else set()
    return False


def _words(texts: Iterable[str]) -> set[str]:
    """Numbers and longer words; of Chinese, each two characters that follow each other."""
    return {match.group(1) for text in texts for match in _WORD.finditer(text.lower())}


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
