"""Input and output of the engine: plain, picklable values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from flightloop.chat import Priority, Tags
from flightloop.errors import FlightloopError

RANKS: dict[Priority, int] = {"operator": 0, "interactive": 1, "batch": 2}
"""Rank of each priority. Smaller ranks are scheduled first."""

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class SamplingParams:
    """Sampling options of a request.

    Attributes:
        max_tokens: maximum number of tokens of the answer; the context limit may end it sooner.
        temperature: 0 is greedy.
        top_p: sample from the smallest set of tokens with this total probability.
        seed: the same seed gives the same tokens in any batch; None: a random seed.
        stop: the answer ends before the first of these texts.
        logprobs: report the log-probabilities of all tokens. Otherwise, tokens that the grammar forces are appended
            without being sampled, and aren't reported.
        top_logprobs: alternatives to report per token.
        frequency_penalty: subtracted from a token's logit for each earlier occurrence in the answer.
        presence_penalty: subtracted once if the token occurred in the answer. Both as OpenAI's API defines them.
        greedy_calls: sample greedily within calls, and until the answer is known to be text.
        ignore_end: treat end tokens like other tokens, for measurements with answers of a fixed length.
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
    """A completion to produce."""

    id: str  # unique in the engine
    prompt: tuple[int, ...]  # token ids
    sampling: SamplingParams
    grammar: str | None = None
    """A grammar of ``model.engine.grammar``; None: free text."""
    tags: Tags = field(default_factory=Tags)  # identify the request for interrupts and metrics
    priority: Priority = "interactive"
    epoch: int | None = None
    """Interrupt epoch at the request's admission; None: the current one."""
    trace_id: str | None = None  # for exemplars of metrics


@dataclass(frozen=True)
class SampledToken:
    """A token with figures from before the grammar's mask: natural logarithms, entropy in nats."""

    token: int
    logprob: float
    entropy: float
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens with their log-probabilities."""
    free: bool = True
    """Whether the grammar left a choice."""


@dataclass(frozen=True)
class Summary:
    """Statistics of a finished request.

    Confidence (exp of the mean log-probability), likelihood (exp of the sum) and entropies cover the tokens that the
    model chose. Tokens that the grammar forces are excluded, as they say nothing about the model's certainty.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    """Prompt tokens found in the prefix cache."""
    queue_seconds: float  # time until the first step
    ttft_seconds: float | None
    """Time to the first token; None if there was no token."""
    confidence: float | None
    likelihood: float | None
    mean_entropy: float | None
    max_entropy: float | None
    drafted_tokens: int = 0  # draft tokens that were verified
    accepted_tokens: int = 0
    """Drafted tokens that were accepted. Each saved at most one step."""


@dataclass(frozen=True)
class EngineOutput:
    """Output of one step for one request."""

    request_id: str
    tokens: tuple[SampledToken, ...] = ()
    """Sampled tokens; more than one if drafts were accepted. Forced tokens appear only in the text and the summary."""
    text: str = ""
    """May trail the tokens: an unfinished character or a possible stop text is held back."""
    finish: Finish | None = None
    interrupted: bool = False  # ended by the emergency stop
    error: FlightloopError | None = None
    summary: Summary | None = None
    """Comes with the last output, which has a ``finish`` or an ``error``."""

    @property
    def last(self) -> bool:
        return self.finish is not None or self.error is not None


def joined(outputs: Sequence[EngineOutput]) -> EngineOutput:
    """Merges one or more consecutive outputs of a request. Only the last of them may end the request."""
    if len(outputs) == 1:
        return outputs[0]
    tokens = tuple(token for output in outputs for token in output.tokens)
    return replace(outputs[-1], tokens=tokens, text="".join(output.text for output in outputs))


@dataclass(frozen=True)
class EngineLoad:
    """Load of the engine: numbers of requests, and shares of its KV blocks in 0..1."""

    slots: int
    running: int
    waiting: int
    kv_used_ratio: float
    kv_fragmentation_ratio: float
    """Share of the reserved KV positions that are still empty."""
