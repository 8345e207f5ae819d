"""Written conversations of desks: agents of small businesses, each with a few tools of its own.

Composed conversations fill templates, so their answers follow the tool. These ones, in ``model/tuner/desks``, are
written as wholes: an answer tells what was asked, in the words of the result. A file has the system messages, the
tools and the talks of a desk. A talk is a list of steps, each with one of these keys:

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
from pathlib import Path
from typing import Any

import yaml

from flightloop.errors import ConfigError
from model.chat.hints import GOAL_CHARS, PLAN_NAME, PLAN_TOOLS
from model.tuner.data.row import Message, Row, Tool, row, said, tool

DESKS = Path(__file__).parents[1] / "desks"
SESSIONS = 0.6
"""Share of the talks told as an agent's sessions: of earlier turns, the model sees only what was said."""
PLANS = 0.4
"""Share of an agent's turns that begin with a plan."""
DRAWN_SYSTEM = 0.25
"""Share of the talks whose system message is drawn; the others have the desk's first one."""
_OUTCOMES = ("gives", "refuses", "fails")
_WORD = re.compile(r"(?=((?<!\d)\d+|\b[^\W\d_]{5,}|[\u4e00-\u9fff]{2}))")
Step = dict[str, Any]


def desk_files(folder: Path, held_out: Sequence[str], only: bool) -> list[Path]:
    """Files of a folder's desks without, or with only, the held-out ones. Raises ConfigError if one doesn't exist."""
    found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    unknown = [name for name in held_out if name not in found]
    chosen = [path for name, path in found.items() if (name in held_out) == only]
    if unknown or not chosen:
        raise ConfigError(f"there is no desk {unknown[0]}" if unknown else "no desk is left", param="held_out")
    return chosen


def desk_rows(files: Sequence[Path], seed: int) -> Iterator[Row]:
    """Rows of desks; another seed tells other talks as sessions.

    Raises:
        ConfigError: a file can't be read, or a talk is wrong; the message says where.
    """
    for path in files:
        yield from _rows(path, random.Random(f"{seed} {path.stem}"))


def _rows(path: Path, source: random.Random) -> Iterator[Row]:
    try:
        desk = yaml.safe_load(path.read_text(encoding="utf-8"))
        tools = [_tool(each) for each in desk["tools"]]
        for number, talk in enumerate(desk["talks"], 1):
            turns = _turns(talk)
            opening = _opening(desk["systems"], bool(tools), source)
            in_session = tools and source.random() < SESSIONS
            told = _session(opening, turns, source) if in_session else [_whole(opening, turns)]
            for messages in told:
                yield row("desks", messages, tools, intent=f"{path.stem} {number}")
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: {type(error).__name__} {error}", param="desks") from error


def _opening(systems: Sequence[str], shared: bool, source: random.Random) -> list[Message]:
    """The system message; mostly the first one where there are tools, which then begin the prompts of most talks."""
    system = systems[0] if shared and source.random() >= DRAWN_SYSTEM else source.choice(systems)
    return [{"role": "system", "content": system.strip()}] if system.strip() else []


def _tool(given: dict[str, Any]) -> Tool:
    parameters = given.get("parameters") or {}
    properties = {
        name: {("description" if key == "about" else key): value for key, value in form.items() if key != "optional"}
        for name, form in parameters.items()
    }
    required = [name for name, form in parameters.items() if not form.get("optional")]
    return tool(given["name"], given["about"], properties, required)


def _turns(talk: Sequence[Step]) -> list[list[Step]]:
    """A talk's steps by turn. Raises ValueError if they don't follow each other as user, calls, answer."""
    turns: list[list[Step]] = []
    for step in talk:
        if ("user" in step) == bool(turns and "say" not in turns[-1][-1]):
            raise ValueError(f"each turn is a user's message, calls and one answer, unlike at {step}")
        if "user" in step:
            turns.append([])
        turns[-1].append(step)
    if not turns or "say" not in turns[-1][-1]:
        raise ValueError("a talk must end in an answer")
    return turns


def _whole(opening: Sequence[Message], turns: Sequence[Sequence[Step]]) -> list[Message]:
    """A client's conversation: every call and result stays in it."""
    messages = [*opening]
    for turn in turns:
        messages += _messages(turn, len(messages))
    return messages


def _session(
    opening: Sequence[Message], turns: Sequence[Sequence[Step]], source: random.Random
) -> Iterator[list[Message]]:
    """An agent's runs, a conversation each. A turn that rests on an earlier turn's unspoken results is left out."""
    earlier: list[Message] = [*opening]
    hidden: set[str] = set()
    for turn in turns:
        asked, *did = _messages(turn, len(earlier))
        if not _rests_on(hidden, turn, earlier):
            plan = [_plan(turn)] if source.random() < PLANS else []
            yield [*earlier, asked, *plan, *did]
        earlier += [asked, {**did[-1], "weight": 0}]
        hidden |= _words(_outcome(step) for step in turn if "call" in step)


def _messages(turn: Sequence[Step], first: int) -> list[Message]:
    messages: list[Message] = []
    results: list[Message] = []
    for number, step in enumerate(turn, first):
        if "call" in step:
            function = {"name": step["call"], "arguments": _dump(step.get("with") or {})}
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
    """Whether a call or the answer of a turn has a word of the hidden ones that nothing before it in the prompt has."""
    known = _words([*(message["content"] for message in earlier), turn[0]["user"]])
    for step in turn[1:]:
        if _words([_dump(list(step.get("with", {}).values())) if "call" in step else step["say"]]) & (hidden - known):
            return True
        known |= _words([_outcome(step)]) if "call" in step else set()
    return False


def _words(texts: Iterable[str]) -> set[str]:
    """Numbers and longer words; of Chinese, each two characters that follow each other."""
    return {match.group(1) for text in texts for match in _WORD.finditer(text)}


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
