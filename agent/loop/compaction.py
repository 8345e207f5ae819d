"""Compaction: replaces the oldest part of a conversation by a digest when it no longer fits the model's context.

A compaction is decided once and journaled as ``ContextCompacted``; later prompts contain the latest digest and what
came after it. The digest is made from the journal without a model. It contains text of tool results, so it appears in
the prompt as a tool result.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.loop.context import TOKENS_PER_MESSAGE, Conversation, Estimator, Exchange, Prompt, answer_room, digested
from agent.run.history import CallState, History, Turn, result_text
from flightloop.chat import ToolDef
from flightloop.events import CallsDecided, ContextCompacted, Planned, Replied

KEPT_SHARE = 0.5
"""Share of the free context that is still in use after a compaction; low, so that compactions are rare."""
DIGEST_SHARE, DIGEST_TOKENS = 0.2, 2000
"""Maximum length of a digest, as a share of the free context and in tokens."""
FRAME_CHARS, FRAME_MESSAGES = 90, 2
"""Characters and messages that a digest takes in addition to its lines."""
SAID_CHARS, ARGUMENT_CHARS, RESULT_CHARS = 240, 120, 160
GOAL = "goal: "
TAINTED = "(left out: it looked like an instruction)"


class ContextExhausted(Exception):
    """Not even the latest turn fits the model's context."""


def compact(
    conversation: Conversation, history: History, tools: Sequence[ToolDef], wanted: int, refused: Prompt | None = None
) -> ContextCompacted | None:
    """The compaction to journal before the next prompt, or None if everything fits.

    The session's oldest runs are removed first, then this run's oldest turns, but never the latest turn.

    Args:
        wanted: maximum tokens of the answer.
        refused: a prompt that the model rejected as too long, regardless of its estimated length.

    Raises:
        ContextExhausted: nothing more can be removed.
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
        raise ContextExhausted(f"the latest turn needs about {bound - left} tokens; the context has room for {bound}")
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
    """Estimator for which the refused prompt has more than ``bound`` tokens."""
    most = refused.characters / max(1, bound - TOKENS_PER_MESSAGE * len(refused.messages))
    return Estimator(0.8 * min(measure.chars_per_token, most))


def _too_many(measure: Estimator, fixed: Prompt, parts: Sequence[Prompt], most: int, goal: int) -> int:
    """Number of leading parts to remove so that at most ``goal`` tokens remain."""
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
    """The previous digest extended by these exchanges and turns. The caller fills in the token counts."""
    lines = [*(before.digest if before else []), *(line for one in exchanges for line in _exchanged(one))]
    lines += [line for turn in turns for line in _done(turn)]
    kept = _newest(lines, characters)
    goal = next((line for line in reversed(lines) if line.startswith(GOAL)), None)
    if goal is not None and goal not in kept:  # always keep the latest goal
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
    """Shortens a text to a single line, so that a result can't imitate further lines of the digest."""
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
