"""Compaction: where a conversation no longer fits the model, a digest takes the place of its oldest part.

It is decided once and journaled; prompts are made of the last ``ContextCompacted`` and of what came after it. The
digest is made by code from what the journal has, no model is asked. It holds text of tool results, so it stands in the
prompt as one.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.loop.context import TOKENS_PER_MESSAGE, Conversation, Estimator, Exchange, Prompt, answer_room, digested
from agent.run.history import CallState, History, Turn, result_text
from flightloop.chat import ToolDef
from flightloop.events import CallsDecided, ContextCompacted, Planned, Replied

KEPT_SHARE = 0.5
"""Of what instructions, tools and input leave of the context: what a compaction keeps, so that the next one is far."""
DIGEST_SHARE, DIGEST_TOKENS = 0.2, 2000
"""Of the same, and at most: how long a digest may be."""
FRAME_CHARS, FRAME_MESSAGES = 90, 2
"""Of a digest, beside its lines."""
SAID_CHARS, ARGUMENT_CHARS, RESULT_CHARS = 240, 120, 160
GOAL = "goal: "
TAINTED = "(left out: it looked like an instruction)"


class ContextExhausted(Exception):
    """Not even the newest turn fits the model."""


def compact(
    conversation: Conversation, history: History, tools: Sequence[ToolDef], wanted: int, refused: Prompt | None = None
) -> ContextCompacted | None:
    """What has to be journaled before the next prompt; None where all of it fits.

    The session's oldest runs go first, then this run's oldest turns, never the newest one.

    Args:
        wanted: tokens of the longest answer.
        refused: a prompt that the model found too long, whatever was estimated.

    Raises:
        ContextExhausted: nothing more can be left out.
    """
    measure, limit = Estimator(history.chars_per_token), conversation.limit(history)
    if refused is not None:
        limit = limit or measure.tokens(refused)
        measure = _stricter(measure, refused, limit - answer_room(limit, wanted))
    if limit is None:
        return None
    bound = limit - answer_room(limit, wanted)
    before = conversation.prompt(history, tools)
    if refused is None and measure.tokens(before) <= bound:
        return None
    fixed = Prompt.joined([conversation.head(tools), conversation.current])
    exchanges, turns = conversation.exchanges(history), conversation.turns(history, limit)
    free = bound - measure.tokens(fixed)
    room = min(int(free * DIGEST_SHARE), DIGEST_TOKENS)
    parts = [*(prompt for _, prompt in exchanges), *turns]
    gone = _too_many(measure, fixed, parts, len(parts) - bool(turns), bound - int(free * (1 - KEPT_SHARE)) - room)
    rest = Prompt.joined([fixed, *parts[gone:]])
    left = bound - measure.tokens(rest)
    if left < 0:
        raise ContextExhausted(f"the newest turn needs about {bound - left} tokens, the model takes {bound}")
    covered = [exchange for exchange, _ in exchanges[:gone]]
    shortened = history.kept[: max(0, gone - len(exchanges))]
    lines = min(room, left - 1) - FRAME_MESSAGES * TOKENS_PER_MESSAGE
    characters = int(lines * measure.chars_per_token) - FRAME_CHARS
    made = _digest(history.compacted, covered, shortened, characters)
    return made.model_copy(
        update={
            "tokens_before": measure.tokens(refused or before),
            "tokens_after": measure.tokens(Prompt.joined([rest, digested(made)])),
            "limit": limit,
            "chars_per_token": measure.chars_per_token,
        }
    )


def _stricter(measure: Estimator, refused: Prompt, bound: int) -> Estimator:
    """By which the refused prompt has more than ``bound`` tokens."""
    most = refused.characters / max(1, bound - TOKENS_PER_MESSAGE * len(refused.messages))
    return Estimator(0.8 * min(measure.chars_per_token, most))


def _too_many(measure: Estimator, fixed: Prompt, parts: Sequence[Prompt], most: int, goal: int) -> int:
    """How many of the first parts have to go, so that the rest has no more than ``goal`` tokens."""
    characters = fixed.characters + sum(part.characters for part in parts)
    messages = len(fixed.messages) + sum(len(part.messages) for part in parts)
    gone = 0
    while gone < most and measure.of(characters, messages) > goal:
        characters -= parts[gone].characters
        messages -= len(parts[gone].messages)
        gone += 1
    return gone


def _digest(
    before: ContextCompacted | None, exchanges: Sequence[Exchange], turns: Sequence[Turn], characters: int
) -> ContextCompacted:
    """The digest before, with what is covered now; its estimates are still missing."""
    lines = [*(before.digest if before else []), *(line for one in exchanges for line in _exchanged(one))]
    lines += [line for turn in turns for line in _done(turn)]
    kept = _newest(lines, characters)
    goal = next((line for line in reversed(lines) if line.startswith(GOAL)), None)
    if goal is not None and goal not in kept:  # what all of it was for
        kept = [goal, *_newest(lines, characters - len(goal) - 1)] if len(goal) < characters else kept
    return ContextCompacted(
        through_step=(before.through_step if before else 0) + len(turns),
        runs=[*(before.runs if before else []), *(one.run_id for one in exchanges)],
        digest=kept,
        left_out=(before.left_out if before else 0) + len(lines) - len(kept),
        tainted=any(call.result is not None and call.result.tainted for turn in turns for call in turn.calls)
        or (before is not None and before.tainted),
        tokens_before=0,
        tokens_after=0,
        limit=0,
        chars_per_token=0.0,
    )


def _newest(lines: Sequence[str], characters: int) -> list[str]:
    kept: list[str] = []
    for line in reversed(lines):
        characters -= len(line) + 1
        if characters < 0:
            break
        kept.append(line)
    return kept[::-1]


def _exchanged(exchange: Exchange) -> list[str]:
    return [f"user: {_short(exchange.user, SAID_CHARS)}", f"answer: {_short(exchange.answer, SAID_CHARS)}"]


def _done(turn: Turn) -> list[str]:
    match turn.decision:
        case Planned(goal=goal):
            return [GOAL + _short(goal, SAID_CHARS)]
        case Replied(text=text):
            return [f"answer: {_short(text, SAID_CHARS)}"]
        case CallsDecided(text=text):
            said = [f"said: {_short(text, SAID_CHARS)}"] if text and turn.calls else []
            return [*said, *map(_called, turn.calls)]


def _called(state: CallState) -> str:
    result, function = state.result, state.call.function
    told = "no result" if result is None else TAINTED if result.tainted else result_text(result)
    return f"{_short(function.name, 64)}({_short(function.arguments, ARGUMENT_CHARS)}) -> {_short(told, RESULT_CHARS)}"


def _short(text: str, longest: int) -> str:
    """On one line: nothing in a result can look like a line of its own."""
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
