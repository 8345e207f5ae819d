"""What goes into the engine and what comes out of it: plain, picklable values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from flightloop.chat import Priority, Tags
from flightloop.errors import FlightloopError

RANKS: dict[Priority, int] = {"operator": 0, "interactive": 1, "batch": 2}
"""Smaller goes first."""

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are drawn.

    Attributes:
        max_tokens: most tokens of the answer; the context may end it sooner.
        temperature: 0 is greedy.
        seed: the same seed gives the same tokens in any batch; None draws one.
        stop: the answer ends before the first of these texts.
        logprobs: report every token; without it, tokens that the grammar leaves no choice about are
            taken without running the model for each, and have no figures.
        top_logprobs: how many alternatives to report a token.
        frequency_penalty: taken off a token's logit each time the answer has had it.
        presence_penalty: taken off once, if the answer has had it. Both as OpenAI's API defines them.
        greedy_calls: until an answer has begun as text, and in calls, the likeliest token is taken.
        ignore_end: an end token is a token like any other; measurements need answers of a known length.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    greedy_calls: bool = False
    ignore_end: bool = False

    @property
    def penalised(self) -> bool:
        return bool(self.frequency_penalty or self.presence_penalty)


@dataclass(frozen=True)
class EngineRequest:
    """One completion to make. ``grammar`` is what ``model.engine.grammar`` wrote, None: free text."""

    id: str
    prompt: tuple[int, ...]
    sampling: SamplingParams
    grammar: str | None = None
    tags: Tags = field(default_factory=Tags)
    priority: Priority = "interactive"
    epoch: int | None = None
    trace_id: str | None = None


@dataclass(frozen=True)
class SampledToken:
    """A token with figures from before the grammar's mask. Natural logarithms; entropy in nats.

    ``free`` tells whether it was the model's choice: the grammar left another one.
    """

    token: int
    logprob: float
    entropy: float
    top: tuple[tuple[int, float], ...] = ()
    free: bool = True


@dataclass(frozen=True)
class Summary:
    """What one finished request took. Seconds; ``ttft_seconds`` is None if no token came.

    Confidence (exp of the mean log-probability), likelihood (exp of their sum) and entropies are over the tokens that
    were the model's choice: those that the grammar dictates say nothing about how sure it is.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    queue_seconds: float
    ttft_seconds: float | None
    confidence: float | None
    likelihood: float | None
    mean_entropy: float | None
    max_entropy: float | None
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    """How many of the drafted ones came true, each of them a step saved at best."""


@dataclass(frozen=True)
class EngineOutput:
    """What one step brought one request.

    ``tokens`` are those that were drawn, more than one where drafts came true; dictated ones show in the text and in
    the summary's count only.
    ``text`` may trail the tokens: an unfinished character or a possible stop text is held back.
    ``summary`` comes with the last output, which has a ``finish`` or an ``error``.
    """

    request_id: str
    tokens: tuple[SampledToken, ...] = ()
    text: str = ""
    finish: Finish | None = None
    interrupted: bool = False
    error: FlightloopError | None = None
    summary: Summary | None = None

    @property
    def last(self) -> bool:
        return self.finish is not None or self.error is not None


def joined(outputs: Sequence[EngineOutput]) -> EngineOutput:
    """Consecutive outputs of one request as one: at least one, of which only the last may be the request's last."""
    if len(outputs) == 1:
        return outputs[0]
    tokens = tuple(token for output in outputs for token in output.tokens)
    return replace(outputs[-1], tokens=tokens, text="".join(output.text for output in outputs))


@dataclass(frozen=True)
class EngineLoad:
    """How busy the engine is: requests, and shares in 0..1 of its KV blocks."""

    slots: int
    running: int
    waiting: int
    kv_used_ratio: float
    kv_fragmentation_ratio: float
    """Share of the reserved KV positions that hold nothing yet."""
